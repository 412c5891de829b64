"""Rewrites a checkpoint through the image and the writer, as the engine does, for tests."""

import random
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weightmath.checkpoint import Image, Reader, Section, TensorInfo, Writer, open_checkpoint, plan_image


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
    dtype = writer.image.dtype(name)
    value = stored(reader, section.tensors[name]) if values is None else values[name]
    bits = bits_of(value.to(getattr(torch, str(dtype))), dtype.bits)
    starts = range(0, bits.size, piece)
    return [lambda i=i: writer.write(name, i, bits[i : i + piece]) for i in starts]


def stored(reader: Reader, tensor: TensorInfo) -> torch.Tensor:
    """A tensor's elements in C order, as torch sees them."""
    value = torch.empty(tensor.entry.size, dtype=getattr(torch, str(tensor.entry.dtype)))
    reader.read(tensor, 0, tensor.entry.size, value.view(torch.uint8).numpy().view(tensor.entry.dtype.bits))
    return value


def bits_of(tensor: torch.Tensor, bits: np.dtype) -> np.ndarray:
    """A tensor's elements in C order, as raw bits."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().view(bits)
