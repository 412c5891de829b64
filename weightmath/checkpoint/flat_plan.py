"""What becomes of a section whose output holds nothing else: every tensor by itself, tied ones once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from weightmath.checkpoint.description import PathKey, Section, TensorInfo, dotted
from weightmath.checkpoint.drop import check_matches, is_dropped
from weightmath.checkpoint.image import TensorPlan, Wishes
from weightmath.errors import OutputError
from weightmath.layout import Patterns


class FlatPlan(NamedTuple):
    """The tensors that an output stores, in the order of the template; and further names of some of them."""

    tensors: tuple[TensorPlan, ...]
    aliases: Mapping[str, str]

    @property
    def computed_aliases(self) -> dict[str, str]:
        """Those whose elements are written, not copied."""
        written = {plan.tensor.entry.name for plan in self.tensors if plan.computed}
        return {name: of for name, of in self.aliases.items() if of in written}


def plan_flat(section: Section, wishes: Wishes) -> FlatPlan:
    """The tensors of a section as an output that holds only them.

    Tensors that share some but not all of their elements, which only a storage could keep, come apart.
    Fails   OutputError if `drop` leaves out what is computed, or matches nothing
    """
    stored: list[TensorPlan] = []
    aliases: dict[str, str] = {}
    first: dict[object, TensorInfo] = {}
    for tensor in _kept(section, wishes.drop, wishes.computed):
        name, old = tensor.entry.name, tensor.entry.dtype
        plan = TensorPlan(tensor, wishes.dtypes.get(name, old), name in wishes.computed)
        place = (tensor.storage.key, tensor.offset, tensor.entry.shape, tensor.stride, old, plan.new, plan.computed)
        same = first.setdefault(place, tensor) if tensor.entry.size else tensor
        if same is tensor:
            stored.append(plan)
        else:
            aliases[name] = same.entry.name
    return FlatPlan(tuple(stored), aliases)


def _kept(section: Section, drop: Sequence[str], computed: frozenset[str]) -> Iterator[TensorInfo]:
    patterns = Patterns(drop)
    check_matches(drop, _entries(section.checkpoint.tree, ()))
    for tensor in section.tensors.values():
        if not is_dropped(tensor.path, patterns):
            yield tensor
        elif tensor.entry.name in computed:
            raise OutputError(f"`drop:` leaves out `{tensor.entry.name}`, which is computed")


def _entries(tree: object, path: tuple[PathKey, ...]) -> Iterator[str]:
    """Dotted paths of everything in a checkpoint."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield dotted((*path, key))
            yield from _entries(value, (*path, key))
