"""Pins: inputs that a recipe names by their fingerprint or their sha256, and refuses to run with any others.

`sha256:` is of the whole file, against malice too; it is checked before the work, which takes a reading of the file.
`fingerprint:` is of the vector, whatever holds it, against accidents; it is known when the run has read all of the
input, which takes no further reading, and is checked before any output appears.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from weightmath.engine.meter import Meter, Told, silent
from weightmath.errors import ExpectError, RecipeError, counted
from weightmath.file_sums import sha256_of
from weightmath.files.inputs import Opened
from weightmath.files.opening import Inputs


@dataclass(frozen=True)
class Pin:
    """What one input must be.

    where    the place in the recipe
    wanted   the fingerprint or the sum
    """

    opened: Opened
    where: str
    wanted: str

    def check(self, found: str, word: str) -> None:
        """ExpectError where the input is another."""
        if found != self.wanted:
            raise ExpectError(
                f"is not what the recipe pins: its {word} is {found}, not {self.wanted}",
                where=f"{self.where}: {self.opened.checkpoint.path}",
                hint="get the file that is meant; or pin this one: weightmath lock RECIPE",
            )


@dataclass(frozen=True)
class Pins:
    """All pins of a recipe, by the names of inputs in messages; and the sums of files as they were when first read."""

    fingerprints: Mapping[str, Pin]
    sums: Mapping[str, Pin]
    _found: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def bytes(self) -> int:
        """Bytes of the files whose sums are pinned."""
        return sum(pin.opened.checkpoint.size for pin in self.sums.values())

    def check_files(self, progress: Told = silent) -> None:
        """Read the files whose sums are pinned, unless that has been done. ExpectError for one that is another.

        `progress` is told bytes done and bytes in all.
        """
        meter = Meter(self.bytes, progress)
        for name, pin in self.sums.items():
            if name not in self._found:
                self._found[name] = sha256_of(pin.opened.checkpoint.path, meter)
            pin.check(self._found[name], "sha256")

    def check_vectors(self, found: Mapping[str, str]) -> None:
        """Compare fingerprints by the names of inputs. ExpectError for one that is another."""
        for name, pin in self.fingerprints.items():
            pin.check(found[name], "fingerprint")


def pins_of(inputs: Inputs) -> Pins:
    """The pins of a recipe whose inputs are opened.

    Fails with RecipeError for a list whose files are more or fewer than its pins, and for the sum of a checkpoint that
    has several files.
    """
    tables: dict[str, dict[str, Pin]] = {"fingerprint": {}, "sha256": {}}
    for name, spec in inputs.recipe.spec.inputs.items():
        members = inputs.of(name)
        for key, wanted in (("fingerprint", spec.fingerprint), ("sha256", spec.sha256)):
            where = inputs.recipe.where("inputs", name, key)
            if wanted and len(wanted) != len(members):
                fact = f"`{name}` has {counted(len(members), 'file')}, and pins {len(wanted)}"
                raise RecipeError(fact, where=where, hint="weightmath lock RECIPE pins those that are there")
            tables[key] |= {one.name: Pin(one, where, pin) for one, pin in zip(members, wanted, strict=False)}
    for pin in tables["sha256"].values():
        check_one_file(pin.opened, pin.where)
    return Pins(tables["fingerprint"], tables["sha256"])


def check_one_file(opened: Opened, where: str) -> None:
    """RecipeError for a checkpoint that is no single file, which alone has a sha256."""
    if len(opened.checkpoint.files) != 1 or not opened.checkpoint.path.is_file():
        fact = f"`{opened.name}` consists of several files, which have no sha256 together"
        raise RecipeError(fact, where=where, hint="pin its fingerprint alone")
