"""Rewrites a checkpoint through the image and the writer, as the engine does, for tests."""

import random
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weightmath.checkpoint import Image, Reader, Section, Writer, open_checkpoint, plan_image

Values = Callable[[str, np.ndarray], np.ndarray]


def rewrite(
    template: Path,
    output: Path,
    values: dict[str, torch.Tensor] | None = None,
    *,
    section: str | None = None,
    computed: Collection[str] | None = None,
    piece: int = 1000,
    threads: int = 1,
    seed: int = 0,
    **wishes: Any,
) -> Image:
    """Write `output`: the template with these values in its section; without values, with its own."""
    chosen = open_checkpoint(template).section(section)
    names = list(chosen.layout.names if computed is None else computed)
    image = plan_image(chosen, names, **wishes)
    with chosen.checkpoint.open() as reader, Writer(image, output) as writer:
        jobs: list[Callable[[], None]] = [lambda copy=copy: writer.copy(copy) for copy in writer.copies]
        for name in image.targets:
            jobs += _writes(writer, reader, chosen, name, values, piece)
        random.Random(seed).shuffle(jobs)
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(job) for job in jobs]:
                done.result()
        writer.commit()
        writer.publish()
    return image


def _writes(
    writer: Writer, reader: Reader, section: Section, name: str, values: dict[str, torch.Tensor] | None, piece: int
) -> list[Callable[[], None]]:
    tensor, dtype = section.tensors[name], writer.image.dtype(name)
    if values is None:
        bits = np.empty(tensor.entry.size, tensor.entry.dtype.bits)
        reader.read(tensor, 0, tensor.entry.size, bits)
        if dtype != tensor.entry.dtype:
            old, new = getattr(torch, str(tensor.entry.dtype)), getattr(torch, str(dtype))
            bits = bits_of(torch.from_numpy(bits.view(np.uint8)).view(old).to(new), dtype.bits)
    else:
        bits = bits_of(values[name], dtype.bits)
    starts = range(0, bits.size, piece)
    return [lambda i=i: writer.write(name, i, bits[i : i + piece]) for i in starts]


def bits_of(tensor: torch.Tensor, bits: np.dtype) -> np.ndarray:
    """A tensor's elements in C order, as raw bits."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().view(bits)
