"""Plans a torch zip that has no zip as its template: a flat state dict, as torch.save writes one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat

from weightmath.checkpoint import emit
from weightmath.checkpoint.description import Section, c_stride
from weightmath.checkpoint.flat_plan import plan_flat
from weightmath.checkpoint.image import Content, Extent, File, Image, TensorPlan, Wishes, assemble, content_size
from weightmath.checkpoint.rebuild import UNTYPED, V2, V3
from weightmath.checkpoint.zip_layout import lay_out
from weightmath.checkpoint.zip_seal import ZipSeal

ROOT = "archive"
BATCH = 1000  # entries that Python's pickler sets at once


def plan_fresh_zip(section: Section, wishes: Wishes) -> Image:
    """The image of a new torch zip that holds the section's tensors by name; see `plan_image`."""
    flat = plan_flat(section, wishes)
    numbers = {plan.tensor.entry.name: number for number, plan in enumerate(flat.tensors)}
    every = [name for name in section.tensors if name in numbers or name in flat.aliases]
    used = [numbers[flat.aliases.get(name, name)] for name in every]
    pickle = state_dict_pickle([(name, number, flat.tensors[number]) for name, number in zip(every, used, strict=True)])
    contents: dict[str, Content] = {"data.pkl": pickle, ".format_version": b"1", ".storage_alignment": b"64"}
    contents |= {"byteorder": b"little", **{f"data/{number}": plan for number, plan in enumerate(flat.tensors)}}
    contents |= {"version": b"3\n", **wishes.extra}
    sizes = [content_size(content) for content in contents.values()]
    places = lay_out([f"{ROOT}/{name}" for name in contents], sizes)
    extents = map(Extent, repeat(0), places.offsets.tolist(), sizes)
    parts = list(zip(extents, contents.values(), strict=True))
    file = File("", places.size)
    seal = ZipSeal(places, len(contents), None)
    return assemble(section.checkpoint, [file], parts, aliases=flat.computed_aliases, seal=seal)


def state_dict_pickle(tensors: Sequence[tuple[str, int, TensorPlan]]) -> bytes:
    """The pickle of {name: tensor}, given names, numbers of storages and tensors: the bytes that torch.save writes."""
    memo = _Memo()
    pieces = [b"\x80\x02}", memo.put()]
    for start in range(0, len(tensors), BATCH):
        batch = tensors[start : start + BATCH]
        pieces.append(b"(" if len(tensors) > 1 else b"")
        for name, number, plan in batch:
            pieces += [emit.text(name), memo.put(), *_tensor(memo, number, plan)]
        pieces.append(b"u" if len(tensors) > 1 else b"s")
    return b"".join([*pieces, b"."])


class _Memo:
    """The pickler's memo: what is said a second time is read from it."""

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}
        self._next = 0

    def put(self) -> bytes:
        """Remember the value on top, which will not be needed again."""
        self._next += 1
        return emit.put(self._next - 1)

    def once(self, value: bytes) -> bytes:
        """A value, written out when it is new."""
        if value in self._known:
            return emit.get(self._known[value])
        self._known[value] = self._next
        return value + self.put()


def _tensor(memo: _Memo, number: int, plan: TensorPlan) -> Iterator[bytes]:
    """A call of torch's rebuild function: (storage, offset, shape, stride, requires_grad, hooks[, dtype])."""
    storage, entry = plan.new.storage, plan.tensor.entry
    yield memo.once(emit.name("torch._utils", V2 if storage else V3))
    yield b"(("
    yield memo.once(emit.text("storage"))
    yield memo.once(emit.name("torch", storage) if storage else emit.name("torch.storage", UNTYPED))
    yield emit.text(str(number)) + memo.put()
    yield memo.once(emit.text("cpu"))
    yield emit.count(entry.size if storage else plan.nbytes) + b"t" + memo.put() + b"Q" + emit.count(0)
    yield from _sizes(memo, entry.shape)
    yield from _sizes(memo, c_stride(entry.shape))
    yield b"\x89"
    yield memo.once(emit.name("collections", "OrderedDict"))
    yield b")R" + memo.put()
    if not storage:
        yield memo.once(emit.name("torch", plan.new.name))
    yield b"t" + memo.put() + b"R" + memo.put()


def _sizes(memo: _Memo, sizes: Sequence[int]) -> Iterator[bytes]:
    if not sizes:
        yield b")"
        return
    inside = b"".join(map(emit.count, sizes))
    yield inside + bytes([0x84 + len(sizes)]) if len(sizes) <= 3 else b"(" + inside + b"t"
    yield memo.put()
