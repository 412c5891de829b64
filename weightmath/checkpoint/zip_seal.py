"""What surrounds the records of a torch zip once their checksums are known: headers, descriptors, directory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from weightmath.checkpoint.checksum import crc32
from weightmath.checkpoint.zip_layout import RecordPlaces

IDENTITY_DIGITS = 20


class Identity(NamedTuple):
    """The record by which torch tells files apart: 20 digits of the records' names and 20 of their contents."""

    number: int  # which of the places it is
    names: bytes


@dataclass(frozen=True)
class ZipSeal:
    """Makes everything but the records' contents.

    places     of all records
    own        how many of them, from the first, are torch's own and count for the identity
    identity   of the file, or None; its record is written here, as it depends on all others
    """

    places: RecordPlaces
    own: int
    identity: Identity | None

    def __call__(self, crcs: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Positions and bytes, from the checksums of all records but the identity's."""
        every = list(crcs)
        if self.identity is not None:
            content = self.identity.names + self._contents(crcs)
            every.insert(self.identity.number, crc32(content))
            yield int(self.places.offsets[self.identity.number]), content
        yield from self.places.around(every)

    def _contents(self, crcs: Sequence[int]) -> bytes:
        """The digits that torch derives from the checksums of its records that are not empty, in their order."""
        assert self.identity is not None
        own = self.places.sizes[: self.own].tolist()
        del own[self.identity.number]
        combined = 0
        for size, crc in zip(own, crcs, strict=False):
            if size:
                step = crc + 0x9E3779B9 + (combined << 6) + (combined >> 2)
                combined = (combined ^ step) & 0xFFFFFFFFFFFFFFFF
        return b"%020d" % combined
