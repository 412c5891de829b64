"""What a run's results are judged by: NaN and infinities, claims of `expect`, outputs that nothing changed, deltas."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from weightmath.algebra.graph import Vector
from weightmath.checkpoint.ending import form_of
from weightmath.engine.execute import Results
from weightmath.engine.outcome import Outcome
from weightmath.errors import ExpectError, NumericError, listed
from weightmath.files.inputs import Opened, has_nonfinite
from weightmath.files.outputs import Save
from weightmath.questions import Claim
from weightmath.recipe import Built, Recipe

_LISTED = 5
_FORMS = {"torch zip": "torch zip", "safetensors": "safetensors", "sharded safetensors": "folder"}
_HINT = "a wider `dtype:` if they overflowed, inputs without them, or `nonfinite: allow` if you want them"


def check_finite(recipe: Recipe, inputs: Mapping[str, Opened], results: Results) -> None:
    """NumericError where an output has NaN or infinities that the recipe does not allow."""
    if recipe.spec.nonfinite == "allow":
        return
    for name, outcome in results.outcomes.items():
        bad = {tensor: change.nonfinite for tensor, change in outcome.tensors.items() if change.nonfinite}
        if bad:
            raise NumericError(_told(bad, inputs), where=recipe.where("save", name), hint=_HINT)


def _told(bad: Mapping[str, int], inputs: Mapping[str, Opened]) -> str:
    """Which tensors have how many, and the inputs that the first has them from."""
    first = next(iter(bad))
    guilty = [f"`{name}`" for name, opened in inputs.items() if has_nonfinite(opened, first)]
    origin = f"; `{first}` has them in {' and '.join(guilty)}" if guilty else ""
    counts = [f"`{tensor}` ({count:,})" for tensor, count in bad.items()]
    return f"NaN or infinite values in {listed(counts, _LISTED)}{origin}"


def check_claims(recipe: Recipe, claims: Iterable[tuple[int, Claim]]) -> None:
    """ExpectError where one does not hold; each comes with its number in the recipe."""
    for number, claim in claims:
        if not claim.held:
            measured = "" if claim.left is None else f": {claim.left:.6g} against {claim.right:.6g}"
            raise ExpectError(f"`{claim.text}` does not hold{measured}", where=recipe.where("expect", number))


def without_effect(recipe: Recipe, built: Built, saves: Iterable[Save], results: Results) -> list[str]:
    """A warning for each output with its template's numbers, unless another form of it was asked for, or a zero delta.

    Delta files are there under their names.
    """
    unchanged = [
        f"{save.name}: nothing changed against the template: the merge had no effect"
        for save in saves
        if not save.encoding
        and _is_unchanged(results.outcomes[save.name])
        and not _is_conversion(recipe, save, built.saves[save.name])
    ]
    zero = [f"{save.name}: all numbers are 0: the delta has no effect" for save in saves if _is_zero(save)]
    return unchanged + zero


def _is_zero(save: Save) -> bool:
    if save.encoding is None:
        return False
    # Imported when there is a delta file: that takes 15 ms.
    from weightmath.delta.container import open_delta

    return all(record.norm == 0 for record in open_delta(save.target).delta.records.values())


def _is_unchanged(outcome: Outcome) -> bool:
    return bool(outcome.tensors) and not any(change.changed for change in outcome.tensors.values())


def _is_conversion(recipe: Recipe, save: Save, value: Vector) -> bool:
    """Whether an output is its template itself, as another file: dtype, container, or what is left out."""
    if value.op != "input" or value.option("name") != save.template.name:
        return False
    spec = recipe.spec.save[save.name]
    is_other = _FORMS.get(save.template.checkpoint.container) != form_of(recipe.outputs[save.name])
    return bool(save.retyped or spec.drop or spec.keep != "all" or spec.shard or is_other)


def without_base(inputs: Mapping[str, Opened], at_hand: Collection[str]) -> list[str]:
    """For each delta whose base is none of the fingerprints at hand, a warning that says so.

    A recipe may well mean it: skills are added to other models. Who applies a file by itself must say --any-base.
    """
    bases = {name: opened.checkpoint.source.delta.base for name, opened in inputs.items() if opened.is_delta_input}
    return [
        f"`{name}` is a delta of {base.file} ({base.fingerprint}), which is none of the inputs"
        for name, base in bases.items()
        if base.fingerprint not in at_hand
    ]
