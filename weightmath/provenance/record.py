"""The record that an output carries of how it was made: its form, and reading it from a file that nobody trusts.

It is JSON: deterministic, without time stamps, absolute paths or user names. A merge of merges carries the records of
its inputs too, each once, by its digest: a lineage is a graph, as a tree would double with every generation. A record
names those of its inputs by their digests, so that none can be its own ancestor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weightmath.errors import CheckpointError
from weightmath.fingerprint import PATTERN
from weightmath.provenance.coefficients import Coefficient

LARGEST = 8 << 20  # bytes of a record with its ancestors

Fingerprint = Annotated[str, Field(pattern=PATTERN)]


class _Parts(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False, extra="forbid")


class Ingredient(_Parts):
    """One input of a merge.

    file          its file name
    section       the section that was its vector, as `section:` names it
    fingerprint   of that section when it was read
    record        the digest of the record that it carried, if any
    coefficient   what it is multiplied by in the output
    """

    file: str
    section: str
    fingerprint: Fingerprint
    record: str | None
    coefficient: Coefficient


class Record(_Parts):
    """How one output was made.

    fingerprint  of the output's section, floats and others
    name         the recipe's file name, or what messages call it
    output       the entry of `save` that the output is
    recipe       the recipe as it was run: parameters as set, outputs by file name, inputs by their paths from the
                 output's folder where those are known without absolute paths, else by file name; shorthands written out
    hash         BLAKE2b-128 of the recipe as JSON, with inputs by file name
    template     the input whose everything-else the output kept
    inputs       by name; those of a list are runs[0], runs[1], ...
    versions     of weightmath and the libraries that computed, and the family of the processor
    """

    fingerprint: Fingerprint
    name: str
    output: str
    recipe: Mapping[str, Any]
    hash: str
    template: str
    inputs: Mapping[str, Ingredient]
    versions: Mapping[str, str]

    @cached_property
    def digest(self) -> str:
        """BLAKE2b-128 of the record itself."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=16).hexdigest()


class Provenance(_Parts):
    """The record of an output, those of its ancestors by their digests, and how many of them are left out."""

    format: Literal[1] = 1
    record: Record
    ancestors: Mapping[str, Record]
    left_out: int

    def carried(self, ingredient: Ingredient) -> Record | None:
        """The record that an input carried; None where it carried none, or where that is left out."""
        return self.ancestors.get(ingredient.record) if ingredient.record is not None else None

    def made(self, ingredient: Ingredient) -> Record | None:
        """The record of how an input was made: the one that it carried, if it tells of the vector that was read.

        It does not where the file was changed since, or where another section of it was read.
        """
        record = self.carried(ingredient)
        return record if record is not None and record.fingerprint == ingredient.fingerprint else None


def encode(provenance: Provenance) -> bytes:
    """The bytes that an output carries."""
    return provenance.model_dump_json().encode()


def decode(content: bytes) -> Provenance:
    """The provenance in these bytes; CheckpointError for anything but what this version of weightmath writes."""
    if len(content) > LARGEST:
        raise CheckpointError(f"its provenance record has {len(content):,} bytes, and at most {LARGEST:,} are read")
    try:
        found = Provenance.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        fact = f"its provenance record is none that this version reads: {place or 'JSON'}: {first['msg']}"
        raise CheckpointError(fact) from None
    for digest, record in found.ancestors.items():
        if digest != record.digest:
            raise CheckpointError(f"its provenance record is broken: `{digest}` is not the digest of what it names")
    return found
