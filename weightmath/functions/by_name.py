"""Masks and numbers that the names of tensors decide, and functions that narrow a vector to some tensors.

Patterns are globs over the whole name (`*attn*`, `blocks.?.mlp.*`), or regular expressions written `re:...`. A
pattern that matches no tensor is an error.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from weightmath.algebra import blocks as diffusion
from weightmath.algebra.graph import Vector, by_name, node
from weightmath.algebra.layers import Layers, Ramp, check_along
from weightmath.algebra.names import Match, Matrices
from weightmath.algebra.signature import AnyVector, Plain, Role, Text, Whole
from weightmath.errors import RecipeError
from weightmath.functions.declare import function
from weightmath.scope import Domain

Architecture: TypeAlias = Annotated[str, Role("text", choices=tuple(diffusion.ARCHITECTURES))]


@function
def match(*patterns: Text) -> Vector:
    """The mask of tensors whose name matches any of the patterns.

    Recipe: `mixed: where(match("*.bias"), chat, base)`
    """
    _need(patterns)
    return by_name(Match(patterns))


@function
def layer(first: Whole, last: Whole | None = None, *, along: Text | None = None) -> Vector:
    """The mask of tensors of layers first..last, the last one included; `layer(3)` is one layer alone.

    `layer(3, 7)` has five layers. The layer number is the first number in a tensor's name, 11 for
    `model.layers.11.mlp.up_proj.weight`, or what the first group of `along="re:..."` matches; the plan prints how it
    was counted. Tensors without a layer number are not in the mask. A copy that lost its dots, as those of
    `model_ema.`, is of the layer of what it copies.
    Fails: RecipeError if the range holds no tensor, or no tensor's name holds a number.
    Recipe: `mixed: where(layer(0, 2), chat, base)`
    """
    check_along(along)
    end = first if last is None else last
    if end < first:
        raise RecipeError(f"layer({first}, {end}) is empty: the first layer comes after the last")
    return by_name(Layers(first, end, along))


@function
def ramp(*points: Plain, along: Text | None = None, otherwise: Plain | None = None) -> Vector:
    """A number per tensor that runs through the points from the lowest layer number to the highest, linearly between.

    With m + 1 points and layers lmin..lmax, layer l is at m (l - lmin) / (lmax - lmin) of them: `ramp(0, 0.5, 0.3, 1)`
    is 0 at the first layer, 0.5 at a third, 0.3 at two thirds, 1 at the last. The layer number is the first number in a
    tensor's name, 11 for `model.layers.11.mlp.up_proj.weight`, or what the first group of `along="re:..."` matches; for
    a copy that lost its dots, as those of `model_ema.`, that of what it copies. Tensors without one get `otherwise`, by
    default the mean of the first and the last point. The plan prints the number of every layer. A table of `params` may
    hold a ramp per pattern, as in "*attn*": ramp(0, 1).
    Other tools: mergekit's `value: [0, 0.5, 0.3, 0.7, 1]` is `ramp(0, 0.5, 0.3, 0.7, 1)`.
    Fails: RecipeError if no tensor's name holds a layer number.
    Recipe: `mixed: lerp(base, chat, ramp(0, 0.5, 1))`
    """
    check_along(along)
    if not points:
        raise RecipeError("a ramp needs at least one point", hint="ramp(0, 1)")
    return by_name(Ramp(points, along, otherwise))


@function
def blocks(architecture: Architecture, weights: Text, *, otherwise: Plain | None = None) -> Vector:
    """A number per tensor from the block of a Stable Diffusion network that it belongs to: block-weighted merging.

    `architecture` is `sd15`, `sd2` or `sdxl`. `weights` is the string that merging tools show, for the blocks in order:
        sd15, sd2   26 numbers: BASE, IN00 to IN11, M00, OUT00 to OUT11; or 25 without BASE
        sdxl        20 numbers: BASE, IN00 to IN08, M00, OUT00 to OUT08; or 19 without BASE
        short       17 numbers (sd15, sd2) or 12 (sdxl): blocks with attention, as LoRA Block Weight lists them
    or names with numbers, `"BASE=0, IN00-IN11=0.5, M00=1, OUT00-OUT11=0.5"`, or the first followed by the second.
    Blocks that get no number are an error unless `otherwise` is given.

    BASE is the text encoder. What lies outside the listed blocks follows one of them, unless it is named: VAE
    (first_stage_model) and REST (whatever is left) follow BASE, TIME (time_embed, label_emb) follows IN00, FINAL (out)
    the last OUT. The plan prints the tensors of each block.
    Other tools: merge-block-weighted does the same; supermerger counts time_embed to OUT11 (a negative index), and for
    SDXL leaves it and label_emb out: add `TIME=0` for that.
    Fails: RecipeError for another count of numbers, for unknown blocks, and for tensors of another network.
    Recipe: `mixed: lerp(base, chat, blocks("sd15", "BASE=0, IN00-IN11=0.3", otherwise=0.7))`
    """
    given = diffusion.parse(architecture, weights, otherwise)
    return by_name(diffusion.Blocks(architecture, weights, tuple(given.items()), otherwise))


@function
def matrices() -> Vector:
    """The mask of tensors with two or more dimensions.

    Recipe: `mixed: where(matrices(), chat, base)`
    """
    return by_name(Matrices())


@function
def only(x: AnyVector, *patterns: Text) -> Vector:
    """The vector narrowed to tensors that match: statistics and selections count just those.

    Elsewhere a narrowed delta is 0; a narrowed model is absent, and an output that is absent keeps its template's
    tensor.
    Recipe: `attention: base + only(chat - base, "*.weight")`
    """
    _need(patterns)
    return node("only", x, domain=Domain.ELEMENT, rule=Match(patterns), inside=True)


@function
def without(x: AnyVector, *patterns: Text) -> Vector:
    """The vector narrowed to tensors that do not match: the complement of `only`.

    Recipe: `body: base + without(chat - base, "*.bias")`
    """
    _need(patterns)
    return node("only", x, domain=Domain.ELEMENT, rule=Match(patterns), inside=False)


@function
def overlay(x: AnyVector, part: AnyVector) -> Vector:
    """The tensors of `part` where it has them, those of `x` elsewhere.

    Recipe: `baked: overlay(base, only(chat, "*.bias"))`
    """
    return node("overlay", x, part, domain=Domain.ELEMENT)


def _need(patterns: tuple[str, ...]) -> None:
    if not patterns:
        raise RecipeError("give at least one pattern", hint='"*attn*"')
