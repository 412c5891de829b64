"""Plans a torch zip that is its template but for the computed tensors, dtypes, devices and dropped entries.

With nothing changed the output is the template, byte for byte, if torch wrote it. Other zips get torch's layout.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import repeat

from weightmath.checkpoint.description import Section
from weightmath.checkpoint.drop import without
from weightmath.checkpoint.edits import Retype, editable, move_to_cpu, retype
from weightmath.checkpoint.image import Content, Extent, File, Image, Wishes, assemble, content_size
from weightmath.checkpoint.own_record import RECORD
from weightmath.checkpoint.records import Record
from weightmath.checkpoint.splice import splice
from weightmath.checkpoint.storage_plan import StoragePlan, plan_storages
from weightmath.checkpoint.structure import Structure
from weightmath.checkpoint.torch_zip import TorchZip
from weightmath.checkpoint.zip_layout import lay_out
from weightmath.checkpoint.zip_seal import IDENTITY_DIGITS, Identity, ZipSeal
from weightmath.errors import OutputError

DATA = "data/"
PICKLE = "data.pkl"
SERIALIZATION_ID = ".data/serialization_id"
FORMAT = ".format_version"


def plan_zip_image(section: Section, wishes: Wishes) -> Image:
    """The image of a torch zip; see `plan_image`."""
    template: TorchZip = section.checkpoint.source
    section = without(section, wishes.drop, wishes.keep)
    for name in sorted(wishes.computed - section.tensors.keys()):
        raise OutputError(f"`drop:` leaves out `{name}`, which is computed")
    structure: Structure = section.checkpoint.source.structure
    storages = plan_storages(section, wishes.computed, wishes.dtypes, structure.others)
    pickle = _edited(section, storages, wishes.device)
    names = _kept_names(template, structure.keys, wishes.extra)
    return _assemble(section, storages, pickle, names, wishes)


def _edited(section: Section, storages: Mapping[str, StoragePlan], device: str) -> bytes:
    """The section's pickle with the new dtypes and devices; unchanged if there are none."""
    source: TorchZip = section.checkpoint.source
    retypes = {key: Retype(plan.new, plan.elements) for key, plan in storages.items() if plan.new and plan.retyped}
    used = (tensor.storage for tensor in section.tensors.values() if device == "cpu")
    moved = {storage.key for storage in used if storage.device != "cpu"}
    if not retypes and not moved:
        return source.pickle
    whole = editable(source.pickle)
    return splice(whole.pickle, (*retype(whole, retypes), *move_to_cpu(whole.pickle, moved)))


def _kept_names(template: TorchZip, keys: Sequence[str], extra: Collection[str]) -> list[str]:
    """The template's records that the output has too, in their order, if these storages are left."""
    lost = {f"{DATA}{key}" for key in {*template.structure.keys}.difference(keys)}
    gone = {RECORD, *extra, *lost}  # the record tells of the template
    if lost:
        gone.add(SERIALIZATION_ID)  # its first half is a hash of the records' names
    data = [name[len(DATA) :] for name in template.records if name.startswith(DATA) and name not in lost]
    if data != list(keys) or data != [str(number) for number in range(len(data))]:
        gone.add(FORMAT)  # it promises that storages are numbered in the order of first reference
    return [name for name in template.records if name not in gone]


def _assemble(
    section: Section, storages: Mapping[str, StoragePlan], pickle: bytes, names: Sequence[str], wishes: Wishes
) -> Image:
    source: TorchZip = section.checkpoint.source
    plans = {f"{DATA}{key}": plan for key, plan in storages.items()}
    contents: dict[str, Content] = {name: plans.get(name) or source.records[name] for name in names}
    contents |= {PICKLE: pickle, **wishes.extra}
    sizes = [content_size(content) for content in contents.values()]
    places = lay_out([f"{source.root}/{name}" for name in contents], sizes, source.alignment)
    extents = map(Extent, repeat(0), places.offsets.tolist(), sizes)
    parts = list(zip(extents, contents.values(), strict=True))
    seal = ZipSeal(places, len(names), _identity(section, source, names))
    if seal.identity is not None:
        del parts[seal.identity.number]
    return assemble(section.checkpoint, [File("", places.size)], parts, seal=seal)


def _identity(section: Section, source: TorchZip, names: Sequence[str]) -> Identity | None:
    """The record that names the contents, if the template has it in the form that torch gives it."""
    record = source.records.get(SERIALIZATION_ID)
    if SERIALIZATION_ID not in names or not isinstance(record, Record) or record.size != 2 * IDENTITY_DIGITS:
        return None
    with section.checkpoint.open() as reader:
        return Identity(names.index(SERIALIZATION_ID), reader.read_bytes(record.offset, IDENTITY_DIGITS))
