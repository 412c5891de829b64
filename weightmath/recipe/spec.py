"""What a recipe may say: the keys, their types and their defaults, as models that validate it.

Nothing is coerced and nothing is ignored: unknown keys, wrong types and words outside a choice are errors. The same
models give the JSON Schema that editors complete from.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)
from pydantic_core import PydanticCustomError

from weightmath import dtypes
from weightmath.delta.options import Options
from weightmath.errors import RecipeError
from weightmath.expression import RESERVED
from weightmath.fingerprint import is_fingerprint
from weightmath.layout import Patterns
from weightmath.sizes import bytes_of

Kind = Literal["model", "delta", "mask", "other"]
Missing = Literal["error", "template"]
Extra = Literal["error", "ignore"]
Integers = Literal["template", "error", "max", "sum"]
Buffers = Literal["merge", "template"]
ENTRY = "entry:"

_WEIGHTS = " ".join(name for name, known in dtypes.DTYPES.items() if known.is_float)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


def fault(fact: str, hint: str | None = None, *, at: tuple[str | int, ...] = ()) -> PydanticCustomError:
    """An error that keeps our own words on its way through pydantic; `at` is the path below the value."""
    # pydantic fills {braces} in a message from its context; what users wrote goes through the context alone.
    return PydanticCustomError("weightmath", "{fact}", {"fact": fact, "hint": hint, "at": at})


def _identifier(name: str) -> str:
    if name in RESERVED:
        raise fault(f"`{name}` is a word of the language and cannot be a name", f"call it {name.lower()}_1")
    if not _IDENTIFIER.fullmatch(name):
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
        plain = plain if _IDENTIFIER.fullmatch(plain) else f"x{plain}"
        raise fault(f"`{name}` cannot be a name: names are letters, digits and _, a letter first", f"call it {plain}")
    return name


def _pattern(pattern: str) -> str:
    try:
        Patterns([pattern])
    except RecipeError as error:
        raise fault(error.what, error.hint) from None
    return pattern


def _renaming(rules: dict[str, str]) -> dict[str, str]:
    """Check the regular expressions of `rename`, and the groups that their replacements refer to."""
    for old, new in rules.items():
        if old.startswith("re:"):
            try:
                re.compile(old[3:]).sub(new, "")
            except (re.error, IndexError) as error:
                raise fault(f"`{old}: {new}` is not a valid replacement: {error}", at=(old,)) from None
    return rules


def _dtype(name: str) -> str:
    try:
        known = dtypes.dtype(name)
    except RecipeError as error:
        raise fault(error.what, error.hint) from None
    if not known.is_float:
        raise fault(f"`{name}` does not hold weights", f"those that do: {_WEIGHTS}")
    return known.name


def _fingerprint(text: str) -> str:
    if not is_fingerprint(text):
        raise fault(f"`{text}` is not a fingerprint", "wm1: and 32 digits, as `weightmath fingerprint CKPT` prints it")
    return text


def _sha256(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise fault(f"`{text}` is not a sha256 sum", "64 digits from 0 to f, as `sha256sum FILE` prints them")
    return text


def _expression(value: object) -> object:
    """A lone number is an expression too; a YAML list is not one."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        raise fault("this is a list of YAML, not an expression", "quote it: '[a, b]'")
    if value is None:
        raise fault("the expression is empty", "write it after the colon")
    return value


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _number(value: object, at: tuple[str | int, ...] = ()) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fault(f"{shown(value)} is not a number", "numbers are decimal: 7, 0.5, 1e-3", at=at)
    if not math.isfinite(value):
        raise fault("the number is too large for a float64", at=at)
    return value


def _parameter(value: object) -> object:
    """A number, text, truth value, list of such or a table from patterns to numbers or expressions."""
    if isinstance(value, dict):
        if not value:
            raise fault("the table is empty", 'each line of it is a pattern and a number: "*.bias": 0')
        return {_pattern(pattern): _cell(number, pattern) for pattern, number in value.items()}
    if isinstance(value, list):
        return [_item(item, (i,)) for i, item in enumerate(value)]
    return _item(value)


def _cell(value: object, pattern: str) -> object:
    """A number of a table, or the expression of one: ramp(0, 1)."""
    return value if isinstance(value, str) else _number(value, (pattern,))


def _item(value: object, at: tuple[str | int, ...] = ()) -> object:
    if isinstance(value, list | dict):
        raise fault("the items of a list are numbers or texts", at=at)
    if value is None:
        raise fault("the parameter has no value", "write it after the colon", at=at)
    return value if isinstance(value, str | bool) else _number(value, at)


def shown(value: object) -> str:
    """A value as it could have been written, for a message."""
    if value is None:
        return "nothing"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _count(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise fault(f"{shown(value)} is not a number of checkpoints", "a whole number from 1 on: last: 5")
    return value


def _sort(value: object) -> object:
    if isinstance(value, str) and (value in ("name", "number") or value.removeprefix(ENTRY) not in ("", value)):
        return value
    raise fault(
        f"`sort` cannot be {shown(value)}",
        "number: by the numbers in the names; name: by letters; entry:metric: by a number stored in the checkpoints",
    )


def _size(text: object) -> object:
    if isinstance(text, bool) or not isinstance(text, int | str) or not bytes_of(str(text)):
        raise fault(f"{shown(text)} is not a size", "for example: 5GB, 500MB, 1.5GiB")
    return str(text)


Identifier = Annotated[StrictStr, AfterValidator(_identifier)]
Pattern = Annotated[StrictStr, AfterValidator(_pattern)]
PatternList = Annotated[tuple[Pattern, ...], BeforeValidator(_one_or_more)]
Expression = Annotated[StrictStr, BeforeValidator(_expression)]
DTypeName = Annotated[StrictStr, AfterValidator(_dtype)]
PathText = Annotated[StrictStr, Field(min_length=1)]
Fingerprint = Annotated[StrictStr, AfterValidator(_fingerprint)]
Sha256 = Annotated[StrictStr, AfterValidator(_sha256)]
Size = Annotated[StrictStr, BeforeValidator(_size)]
Parameter = Annotated[Any, BeforeValidator(_parameter)]
Count = Annotated[StrictInt, BeforeValidator(_count)]


class Keys(BaseModel):
    """A mapping with these keys and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False, validate_default=False)


class InputSpec(Keys):
    """One input: the checkpoint that it is read from, or the pattern of a list of them, and how it becomes a vector.

    A list has `glob` in place of `path`. Its files are put in order by `sort`; `first`, `last` or `best` of them are
    taken, without those whose names match `except`.

    `fingerprint` pins the vector and `sha256` the file; of a list those of its files, in order.
    """

    path: PathText | None = None
    glob: PathText | None = None
    sort: Annotated[StrictStr, BeforeValidator(_sort)] = "number"
    first: Count | None = None
    last: Count | None = None
    best: Count | None = None
    except_: PatternList = Field(default=(), alias="except")
    section: StrictStr | None = None
    names: Literal["litema"] | None = None
    rename: Annotated[dict[StrictStr, StrictStr], AfterValidator(_renaming)] = Field(default_factory=dict)
    strip: Annotated[tuple[StrictStr, ...], BeforeValidator(_one_or_more)] = ()
    kind: Kind | None = None
    missing: Missing | None = None
    extra: Extra | None = None
    part: StrictBool = False
    fingerprint: Annotated[tuple[Fingerprint, ...], BeforeValidator(_one_or_more)] = ()
    sha256: Annotated[tuple[Sha256, ...], BeforeValidator(_one_or_more)] = ()

    @model_validator(mode="after")
    def _keys_fit_together(self) -> InputSpec:
        given = {
            field.alias or name for name, field in type(self).model_fields.items() if name in self.model_fields_set
        }
        _check_path_or_list(given, self.sort)
        for key, pins in (("fingerprint", self.fingerprint), ("sha256", self.sha256)):
            if self.path is not None and len(pins) > 1:
                raise fault(f"one file has one `{key}`", "keep one", at=(key,))
        if self.names and not (self.section or "").endswith("."):
            raise fault("`names: litema` needs the prefix of the copy", "section: model_ema.", at=("names",))
        if self.missing == "template" and self.part:
            raise fault("a part may lack tensors, and `missing: template` fills them", "keep one", at=("missing",))
        if self.missing == "template" and self.kind not in (None, "model"):
            hint = "`part: true`: what it lacks is 0" if self.kind == "delta" else "`part: true`: it may lack tensors"
            raise fault(f"the template is a model, and cannot fill a {self.kind}", hint, at=("missing",))
        return self


def _check_path_or_list(given: set[str], sort: str) -> None:
    if given.isdisjoint(("path", "glob")):
        raise fault("the key `path` is missing", "for example: path: base.ckpt")
    if {"path", "glob"} <= given:
        raise fault("`path` names one model, and `glob` a list", "keep one", at=("glob",))
    choices = [key for key in ("first", "last", "best") if key in given]
    for key in ("sort", *choices, "except"):
        if key in given and "glob" not in given:
            raise fault(f"`{key}` is for lists", 'a list has `glob: "runs/*.ckpt"` in place of `path`', at=(key,))
    if len(choices) > 1:
        raise fault(f"`{choices[0]}` and `{choices[1]}` both choose from the list", "keep one", at=(choices[1],))
    if "best" in given and not sort.startswith(ENTRY):
        hint = 'sort: "entry:metric" names one that the checkpoints store'
        raise fault("`best` needs a number to compare by", hint, at=("best",))


class AsSpec(Keys):
    """How a `.delta` output stores its numbers."""

    kind: Literal["dense", "sparse", "int8", "sign", "low-rank", "auto"]
    density: float | None = None
    threshold: float | None = None
    rank: int | None = None
    energy: float | None = None
    dtype: DTypeName | None = None
    max_error: float | None = None

    @model_validator(mode="after")
    def _keys_fit_together(self) -> AsSpec:
        self.options()
        return self

    def options(self) -> Options:
        """These keys as the encoders take them."""
        try:
            return Options(**dict(self))
        except RecipeError as error:
            raise fault(error.what, error.hint) from None


def _as(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


class SaveSpec(Keys):
    """One output: the value, and what the new checkpoint takes from its template.

    The output's name says its container: `.ckpt .pt .pth .bin`, `.safetensors`, or `merged/` for a folder, in which
    `shard` is the most that a file may hold; `.delta` for a delta file, which belongs to its template and stores its
    numbers as `as` says.
    """

    value: Expression
    template: StrictStr | None = None
    dtype: DTypeName | None = None
    device: Literal["cpu", "keep"] = "cpu"
    drop: PatternList = ()
    keep: Literal["all", "weights"] = "all"
    shard: Size | None = None
    as_: Annotated[AsSpec | None, BeforeValidator(_as)] = Field(default=None, alias="as")


def _input(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


def _save(value: object) -> object:
    return value if isinstance(value, dict) else {"value": value}


def _table_first(value: object) -> object:
    return value if isinstance(value, dict) else {"*": value}


class RecipeSpec(Keys):
    """A whole recipe, validated.

    `integers` and `buffers` go from patterns to policies, the first match decides; integers that no pattern matches
    are the template's, buffers that none matches follow the formula where it is an average. Of tensors that match `fit`
    the leading rows that all inputs have are merged.
    """

    inputs: Annotated[dict[Identifier, Annotated[InputSpec, BeforeValidator(_input)]], Field(min_length=1)]
    params: dict[Identifier, Parameter] = Field(default_factory=dict)
    let: dict[Identifier, Expression] = Field(default_factory=dict)
    show: Annotated[tuple[Expression, ...], BeforeValidator(_one_or_more)] = ()
    expect: Annotated[tuple[Expression, ...], BeforeValidator(_one_or_more)] = ()
    save: Annotated[dict[PathText, Annotated[SaveSpec, BeforeValidator(_save)]], Field(min_length=1)]
    only: PatternList = ()
    except_: PatternList = Field(default=(), alias="except")
    missing: Missing = "error"
    extra: Extra = "error"
    integers: Annotated[dict[Pattern, Integers], BeforeValidator(_table_first)] = Field(default_factory=dict)
    buffers: Annotated[dict[Pattern, Buffers], BeforeValidator(_table_first)] = Field(default_factory=dict)
    fit: dict[Pattern, Literal["rows"]] = Field(default_factory=dict)
    compute: Literal["float32", "float64"] | None = None
    nonfinite: Literal["error", "allow"] = "error"
    dtype: DTypeName | None = None
    provenance: Literal["full", "none"] = "full"
