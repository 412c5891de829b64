"""The names that diffusers has for modules of Stable Diffusion's network, as its own checkpoints call them.

kohya's files for Stable Diffusion 1 and 2 use diffusers' names, whatever the base is. Numbers follow from the layout of
the network: two layers and a downsampler per block on the way down, three and an upsampler on the way up, as diffusers'
scripts/convert_diffusers_to_original_stable_diffusion.py has them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_INSIDE_RESNET = {
    "norm1": "in_layers_0", "conv1": "in_layers_2", "time_emb_proj": "emb_layers_1", "norm2": "out_layers_0",
    "conv2": "out_layers_3", "conv_shortcut": "skip_connection",
}  # fmt: skip
_ALONE = {
    "conv_in": "input_blocks_0_0", "conv_out": "out_2", "conv_norm_out": "out_0",
    "time_embedding_linear_1": "time_embed_0", "time_embedding_linear_2": "time_embed_2",
}  # fmt: skip

_RULES: dict[str, Callable[[re.Match[str]], str]] = {
    r"down_blocks_(\d)_attentions_(\d)_(.+)": lambda m: f"input_blocks_{3 * int(m[1]) + int(m[2]) + 1}_1_{m[3]}",
    r"down_blocks_(\d)_resnets_(\d)_(.+)": lambda m: f"input_blocks_{3 * int(m[1]) + int(m[2]) + 1}_0_{_inside(m[3])}",
    r"down_blocks_(\d)_downsamplers_0_conv": lambda m: f"input_blocks_{3 * int(m[1]) + 3}_0_op",
    r"mid_block_attentions_0_(.+)": lambda m: f"middle_block_1_{m[1]}",
    r"mid_block_resnets_(\d)_(.+)": lambda m: f"middle_block_{2 * int(m[1])}_{_inside(m[2])}",
    r"up_blocks_(\d)_attentions_(\d)_(.+)": lambda m: f"output_blocks_{3 * int(m[1]) + int(m[2])}_1_{m[3]}",
    r"up_blocks_(\d)_resnets_(\d)_(.+)": lambda m: f"output_blocks_{3 * int(m[1]) + int(m[2])}_0_{_inside(m[3])}",
    # The first block on the way up has no attention before its upsampler.
    r"up_blocks_(\d)_upsamplers_0_conv": lambda m: f"output_blocks_{3 * int(m[1]) + 2}_{1 if m[1] == '0' else 2}_conv",
}  # fmt: skip


def original(flat: str) -> str | None:
    """What Stable Diffusion's checkpoints call a module, with `_` for dots in both names; None for other names."""
    if flat in _ALONE:
        return _ALONE[flat]
    for pattern, rule in _RULES.items():
        found = re.fullmatch(pattern, flat)
        if found:
            return rule(found)
    return None


def _inside(name: str) -> str:
    return _INSIDE_RESNET.get(name, name)
