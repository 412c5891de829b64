"""Combined checksums against zlib's over the whole."""

import random
import zlib

from weightmath.checkpoint.checksum import combine, crc32, crc_of_zeros


def test_pieces_combine_to_the_whole() -> None:
    dice = random.Random(0)
    for _ in range(300):
        pieces = [dice.randbytes(dice.choice([0, 1, 7, 64, 1000, 65536 + dice.randrange(9)])) for _ in range(4)]
        combined = 0
        for piece in pieces:
            combined = combine(combined, crc32(piece), len(piece))
        assert combined == zlib.crc32(b"".join(pieces))


def test_order_matters() -> None:
    a, b = zlib.crc32(b"a"), zlib.crc32(b"bc")
    assert combine(a, b, 2) != combine(b, a, 1)


def test_zeros() -> None:
    for length in (0, 1, 3, 64, 99_999):
        assert crc_of_zeros(length) == zlib.crc32(bytes(length))
