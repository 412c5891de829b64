"""Two names of one storage: they are computed once where neither inputs nor formulas tell them apart.

Each name by itself would have random numbers of its own, and a selection that cuts between equal elements may keep one
and drop the other. Where a formula does tell the names apart, by a pattern or a layer's number, both are computed, and
have to agree.
"""

from __future__ import annotations

from weightmath.algebra.graph import Input
from weightmath.engine.plan import Plan
from weightmath.files.inputs import Origin
from weightmath.files.outputs import Save


def computed_once(save: Save, plan: Plan) -> frozenset[str]:
    """Names, in the recipe, whose storage in the output is written under another name alone."""
    own = {original: name for name, original in save.originals.items()}
    pairs = ((own.get(alias, ""), own.get(target, "")) for alias, target in save.image.aliases.items())
    return frozenset(alias for alias, target in pairs if _are_alike(alias, target, plan))


def _are_alike(one: str, other: str, plan: Plan) -> bool:
    index, facts = plan.layout.index, plan.facts
    if one not in index or other not in index:
        return False
    i, j = index[one], index[other]
    return (
        all(there[i] == there[j] for there in facts.present.values())
        and all(values[i] == values[j] for values in facts.static.values())
        and all(_is_one_in(node.source, one, other) for node in plan.nodes if node.source is not None)
    )


def _is_one_in(source: Input, one: str, other: str) -> bool:
    """Whether an input has the same elements under both names, or neither."""
    if one not in source.layout or other not in source.layout:
        return (one in source.layout) == (other in source.layout)
    origin: Origin = source.origin
    a, b = origin.tensors[one], origin.tensors[other]
    return origin.borrowed.get(one) is origin.borrowed.get(other) and (
        (a.storage.key, a.offset, a.stride, a.entry.shape) == (b.storage.key, b.offset, b.stride, b.entry.shape)
    )
