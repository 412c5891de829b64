"""Sources and sinks: where the engine reads its inputs' tensors from and writes those of outputs to, as raw bits.

Whoever is asked for bytes is safe for any thread. What is not said here to be otherwise is that of a source or sink
that tells nothing, copies nothing, and does not go on from what an earlier run has written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from weightmath.dtypes import DType

Fill = Callable[[int, np.ndarray], None]  # reads elements of one tensor, from that one on, as many as the array takes
Put = Callable[[int, np.ndarray], int | None]  # writes elements of one tensor, from that one on; their checksum


class End(Protocol):
    """What both can tell of."""

    def seen(self) -> Any:
        """What there is to know of all that passed in this process, besides checksums: plain, or None."""
        return None

    def see_also(self, seen: Any) -> None:
        """Take in what another process has seen."""
        assert seen is None


class Source(End, Protocol):
    """Where an input's tensors are read from."""

    def dtype(self, name: str) -> DType:
        """The dtype in which a tensor is stored."""

    def reading(self, name: str) -> Fill:
        """What reads elements of a tensor, into 1-D arrays."""

    def read_tensors(self, names: Sequence[str], spans: Sequence[slice], out: np.ndarray) -> None:
        """Some tensors of one dtype, from their first elements on, each into its span of a 1-D array."""


class Sink(End, Protocol):
    """Where an output's tensors are written to."""

    def dtype(self, name: str) -> DType | None:
        """The dtype in which a tensor is stored; None: it is not written."""

    def writing(self, name: str) -> Put:
        """What writes elements of a tensor; it returns None for a checksum where `holds` could not tell."""

    def write_tensors(self, names: Sequence[str], spans: Sequence[slice], bits: np.ndarray) -> Sequence[int | None]:
        """Some tensors of one dtype, from their first elements on, each in its span; their checksums."""

    def holds(self, name: str, start: int, size: int, crc: int) -> bool:
        """Whether elements that an earlier run has written, with this checksum, are there."""
        return False

    def adopt(self, name: str, start: int, size: int, crc: int) -> None:
        """Let elements that are there count as written."""
        raise AssertionError("nothing is there")

    @property
    def copies(self) -> Sequence[Any]:
        """Jobs that copy what the template keeps."""
        return ()

    def copy(self, job: Any) -> tuple[int, int | None]:
        """Do one of the jobs; the bytes copied, and their checksum, or None as for what is written."""
        raise AssertionError("nothing is to be copied")

    def adopt_copy(self, job: Any, crc: int) -> bool:
        """Whether what an earlier run's job has copied, with this checksum, is there; if so, it counts as copied."""
        return False
