"""Composes the record of an output when its run is planned; its fingerprints take their places when they are known."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from weightmath.algebra.graph import Vector
from weightmath.checkpoint.hub import called, is_in_hub
from weightmath.engine import linear
from weightmath.engine.plan import Plan
from weightmath.files.inputs import Opened
from weightmath.fingerprint import PREFIX
from weightmath.provenance import coefficients
from weightmath.provenance.coefficients import Coefficient
from weightmath.provenance.lineage import ancestors_of
from weightmath.provenance.record import Ingredient, Provenance, Record, encode
from weightmath.recipe import Recipe
from weightmath.versions import VERSIONS


@dataclass(frozen=True)
class Unsettled:
    """A record that is complete but for its fingerprints.

    content   its bytes, with placeholders of the length of fingerprints
    own       the placeholder of the output's own, `inputs` those of the inputs'
    """

    content: bytes
    own: str
    inputs: Mapping[str, str]

    def settled(self, own: str, inputs: Mapping[str, str]) -> dict[bytes, bytes]:
        """What takes the place of each placeholder."""
        texts = {self.own: own} | {mark: inputs[name] for name, mark in self.inputs.items()}
        return {mark.encode(): text.encode() for mark, text in texts.items()}

    def text(self, own: str, inputs: Mapping[str, str]) -> str:
        """The whole record, settled."""
        content = self.content
        for mark, found in self.settled(own, inputs).items():
            content = content.replace(mark, found)
        return content.decode()


def compose(
    recipe: Recipe,
    value: Vector,
    plan: Plan,
    output: str,
    template: str,
    models: Mapping[str, Opened],
    histories: Mapping[str, Provenance],
) -> Unsettled:
    """The record of one output.

    value       the output's vector
    output      its name in `save`
    template    the name of its template's input
    models      all inputs by name
    histories   what those of them carry that are themselves outputs
    """
    data, names = embedded(recipe)
    key = hashlib.blake2b(_canonical(data), digest_size=16).hexdigest()
    marks = {name: _placeholder(key, "input", name) for name in models}
    factors = _coefficients(value, plan, models)
    inputs = {
        name: Ingredient(
            file=_text(called(opened.checkpoint.path)),
            section=opened.place,
            fingerprint=marks[name],
            record=histories[name].record.digest if name in histories else None,
            coefficient=factors[name],
        )
        for name, opened in models.items()
    }
    record = Record(
        fingerprint=_placeholder(key, "output", output),
        name=_text(recipe.path.name) if recipe.path else recipe.document.name,
        output=names[output],
        recipe=_with_places(data, recipe, output),
        hash=key,
        template=template,
        inputs=inputs,
        versions={**VERSIONS, "processor": platform.machine()},
    )
    ancestors, left_out = ancestors_of(histories.values())
    provenance = Provenance(record=record, ancestors=ancestors, left_out=left_out)
    return Unsettled(encode(provenance), record.fingerprint, marks)


def embedded(recipe: Recipe) -> tuple[dict[str, Any], dict[str, str]]:
    """A recipe as it is run, as plain data without folders; and the names that its outputs have there.

    Shorthands are written out and defaults left out, so that recipes that mean the same have the same data. Inputs and
    outputs are called by their file names alone; outputs of one name in two folders are told apart by a number.
    """
    data: dict[str, Any] = recipe.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    for entry in data["inputs"].values():
        entry.update({key: file_name(entry[key]) for key in ("path", "glob") if key in entry})
        for key in ("fingerprint", "sha256"):
            entry.pop(key, None)  # the record has the fingerprints of all
    names: dict[str, str] = {}
    for name in recipe.spec.save:
        names[name] = _unlike(file_name(name), names.values())
    data["save"] = {names[name]: entry for name, entry in data["save"].items()}
    return data, names


def _with_places(data: Mapping[str, Any], recipe: Recipe, output: str) -> dict[str, Any]:
    """The data with paths of inputs as seen from the output's folder, where they lie below it."""
    inputs = {name: dict(entry) for name, entry in data["inputs"].items()}
    written = recipe.outputs.get(output, output)
    for name, entry in inputs.items():
        spec = recipe.spec.inputs[name]
        for key, path in (("path", spec.path), ("glob", spec.glob)):
            if path is not None and not is_in_hub(path):
                entry[key] = _text(_seen_from(recipe, written, path) or entry[key])
    return {**data, "inputs": inputs}


def _seen_from(recipe: Recipe, output: str, path: str) -> str | None:
    """A path of the recipe relative to the folder of an output, if it lies below that: other folders are not told."""
    place, folder = (PurePath(os.path.abspath(recipe.resolve(one))) for one in (path, str(PurePath(output).parent)))
    slash = "/" if path.endswith("/") else ""
    if not place.is_relative_to(folder) or folder == PurePath(folder.root):
        return None
    return str(place.relative_to(folder)) + slash


def file_name(path: str) -> str:
    """The last component of a path, with its slash if it names a folder; models of the hub keep their whole name."""
    if is_in_hub(path):
        return path
    return _text(Path(path).name) + ("/" if path.endswith("/") else "")


def _text(name: str) -> str:
    """A file's name as text; bytes that are none become question marks."""
    return name.encode("utf-8", "replace").decode()


def _unlike(name: str, others: Any) -> str:
    number, found = 1, name
    while found in others:
        number += 1
        found = f"{number}-{name}"
    return found


def _canonical(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _placeholder(key: str, *place: str) -> str:
    """A text of the form of a fingerprint that stands nowhere else in the output."""
    return PREFIX + hashlib.blake2b("\0".join((key, *place)).encode(), digest_size=16).hexdigest()


def _coefficients(value: Vector, plan: Plan, models: Mapping[str, Opened]) -> dict[str, Coefficient]:
    """What each input is multiplied by in the merged tensors; None for all where the value is no weighted sum."""
    terms = linear.coefficients(value, plan)
    if terms is None:
        return dict.fromkeys(models)
    merged = plan.facts.present[value]
    sources = ((vector.source, numbers) for vector, numbers in terms.items())
    by_name = {source.name: numbers[merged].tolist() for source, numbers in sources if source is not None}
    return {name: coefficients.of_numbers(by_name.get(name, ())) for name in models}
