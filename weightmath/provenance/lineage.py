"""The records that inputs carry, and what follows from them: ancestors, and the coefficients of the originals."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from weightmath.checkpoint import Checkpoint
from weightmath.checkpoint.own_record import own_record
from weightmath.errors import CheckpointError, at
from weightmath.files.inputs import Opened
from weightmath.provenance.coefficients import Coefficient, product, total
from weightmath.provenance.record import LARGEST, Provenance, Record, decode

# What an output carries of its ancestors at most, in bytes: the nearest ones.
_MOST = 1 << 20


def provenance_of(checkpoint: Checkpoint) -> Provenance | None:
    """What a checkpoint carries, or None; CheckpointError for a record that is not as weightmath writes it."""
    try:
        content = own_record(checkpoint, LARGEST)
        return None if content is None else decode(content)
    except CheckpointError as error:
        raise at(str(checkpoint.path), error) from None


def histories_of(models: Mapping[str, Opened]) -> tuple[dict[str, Provenance], tuple[str, ...]]:
    """What the inputs carry that are themselves outputs, by name; and warnings about records that cannot be read."""
    found: dict[str, Provenance] = {}
    doubts: list[str] = []
    for name, opened in models.items():
        try:
            history = provenance_of(opened.checkpoint)
        except CheckpointError as error:
            doubts.append(f"`{name}` counts as an original: {error}")
        else:
            if history is not None:
                found[name] = history
    return found, tuple(doubts)


def ancestors_of(histories: Collection[Provenance]) -> tuple[dict[str, Record], int]:
    """The records of inputs and of all their ancestors, by digest, the nearest first; and how many are left out.

    Left out is what comes after a megabyte, and what the inputs' own records had left out.
    """
    found: dict[str, Record] = {}
    size, left_out = 0, sum(history.left_out for history in histories)
    for record in _nearest_first(histories):
        size += len(record.model_dump_json())
        if size > _MOST:
            left_out += 1
        else:
            found[record.digest] = record
    return found, left_out


def _nearest_first(histories: Collection[Provenance]) -> Iterator[Record]:
    seen: set[str] = set()
    waiting = deque((history.record, history) for history in histories)
    while waiting:
        record, history = waiting.popleft()
        if record.digest not in seen:
            seen.add(record.digest)
            yield record
            carried = (history.carried(ingredient) for ingredient in record.inputs.values())
            waiting.extend((one, history) for one in carried if one is not None)


@dataclass(frozen=True)
class Original:
    """What an output is made of in the end: a checkpoint without a record, or a merge that is no weighted sum.

    coefficient   what it is multiplied by in the output; None where that differs in a way that cannot be told
    merged        whether it is itself an output
    """

    file: str
    section: str
    fingerprint: str
    coefficient: Coefficient
    merged: bool


def originals(provenance: Provenance) -> tuple[Original, ...]:
    """The effective coefficient of each original of an output; empty where the output is no weighted sum.

    An input that is itself a weighted sum is multiplied out, through any number of generations.
    """
    done: dict[str, dict[str, Original]] = {}
    for record in _parents_first(provenance):
        parts: dict[str, Original] = {}
        for source in record.inputs.values():
            made = provenance.made(source)
            inside = done[made.digest] if made is not None else {}
            own = Original(source.file, source.section, source.fingerprint, 1.0, made is not None)
            for part in inside.values() or [own]:
                _add(parts, part, source.coefficient)
        is_sum = any(source.coefficient is not None for source in record.inputs.values())
        done[record.digest] = parts if is_sum else {}
    return tuple(done[provenance.record.digest].values())


def _add(parts: dict[str, Original], part: Original, factor: Coefficient) -> None:
    coefficient = product(part.coefficient, factor)
    if part.fingerprint in parts:
        coefficient = total(parts[part.fingerprint].coefficient, coefficient)
    parts[part.fingerprint] = replace(part, coefficient=coefficient)


def _parents_first(provenance: Provenance) -> list[Record]:
    """The record and its ancestors, every input's before what is made of it."""
    order: list[Record] = []
    met: set[str] = set()
    stack = [(provenance.record, False)]
    while stack:
        record, is_below_done = stack.pop()
        if is_below_done:
            order.append(record)
        elif record.digest not in met:
            met.add(record.digest)
            stack.append((record, True))
            made = (provenance.made(source) for source in record.inputs.values())
            stack.extend((one, False) for one in made if one is not None)
    return order
