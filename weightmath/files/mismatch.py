"""An input whose tensors are not those of the template: what is accepted, and a message that shows the way out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest

from weightmath.dtypes import DType
from weightmath.layout import Difference

_SHOWN = 8
_TRIED = 8  # names that may be one that is missing, under another beginning


@dataclass(frozen=True)
class Terms:
    """What an input may be: its kind, whether it may lack tensors, and what becomes of those that it has too much.

    missing, extra   as in a recipe: "error" or "template", "error" or "ignore"
    """

    kind: str = "model"
    missing: str = "error"
    extra: str = "error"
    part: bool = False

    @property
    def borrows(self) -> bool:
        """Whether it reads what it lacks from the template, which is a model."""
        return self.missing == "template" and self.kind == "model" and not self.part

    def refused(self, found: Difference) -> Difference:
        """What of a difference is not accepted."""
        missing = () if self.borrows or self.part else found.missing
        return Difference(missing, found.extra if self.extra == "error" else (), found.reshaped)


def described(refused: Difference, retyped: Mapping[str, DType], kind: str, present: Sequence[str]) -> tuple[str, str]:
    """A refused difference as a table for people, and the way out.

    retyped   dtypes of tensors that are missing because they are not floating-point
    present   names that the input has
    """
    rows = [
        ("shape", f"{name}: {_shape(there)} here, {_shape(expected)} there")
        for name, expected, there in refused.reshaped
    ]
    rows += [("dtype", f"{name}: {dtype} here, floating-point there") for name, dtype in retyped.items()]
    rows += [("missing", name) for name in refused.missing if name not in retyped]
    rows += [("extra", name) for name in refused.extra]
    shown = [f"    {word:8}{text}" for word, text in rows[:_SHOWN]]
    if len(rows) > _SHOWN:
        shown.append(f"    and {len(rows) - _SHOWN} more")
    counts = f"({len(refused.missing)} missing, {len(refused.extra)} extra, {len(refused.reshaped)} of another shape)"
    return "\n".join([counts, *shown]), _way_out(refused, kind, present)


def _shape(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _way_out(refused: Difference, kind: str, present: Sequence[str]) -> str:
    """The line that would make most names match, or the policies that accept the difference."""
    rule, matched = matching_rule(refused.missing, refused.extra)
    if matched:
        part = ", part: true" if matched < len(refused.missing) else ""
        return f"add to the input: {rule}{part}"
    lines = []
    if refused.missing:
        lines.append(_MISSING_HINTS.get(kind, "`part: true` says that it may lack tensors"))
        beginning = os.path.commonprefix(refused.missing).rpartition(".")[0]  # noqa: RUF071 - letters are meant
        if beginning and not any(name.startswith(f"{beginning}.") for name in present):
            lines.append(f"`except: {beginning}.*` leaves all of these out of the merge")
    if refused.extra:
        lines.append("`extra: ignore` leaves out what is extra")
    if refused.reshaped:
        rows = all(expected[1:] == there[1:] for _, expected, there in refused.reshaped)
        fit = f', or merge their leading rows: fit: {{"{refused.reshaped[0][0]}": rows}}' if rows else ""
        lines.append(f"tensors of another shape can be left out with `except:`{fit}")
    return "; ".join(lines)


_MISSING_HINTS = {
    "model": "`missing: template` takes what is missing from the template, `part: true` says that it is a part",
    "delta": "`part: true` says that it may lack tensors: they are 0",
}


def matching_rule(missing: Sequence[str], extra: Sequence[str]) -> tuple[str, int]:
    """The `strip` or `rename` that would match the most names, and how many."""
    rules: Counter[str] = Counter()
    wanted = set(missing)
    tails = {name[i:]: name[:i] for name in missing for i in range(1, len(name))}
    for name in extra:
        prefix = next((name[:i] for i in range(1, len(name)) if name[i:] in wanted), None)
        if prefix is not None:
            rules[f'strip: ["{prefix}"]'] += 1
        if name in tails:
            rules[f'rename: {{"": "{tails[name]}"}}'] += 1
    return rules.most_common(1)[0] if rules else _other_beginning(missing, extra)


def _other_beginning(missing: Sequence[str], extra: Sequence[str]) -> tuple[str, int]:
    """The `rename` of one beginning to another that would match all names: `module.` and `model._orig_mod.`."""
    if not missing:
        return "", 0
    one = missing[0].split(".")
    for name in nlargest(_TRIED, extra, key=lambda name: _alike_at_the_end(name.split("."), one)):
        other = name.split(".")
        alike = _alike_at_the_end(other, one)
        old, new = (".".join([*words[: len(words) - alike], ""]) for words in (other, one))
        if alike and {new + name[len(old) :] for name in extra if name.startswith(old)}.issuperset(missing):
            return f'rename: {{"{old}": "{new}"}}', len(missing)
    return "", 0


def _alike_at_the_end(a: Sequence[str], b: Sequence[str]) -> int:
    """How many last words two names have in common."""
    return next(
        (i for i, (x, y) in enumerate(zip(reversed(a), reversed(b), strict=False)) if x != y), min(len(a), len(b))
    )
