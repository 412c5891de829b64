"""The names that diffusers has for modules of Stable Diffusion's network, and those in its own checkpoints.

kohya's files for Stable Diffusion 1 and 2 use diffusers' names, whatever the base is. Numbers follow from the layout of
the network: two layers and a downsampler per block on the way down, three and an upsampler on the way up, as diffusers'
scripts/convert_diffusers_to_original_stable_diffusion.py has them. Dots are written as `_` in both names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

_INSIDE_RESNET = {
    "norm1": "in_layers_0", "conv1": "in_layers_2", "time_emb_proj": "emb_layers_1", "norm2": "out_layers_0",
    "conv2": "out_layers_3", "conv_shortcut": "skip_connection",
}  # fmt: skip
_ALONE = {
    "conv_in": "input_blocks_0_0", "conv_out": "out_2", "conv_norm_out": "out_0",
    "time_embedding_linear_1": "time_embed_0", "time_embedding_linear_2": "time_embed_2",
    "mid_block_attentions_0": "middle_block_1",
}  # fmt: skip
# Blocks that Stable Diffusion XL does not have, and its text encoder's place.
_ONE_OR_TWO = re.compile(r"model\.diffusion_model\.(in|out)put_blocks\.(9|1\d)\.|cond_stage_model\.")


def original(flat: str) -> str | None:
    """What Stable Diffusion's checkpoints call a module of diffusers; None for other names."""
    return _renamed(flat, _ORIGINALS)


def diffusers(flat: str) -> str | None:
    """What diffusers calls a module of Stable Diffusion's checkpoints; None for other names."""
    return _renamed(flat, _DIFFUSERS)


def is_stable_diffusion_1_or_2(names: Iterable[str]) -> bool:
    """Whether tensors of that name are of a checkpoint of Stable Diffusion 1 or 2, as far as a part of them tells."""
    return any(_ONE_OR_TWO.match(name) for name in names)


def _renamed(flat: str, names: Mapping[str, str]) -> str | None:
    """A name whose beginning, the longest that is known, has another one."""
    parts = flat.split("_")
    for length in range(len(parts), 0, -1):
        found = names.get("_".join(parts[:length]))
        if found is not None:
            return "_".join([found, *parts[length:]])
    return None


def _pairs() -> Iterator[tuple[str, str]]:
    """Names of diffusers and of checkpoints: modules, and what modules begin with."""
    yield from _ALONE.items()
    resnets = {f"mid_block_resnets_{layer}": f"middle_block_{2 * layer}" for layer in range(2)}
    for block in range(4):
        for layer in range(2):
            place = f"input_blocks_{3 * block + layer + 1}"
            resnets[f"down_blocks_{block}_resnets_{layer}"] = f"{place}_0"
            yield f"down_blocks_{block}_attentions_{layer}", f"{place}_1"
        for layer in range(3):
            place = f"output_blocks_{3 * block + layer}"
            resnets[f"up_blocks_{block}_resnets_{layer}"] = f"{place}_0"
            yield f"up_blocks_{block}_attentions_{layer}", f"{place}_1"
        yield f"down_blocks_{block}_downsamplers_0_conv", f"input_blocks_{3 * block + 3}_0_op"
        # The first block on the way up has no attention before its upsampler.
        yield f"up_blocks_{block}_upsamplers_0_conv", f"output_blocks_{3 * block + 2}_{2 if block else 1}_conv"
    for theirs, own in resnets.items():
        yield from ((f"{theirs}_{part}", f"{own}_{inside}") for part, inside in _INSIDE_RESNET.items())


_ORIGINALS = dict(_pairs())
_DIFFUSERS = {own: theirs for theirs, own in _ORIGINALS.items()}
