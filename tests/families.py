"""Small checkpoints with the tensor names of real model families: what recipes of the gallery are tested on.

Names, numbers of dimensions and dtypes of buffers are the families' own; every width is 4, every vocabulary 11.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

Shape = tuple[int, ...]
Shapes = dict[str, Shape]
W = 4
VOCABULARY = 11


def state(shapes: Shapes, seed: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Random tensors of these shapes; a 0-d float is 1, names that hold indices hold indices."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in shapes.items():
        if name.endswith("position_ids"):
            made[name] = torch.arange(shape[-1])[None]
        elif name.endswith("num_batches_tracked"):
            made[name] = torch.tensor(seed)
        else:
            made[name] = torch.randn(shape, generator=generator).to(dtype)
        if name.endswith("running_var"):
            made[name] = made[name].abs() + 0.1
    return made


def _linear(name: str, out: int = W, bias: bool = True) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (out, W)
    if bias:
        yield f"{name}.bias", (out,)


def _conv(name: str, size: int = 3) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (W, W, size, size)
    yield f"{name}.bias", (W,)


def _norm(name: str) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (W,)
    yield f"{name}.bias", (W,)


# --- Stable Diffusion


def _res(name: str, skip: bool) -> Iterator[tuple[str, Shape]]:
    yield from _norm(f"{name}.in_layers.0")
    yield from _conv(f"{name}.in_layers.2")
    yield from _linear(f"{name}.emb_layers.1")
    yield from _norm(f"{name}.out_layers.0")
    yield from _conv(f"{name}.out_layers.3")
    if skip:
        yield from _conv(f"{name}.skip_connection", 1)


def _transformer(name: str, depth: int) -> Iterator[tuple[str, Shape]]:
    yield from _norm(f"{name}.norm")
    yield from _conv(f"{name}.proj_in", 1)
    for i in range(depth):
        block = f"{name}.transformer_blocks.{i}"
        for attention in ("attn1", "attn2"):
            for part in ("to_q", "to_k", "to_v"):
                yield from _linear(f"{block}.{attention}.{part}", bias=False)
            yield from _linear(f"{block}.{attention}.to_out.0")
        yield from _linear(f"{block}.ff.net.0.proj")
        yield from _linear(f"{block}.ff.net.2")
        for n in (1, 2, 3):
            yield from _norm(f"{block}.norm{n}")
    yield from _conv(f"{name}.proj_out", 1)


def _unet(depths: tuple[int, ...], middle: int) -> Iterator[tuple[str, Shape]]:
    """`depths`: transformer blocks at each level."""
    yield from _linear("time_embed.0")
    yield from _linear("time_embed.2")
    yield from _conv("input_blocks.0.0")
    number, levels = 1, len(depths)
    for level, depth in enumerate(depths):
        for i in range(2):
            yield from _res(f"input_blocks.{number}.0", skip=i == 0 and 0 < level < 3)
            if depth:
                yield from _transformer(f"input_blocks.{number}.1", depth)
            number += 1
        if level < levels - 1:
            yield from _conv(f"input_blocks.{number}.0.op")
            number += 1
    yield from _res("middle_block.0", skip=False)
    yield from _transformer("middle_block.1", middle)
    yield from _res("middle_block.2", skip=False)
    for number in range(3 * levels):
        depth = depths[levels - 1 - number // 3]
        yield from _res(f"output_blocks.{number}.0", skip=True)
        if depth:
            yield from _transformer(f"output_blocks.{number}.1", depth)
        if number % 3 == 2 and number < 3 * levels - 1:
            yield from _conv(f"output_blocks.{number}.{2 if depth else 1}.conv")
    yield from _norm("out.0")
    yield from _conv("out.2")


def _vae_block(name: str, shortcut: bool) -> Iterator[tuple[str, Shape]]:
    for n in (1, 2):
        yield from _norm(f"{name}.norm{n}")
        yield from _conv(f"{name}.conv{n}")
    if shortcut:
        yield from _conv(f"{name}.nin_shortcut", 1)


def _vae_side(side: str, level: str, blocks: int, shortcuts: tuple[int, ...], resample: dict[int, str]) -> Iterator:
    yield from _conv(f"{side}.conv_in")
    for i in range(4):
        for j in range(blocks):
            yield from _vae_block(f"{side}.{level}.{i}.block.{j}", shortcut=j == 0 and i in shortcuts)
        if i in resample:
            yield from _conv(f"{side}.{level}.{i}.{resample[i]}.conv")
    for j in (1, 2):
        yield from _vae_block(f"{side}.mid.block_{j}", shortcut=False)
    yield from _norm(f"{side}.mid.attn_1.norm")
    for part in ("q", "k", "v", "proj_out"):
        yield from _conv(f"{side}.mid.attn_1.{part}", 1)
    yield from _norm(f"{side}.norm_out")
    yield from _conv(f"{side}.conv_out")


def vae() -> Shapes:
    """A VAE file of Stable Diffusion: 248 tensors, without the prefix `first_stage_model.`."""
    encoder = _vae_side("encoder", "down", 2, (1, 2), dict.fromkeys((0, 1, 2), "downsample"))
    decoder = _vae_side("decoder", "up", 3, (0, 1), dict.fromkeys((1, 2, 3), "upsample"))
    return dict([*encoder, *decoder, *_conv("quant_conv", 1), *_conv("post_quant_conv", 1)])


def _clip(layers: int) -> Iterator[tuple[str, Shape]]:
    yield "text_model.embeddings.position_ids", (1, 7)
    yield "text_model.embeddings.token_embedding.weight", (VOCABULARY, W)
    yield "text_model.embeddings.position_embedding.weight", (7, W)
    for i in range(layers):
        layer = f"text_model.encoder.layers.{i}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _linear(f"{layer}.self_attn.{part}")
        for n in (1, 2):
            yield from _norm(f"{layer}.layer_norm{n}")
            yield from _linear(f"{layer}.mlp.fc{n}")
    yield from _norm("text_model.final_layer_norm")


def _open_clip(layers: int) -> Iterator[tuple[str, Shape]]:
    yield "model.positional_embedding", (7, W)
    yield "model.text_projection", (W, W)
    yield "model.logit_scale", ()
    yield "model.token_embedding.weight", (VOCABULARY, W)
    for i in range(layers):
        block = f"model.transformer.resblocks.{i}"
        yield f"{block}.attn.in_proj_weight", (3 * W, W)
        yield f"{block}.attn.in_proj_bias", (3 * W,)
        yield from _linear(f"{block}.attn.out_proj")
        for name in ("ln_1", "ln_2"):
            yield from _norm(f"{block}.{name}")
        for name in ("c_fc", "c_proj"):
            yield from _linear(f"{block}.mlp.{name}")
    yield from _norm("model.ln_final")


def _below(prefix: str, pairs: Iterator[tuple[str, Shape]] | Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in dict(pairs).items()}


SCHEDULES = (
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
)


def sd15(schedules: bool = True) -> Shapes:
    """Stable Diffusion 1.5 as one file: network 686, VAE 248, text encoder 197 tensors, and 12 schedules."""
    network = _below("model.diffusion_model.", _unet((1, 1, 1, 0), 1))
    text = _below("cond_stage_model.transformer.", _clip(12))
    buffers = dict.fromkeys(SCHEDULES, (5,)) if schedules else {}
    return buffers | network | _below("first_stage_model.", vae()) | text


def sdxl() -> Shapes:
    """SDXL base as one file: network 1,680 tensors, VAE 248, two text encoders."""
    labels = dict([*_linear("model.diffusion_model.label_emb.0.0"), *_linear("model.diffusion_model.label_emb.0.2")])
    network = _below("model.diffusion_model.", _unet((0, 2, 10), 10))
    first = _below("conditioner.embedders.0.transformer.", _clip(12))
    second = _below("conditioner.embedders.1.", _open_clip(32))
    return labels | network | _below("first_stage_model.", vae()) | first | second


# --- language and vision


def llama(layers: int = 3, vocabulary: int = VOCABULARY) -> Shapes:
    """A model of the Llama, Mistral or Qwen kind, as its folder of checkpoints names it."""
    shapes: Shapes = {"model.embed_tokens.weight": (vocabulary, W)}
    for i in range(layers):
        layer = f"model.layers.{i}"
        for part in ("q_proj", "k_proj", "v_proj", "o_proj"):
            shapes |= dict(_linear(f"{layer}.self_attn.{part}", bias=False))
        for part in ("gate_proj", "up_proj", "down_proj"):
            shapes |= dict(_linear(f"{layer}.mlp.{part}", bias=False))
        shapes |= {f"{layer}.input_layernorm.weight": (W,), f"{layer}.post_attention_layernorm.weight": (W,)}
    return shapes | {"model.norm.weight": (W,), "lm_head.weight": (vocabulary, W)}


def vit(layers: int = 3, classes: int = 5) -> Shapes:
    """A vision transformer as timm names it."""
    shapes: Shapes = {"cls_token": (1, 1, W), "pos_embed": (1, 5, W)} | dict(_conv("patch_embed.proj"))
    for i in range(layers):
        for name in ("norm1", "norm2"):
            shapes |= dict(_norm(f"blocks.{i}.{name}"))
        shapes |= dict([*_linear(f"blocks.{i}.attn.qkv", 3 * W), *_linear(f"blocks.{i}.attn.proj")])
        shapes |= dict([*_linear(f"blocks.{i}.mlp.fc1"), *_linear(f"blocks.{i}.mlp.fc2")])
    return shapes | dict([*_norm("norm"), *_linear("head", classes)])


def resnet(blocks: tuple[int, ...] = (2, 2, 2, 2), classes: int = 5) -> Shapes:
    """A ResNet-18 as torchvision and timm name it, with BatchNorm's statistics and counters."""

    def batch_norm(name: str) -> Shapes:
        statistics = {f"{name}.running_mean": (W,), f"{name}.running_var": (W,), f"{name}.num_batches_tracked": ()}
        return dict(_norm(name)) | statistics

    shapes: Shapes = {"conv1.weight": (W, W, 3, 3)} | batch_norm("bn1")
    for stage, count in enumerate(blocks, 1):
        for i in range(count):
            for n in (1, 2):
                shapes[f"layer{stage}.{i}.conv{n}.weight"] = (W, W, 3, 3)
                shapes |= batch_norm(f"layer{stage}.{i}.bn{n}")
            if i == 0 and stage > 1:
                shapes[f"layer{stage}.{i}.downsample.0.weight"] = (W, W, 1, 1)
                shapes |= batch_norm(f"layer{stage}.{i}.downsample.1")
    return shapes | dict(_linear("fc", classes))
