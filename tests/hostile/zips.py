"""Zips with lies in them: a builder that lets any field of any header say anything."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from zlib import compressobj, crc32

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
END64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR64 = struct.Struct("<4sIQI")


@dataclass(frozen=True)
class Member:
    """A record. `local` and `central` say what its two headers have in place of the truth."""

    name: str | bytes
    content: bytes
    local: dict[str, Any] = field(default_factory=dict)
    central: dict[str, Any] = field(default_factory=dict)
    listed: bool = True
    written: bool = True

    @property
    def raw_name(self) -> bytes:
        return self.name if isinstance(self.name, bytes) else self.name.encode()

    def fields(self, lies: dict[str, Any]) -> dict[str, Any]:
        honest = {
            "name": self.raw_name, "flags": 0, "method": 0, "crc": crc32(self.content), "packed": len(self.content),
            "unpacked": len(self.content), "extra": b"", "comment": b"", "attributes": 0, "disk": 0,
        }  # fmt: skip
        return {**honest, **lies}


def build(
    members: list[Member], *, end: dict[str, Any] | None = None, before_end: bytes = b"", tail: bytes = b""
) -> bytes:
    """The zip of these members; `end` is what its end record has in place of the truth."""
    whole, offsets = bytearray(), []
    for member in members:
        offsets.append(len(whole))
        if member.written:
            f = member.fields(member.local)
            whole += LOCAL.pack(b"PK\3\4", 20, f["flags"], f["method"], 0, 0, f["crc"], f["packed"], f["unpacked"],
                                len(f["name"]), len(f["extra"])) + f["name"] + f["extra"] + member.content  # fmt: skip
    start = len(whole)
    for member, offset in zip(members, offsets, strict=True):
        if member.listed:
            f = {"offset": offset, **member.fields(member.central)}
            whole += CENTRAL.pack(b"PK\1\2", 20, 20, f["flags"], f["method"], 0, 0, f["crc"], f["packed"], f["unpacked"],
                                  len(f["name"]), len(f["extra"]), len(f["comment"]), f["disk"], 0, f["attributes"],
                                  f["offset"]) + f["name"] + f["extra"] + f["comment"]  # fmt: skip
    count = sum(member.listed for member in members)
    e = {"disk": 0, "first": 0, "here": count, "count": count, "size": len(whole) - start, "start": start, "comment": b"",
         **(end or {})}  # fmt: skip
    whole += before_end
    whole += END.pack(b"PK\5\6", e["disk"], e["first"], e["here"], e["count"], e["size"], e["start"], len(e["comment"]))
    return bytes(whole) + e["comment"] + tail


def wide(*numbers: int) -> bytes:
    """A zip64 field."""
    return struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers)


def deflated(content: bytes) -> bytes:
    compressor = compressobj(9, 8, -15)
    return compressor.compress(content) + compressor.flush()


def lies(honest: list[Member], evil: bytes) -> Iterator[tuple[str, bytes]]:
    """Zips that two readers could read in two ways, or that lead a careless one astray; `evil` is a pickle that sings.

    honest   the members of a harmless checkpoint: data.pkl first, then data/0, data/1 and the small ones
    """
    pkl, first, *others = honest
    rest = [first, *others]
    root = pkl.raw_name.decode().partition("/")[0]
    hidden = replace(pkl, content=evil)

    yield "two data.pkl", build([pkl, hidden, *rest])
    yield "two data.pkl, the evil one first", build([hidden, pkl, *rest])
    yield "two data/0", build([pkl, first, replace(first, content=bytes(len(first.content))), *others])
    yield "a second data.pkl that is not listed", build([replace(hidden, listed=False), pkl, *rest])
    yield "data.pkl in another case", build([pkl, replace(hidden, name=f"{root}/DATA.PKL"), *rest])
    yield "data.pkl of other letters", build([pkl, replace(hidden, name=f"{root}/d\u0430ta.pkl"), *rest])
    yield "two roots", build([pkl, replace(hidden, name="other/data.pkl"), *rest])
    yield "data.pkl below the root", build([replace(pkl, name=f"{root}/inner/data.pkl"), *rest])
    for what, value in (("name", b"archive/else.pkl"), ("method", 8), ("flags", 1), ("name", pkl.raw_name + b"\0")):
        yield f"local {what} {value!r}", build([replace(pkl, local={what: value}), *rest])
    yield (
        "local and central names swapped",
        build([replace(pkl, local={"name": first.raw_name}), replace(first, local={"name": pkl.raw_name}), *others]),
    )
    for what, value in (
        ("packed", 5),
        ("unpacked", 5),
        ("crc", 7),
        ("flags", 1 << 3),
        ("flags", 1 << 6),
        ("extra", b"xx"),
    ):
        yield f"local {what} {value!r}", build([pkl, replace(first, local={what: value}), *others])
    for what, value in (
        ("flags", 1), ("flags", 1 << 5), ("flags", 1 << 6), ("flags", 1 << 13), ("flags", 0xFFFF), ("method", 8), ("method", 12),
        ("method", 99), ("crc", 7), ("unpacked", 5), ("unpacked", 1 << 31), ("packed", 5), ("packed", 1 << 31),
        ("packed", 0xFFFFFFFF), ("disk", 3), ("offset", 0xFFFFFFFE), ("offset", 0), ("offset", 7), ("extra", b"x" * 3),
        ("extra", wide(1 << 63)), ("comment", b"PK\5\6" + bytes(18)), ("attributes", 0xA1FF << 16),
    ):  # fmt: skip
        yield f"central {what} {value!r}", build([pkl, replace(first, central={what: value}), *others])
    for numbers in ((1 << 62, 1 << 62, 0), (16, 16, 1 << 63), (0, 0, 0), (1 << 64) - 1, ()):
        extra = wide(*(numbers if isinstance(numbers, tuple) else (numbers,) * 3))
        full = {"packed": 0xFFFFFFFF, "unpacked": 0xFFFFFFFF, "offset": 0xFFFFFFFF, "extra": extra}
        yield f"zip64 {numbers}", build([pkl, replace(first, central=full), *others])
    for one in (
        "/etc/passwd",
        "../../evil",
        f"{root}/../../evil",
        "..",
        "",
        "C:\\evil",
        f"{root}\\evil",
        "a\0b",
        "a\nb",
        "x" * 60000,
    ):
        yield f"a record called {one[:20]!r}", build([*honest, Member(one, b"evil")])
        yield (
            f"root {one[:20]!r}",
            build([replace(m, name=m.raw_name.replace(root.encode(), one.encode())) for m in honest]),
        )
    yield "a name that is no text", build([*honest, Member(b"archive/\xff\xfe", b"evil")])
    yield (
        "a symbolic link",
        build([*honest, Member(f"{root}/link", b"/etc/passwd", central={"attributes": 0xA1FF << 16})]),
    )
    yield "data/0 is a symbolic link", build([pkl, replace(first, content=b"/etc/passwd"[:16].ljust(len(first.content), b"\0"),
                                                           central={"attributes": 0xA1FF << 16}), *others])  # fmt: skip
    yield "records that overlap", build([pkl, first, *(replace(o, central={"offset": 0}) for o in others)])
    yield (
        "a record within another",
        build([replace(pkl, content=pkl.content), replace(first, central={"packed": 4000, "unpacked": 4000}), *others]),
    )
    inner = (
        LOCAL.pack(b"PK\3\4", 20, 0, 0, 0, 0, crc32(evil), len(evil), len(evil), len(pkl.raw_name), 0)
        + pkl.raw_name
        + evil
    )
    yield "a zip in the bytes of a tensor", build([replace(first, name=f"{root}/data/9", content=inner), *honest])
    yield (
        "data.pkl lies in the bytes of a tensor",
        build(
            [
                replace(first, name=f"{root}/data/9", content=inner),
                replace(pkl, written=False, content=evil, central={"offset": 40}),
                *rest,
            ]
        ),
    )
    yield (
        "compressed",
        build(
            [
                replace(
                    pkl,
                    content=deflated(pkl.content),
                    local={"method": 8},
                    central={"method": 8, "unpacked": len(pkl.content)},
                ),
                *rest,
            ]
        ),
    )
    yield (
        "a gigabyte of zeros in a megabyte",
        build(
            [
                pkl,
                replace(
                    first,
                    content=deflated(bytes(1 << 24)),
                    local={"method": 8},
                    central={"method": 8, "unpacked": 1 << 30},
                ),
                *others,
            ]
        ),
    )
    whole = build(honest)
    for what, value in (
        ("count", 0), ("count", 1), ("count", 65535), ("size", 3), ("size", 0xFFFFFFFE), ("start", 0), ("start", 5),
        ("start", 0xFFFFFFFF), ("disk", 1), ("first", 2), ("here", 7), ("comment", END.pack(b"PK\5\6", 0, 0, 0, 0, 0, 0, 0)),
        ("comment", whole),
    ):  # fmt: skip
        yield f"end {what} {str(value)[:20]}", build(honest, end={what: value})
    yield "an honest zip after an evil one", build([hidden, *rest]) + whole
    yield "an evil zip after an honest one", whole + build([hidden, *rest])
    yield "something after the end", build(honest, tail=b"PK\3\4 something")
    yield "something before the end", build(honest, before_end=b"something")
    yield "no directory", whole[: whole.rindex(b"PK\1\2") - 200]
    yield "half", whole[: len(whole) // 2]
    for position in (0, 4, 1 << 40, (1 << 64) - 1):
        locator = LOCATOR64.pack(b"PK\6\7", 0, position, 1)
        yield f"zip64 end at {position}", build(honest, before_end=locator)
    for size, start in ((1 << 62, 0), (100, (1 << 64) - 100), ((1 << 64) - 1, 1)):
        end64 = END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, 3, 3, size, start)
        plain = build(honest)[: -END.size]
        locator = LOCATOR64.pack(b"PK\6\7", 0, len(plain), 1)
        yield f"zip64 directory {size} {start}", build(honest, before_end=end64 + locator)
    yield (
        "TorchScript",
        build([*honest, Member(f"{root}/constants.pkl", evil), Member(f"{root}/code/x.py", b"import os")]),
    )
