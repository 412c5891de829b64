"""Values as the opcodes that a pickle says them with. Only opcodes of protocol 2 that torch's strict loader knows."""

from __future__ import annotations


def text(value: str) -> bytes:
    """A string."""
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + len(raw).to_bytes(4, "little") + raw


def count(value: int) -> bytes:
    """A number from 0 on, as Python's own pickler writes it."""
    if value < 1 << 8:
        return b"K" + value.to_bytes(1, "little")
    if value < 1 << 16:
        return b"M" + value.to_bytes(2, "little")
    if value < 1 << 31:
        return b"J" + value.to_bytes(4, "little")
    size = value.bit_length() // 8 + 1
    return b"\x8a" + size.to_bytes(1, "little") + value.to_bytes(size, "little")


def name(module: str, attribute: str) -> bytes:
    """A class or function, by its name."""
    return f"c{module}\n{attribute}\n".encode()


def put(number: int) -> bytes:
    """Write the value on top to the memo."""
    return b"q" + bytes([number]) if number < 256 else b"r" + number.to_bytes(4, "little")


def get(number: int) -> bytes:
    """Read a value from the memo."""
    return b"h" + bytes([number]) if number < 256 else b"j" + number.to_bytes(4, "little")
