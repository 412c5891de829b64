"""Pins the inputs of a recipe to the files that are there now, by writing their fingerprints into its text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from weightmath import recipe
from weightmath.file_sums import sha256_of
from weightmath.files.inputs import Opened
from weightmath.files.opening import Inputs, open_inputs
from weightmath.fingerprint import fingerprint
from weightmath.pins import check_one_file
from weightmath.recipe import Recipe
from weightmath.text_files import write_whole


@dataclass(frozen=True)
class Locked:
    """What was pinned.

    pins      by input: `fingerprint`, and `sha256` where asked for, one for each file
    changed   whether the recipe's text is another than before
    """

    inputs: Inputs
    pins: Mapping[str, Mapping[str, tuple[str, ...]]]
    changed: bool


def lock(path: Path, *, sums: bool = False, threads: int = 2) -> Locked:
    """Write the fingerprint of each input into a recipe, and with `sums` the sha256 of its file too.

    Comments and style stay; pins that are there already are replaced, sums too. Reads all inputs once, for sums twice.
    Fails as opening the recipe and its inputs does, and with RecipeError where the text cannot be edited, or where an
    input whose sum is asked for consists of several files; the recipe is then as it was.
    """
    source = recipe.load(path)
    inputs = open_inputs(source)
    pins = {}
    for name, spec in source.spec.inputs.items():
        members = inputs.of(name)
        marks = tuple(fingerprint(opened.section, opened.prefix, threads=threads) for opened in members)
        pins[name] = {"fingerprint": marks}
        if sums or spec.sha256:
            pins[name]["sha256"] = tuple(_sum(source, opened) for opened in members)
    text = recipe.with_pins(source.text, str(path), pins)
    if text != source.text:
        write_whole(path, text)
    return Locked(inputs, pins, text != source.text)


def _sum(source: Recipe, opened: Opened) -> str:
    check_one_file(opened, source.where("inputs", opened.input))
    return sha256_of(opened.checkpoint.path)
