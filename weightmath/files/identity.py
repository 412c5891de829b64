"""Which run this is: all that decides its bytes, as plain values, so that two can be told apart and the reason said."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from weightmath.engine.plan import Plan
from weightmath.engine.traces import FORMAT as JOURNAL
from weightmath.files.inputs import Opened
from weightmath.files.outputs import Save
from weightmath.recipe import Recipe
from weightmath.versions import VERSIONS


def identity(
    recipe: Recipe, inputs: Mapping[str, Opened], plan: Plan, saves: Sequence[Save], chunk: int
) -> dict[str, dict[str, Any]]:
    """What decides a run's bytes and the order of its work, by what messages call it."""
    spec = recipe.spec.model_dump(mode="json")
    params = spec.pop("params")
    return {
        "version": {**VERSIONS, "journal": str(JOURNAL)},
        "input": {name: _stamps(opened) for name, opened in inputs.items()},
        "parameter": {name: str(value) for name, value in params.items()},
        "recipe": {"text": _digest(repr(spec))},
        "chunk": {"elements": chunk},
        "formula": {"graph": _digest(*_formula(plan))},
        "output": {save.name: [str(save.path.absolute()), save.image.size] for save in saves},
    }


def differences(old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What tells an earlier run from this one, in words; of what follows from other changes only those are told."""
    changes = {part: _changes(part, old.get(part, {}), new[part]) for part in _WORDS}
    causes = [reason for part, reasons in changes.items() if part not in _EFFECTS for reason in reasons]
    return causes or [reason for part in _EFFECTS for reason in changes[part]]


def _changes(part: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    changed = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
    return [_WORDS[part](key, old.get(key), new.get(key)) for key in changed]


_EFFECTS = ("formula", "output")
_WORDS: Mapping[str, Callable[[str, Any, Any], str]] = {
    "version": lambda key, old, new: f"{key} is {new} now, and was {old}",
    "input": lambda key, old, new: f"input `{key}` has changed",
    "parameter": lambda key, old, new: f"parameter `{key}` is {new} now, and was {old}",
    "recipe": lambda key, old, new: "the recipe has changed",
    "chunk": lambda key, old, new: "the memory budget has changed",
    "formula": lambda key, old, new: "the formula has changed",
    "output": lambda key, old, new: f"output `{key}` has changed",
}


def _stamps(opened: Opened) -> list[list[int]]:
    # Without the device: its number is another after a restart.
    return [[stamp.size, stamp.mtime_ns, stamp.inode] for stamp in opened.checkpoint.stamps]


def _digest(*parts: str) -> str:
    whole = hashlib.blake2b(digest_size=16)
    for part in parts:
        whole.update(f"{len(part)}:{part}".encode())
    return whole.hexdigest()


def _formula(plan: Plan) -> Iterator[str]:
    """The graph and the layout it runs over: what no recipe says where vectors come from Python."""
    numbers = {node: number for number, node in enumerate(plan.nodes)}
    yield plan.layout.fingerprint
    yield " ".join(entry.dtype.name for entry in plan.layout)
    yield repr(plan.order)
    for node in plan.nodes:
        yield repr((node.op, [numbers[arg] for arg in node.args], node.options))
    for output in plan.request.outputs:
        yield repr((output.name, numbers[output.value], str(output.dtype)))
    for watched in plan.request.watched:
        yield repr((watched.text, numbers[watched.value]))
