"""Which section holds the weights, and which other places hold the same weights again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from weightmath.errors import CheckpointError, listed, nearest

if TYPE_CHECKING:
    from weightmath.checkpoint.description import Checkpoint, Section

KNOWN = ("state_dict", "model_state_dict", "model.state_dict", "model", "module")


def likeliest_first(sections: Iterable[Section]) -> tuple[Section, ...]:
    """Sections in the order in which they would be chosen."""
    return tuple(sorted(sections, key=_rank))


def _rank(section: Section) -> tuple[bool, int, int]:
    known = KNOWN.index(section.name) if section.name in KNOWN else len(KNOWN)
    return _never_chosen(section), known, -section.elements


def _never_chosen(section: Section) -> bool:
    # A moment of Adam has the shapes of the weights and may be larger than they are: it must not win by size.
    return section.hidden or any(part.lower().startswith("optim") for part in section.name.split("."))


# What torch rebuilds tensors by that are no plain array, and how they become one.
_SPECIAL = {
    "torch._utils._rebuild_sparse_tensor": ("sparse", "tensor.to_dense()"),
    "torch._utils._rebuild_qtensor": ("quantized", "tensor.dequantize()"),
    "torch._tensor._rebuild_from_type_v2": ("of a class of its own", "plain ones: of a DTensor tensor.full_tensor()"),
}
_MOST_AVERAGES = 8  # each is compared with all names


def choose(checkpoint: Checkpoint, name: str | None) -> Section:
    """The section of that name, or without a name the one that holds the weights; CheckpointError if none does."""
    if name is not None:
        return _named(checkpoint, "" if name == "." else name)
    candidates = [section for section in checkpoint.sections if not _never_chosen(section)]
    if candidates:
        return candidates[0]
    if not checkpoint.sections:
        raise _without_tensors(checkpoint)
    inside = next((_owner(checkpoint, section) for section in checkpoint.sections if section.hidden), None)
    if inside is not None:
        fact = f"holds a whole pickled object (`{inside}`), not the weights of one"
        hint = "where its code is installed: torch.save(model.state_dict(), 'new.ckpt')"
    else:
        fact = "no section holds the weights: all tensors belong to an optimizer"
        hint = "save model.state_dict() too"
    raise CheckpointError(
        fact, where=str(checkpoint.path), hint=f"{hint}; or name a `section:`, there are: {_names(checkpoint)}"
    )


def _without_tensors(checkpoint: Checkpoint) -> CheckpointError:
    """What a checkpoint holds in place of tensors that can be computed with."""
    left: list[tuple[str, object]] = [("", checkpoint.tree)]
    while left and getattr(left[-1][1], "name", None) not in _SPECIAL:
        place, value = left.pop()
        if isinstance(value, Mapping):
            left.extend((f"{place}.{key}" if place else str(key), inside) for key, inside in reversed([*value.items()]))
    if not left:
        return CheckpointError("holds no named tensors", where=str(checkpoint.path))
    place, value = left[-1]
    what, way_out = _SPECIAL[getattr(value, "name", "")]
    fact = f"holds no dense tensors: `{place}` is {what}"
    return CheckpointError(fact, where=str(checkpoint.path), hint=f"load it with torch and save {way_out}")


def _owner(checkpoint: Checkpoint, section: Section) -> str | None:
    """The class of the object that a section lies in."""
    tree = checkpoint.tree
    for key in next(iter(section.tensors.values())).path:
        if not isinstance(tree, Mapping):
            break
        tree = tree[key]
    return getattr(tree, "name", None)


def _named(checkpoint: Checkpoint, name: str) -> Section:
    for section in checkpoint.sections:
        if section.name == name:
            return section
    names = [section.name for section in checkpoint.sections]
    hint = f"there are: {_names(checkpoint)}" if names else "it holds no named tensors"
    close = nearest(name, names)
    raise CheckpointError(
        f"has no section `{name or '.'}`", where=str(checkpoint.path), hint=f"{close}; {hint}" if close else hint
    )


def _names(checkpoint: Checkpoint) -> str:
    return listed([section.name or ". (the top level)" for section in checkpoint.sections], 12)


def twins_of(section: Section, sections: Sequence[Section]) -> tuple[str, ...]:
    """Places beside a section that hold the same names: whole sections, and prefixes inside it."""
    floats = set(section.layout.names)
    others = (other for other in sections if other is not section and not _never_chosen(other))
    whole = [other.name or "." for other in others if floats and floats <= other.tensors.keys()]
    return (*whole, *_prefixes(section.layout.names))


def _prefixes(names: Sequence[str]) -> list[str]:
    """First parts of names such as `model_ema.` whose members are other names of the section again.

    Stable Diffusion's LitEma stores `model_ema.` and the name without its dots, after its first part.
    """
    groups: dict[str, set[str]] = {}
    for name in names:
        first, dot, rest = name.partition(".")
        if dot and "ema" in first.lower():
            groups.setdefault(first, set()).add(rest)
    largest = sorted(groups.items(), key=lambda group: -len(group[1]))[:_MOST_AVERAGES]
    return [f"{first}." for first, inside in largest if _repeats(first, inside, names)]


def _repeats(first: str, inside: set[str], names: Sequence[str]) -> bool:
    outside = [name for name in names if not name.startswith(f"{first}.")]
    spellings = {name for whole in outside for name in (whole, whole.partition(".")[2])}
    spellings |= {name.replace(".", "") for name in spellings}
    return 2 * len(inside & spellings) > len(inside)
