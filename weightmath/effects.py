"""What rules by names mean in a plan, and what came of them: "`blocks BASE=0` left 197 tensors equal to `a`".

A rule that was meant to keep some tensors, or to take others as they are, is a claim that a run can check: it compares
every output with its template bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from weightmath.algebra.graph import Vector, topological
from weightmath.algebra.names import Description, Part
from weightmath.engine.outcome import Outcome
from weightmath.engine.plan import Plan
from weightmath.errors import counted, listed

_LABELS = 3
_KEEPS_OR_TAKES = (0.0, 1.0)


@dataclass(frozen=True)
class Effect:
    """What became of the tensors to which a rule gives 0 or 1, in one output.

    rule       the rule with its number, `blocks BASE=0`; of a mask, the mask or its complement
    tensors    how many the rule gives that number, of those that were computed
    unchanged  how many of them are bit for bit the template's
    """

    output: str
    template: str
    rule: str
    tensors: int
    unchanged: int

    def __str__(self) -> str:
        tensors = counted(self.tensors, "tensor")
        if self.unchanged == self.tensors:
            return f"`{self.rule}` left {tensors} equal to `{self.template}`"
        if self.unchanged == 0:
            return f"`{self.rule}` changed {tensors} of `{self.template}`"
        return f"`{self.rule}` left {self.unchanged:,} of {tensors} equal to `{self.template}`"


def rules(plan: Plan) -> tuple[Description, ...]:
    """Each rule by names that the plan uses, once, in order of evaluation."""
    found = {one.rule: one for node in plan.nodes for one in _described(node, plan)}
    return tuple(found.values())


def effects(plan: Plan, outcomes: Mapping[str, Outcome], templates: Mapping[str, str]) -> tuple[Effect, ...]:
    """What each rule kept or took in each output; `templates` has the name of each output's template."""
    found: dict[Effect, None] = {}
    for output in plan.request.outputs:
        changes = outcomes[output.name].tensors
        for node in topological([output.value]):
            for one in _described(node, plan):
                for rule, tensors in _claims(one):
                    computed = [changes[name] for name in tensors if name in changes]
                    unchanged = sum(change.changed == 0 for change in computed)
                    if computed:
                        effect = Effect(output.name, templates[output.name], rule, len(computed), unchanged)
                        found[effect] = None
    return tuple(found)


def _described(node: Vector, plan: Plan) -> Iterator[Description]:
    if node.op == "by_name":
        yield node.option("rule").describe(plan.layout)
    elif node.op == "only":
        yield _narrowed(node, node.option("rule").describe(plan.layout))


def _narrowed(node: Vector, matched: Description) -> Description:
    """`only` and `without` as masks of the tensors that they keep."""
    patterns = matched.rule.removeprefix("match")
    if node.option("inside"):
        return replace(matched, rule=f"only{patterns}")
    kept = tuple(Part(part.label, part.tensors, 1 - part.high, 1 - part.low) for part in matched.parts)
    return replace(matched, rule=f"without{patterns}", parts=kept)


def _claims(one: Description) -> Iterator[tuple[str, list[str]]]:
    """For 0 and for 1: how the rule is called with that number, and its tensors."""
    for number in _KEEPS_OR_TAKES:
        chosen = [part for part in one.parts if part.number == number]
        if chosen:
            yield _called(one, chosen, number), [name for part in chosen for name in part.tensors]


def _called(one: Description, chosen: list[Part], number: float) -> str:
    if not one.name:
        return one.rule if number else _complement(one.rule)
    return f"{one.name} {listed([part.label for part in chosen], _LABELS)}={number:g}"


def _complement(mask: str) -> str:
    for word, other in (("only(", "without("), ("without(", "only(")):
        if mask.startswith(word):
            return other + mask.removeprefix(word)
    return f"~{mask}"
