"""What a recipe may say: the keys, their types and their defaults, as models that validate it.

Nothing is coerced and nothing is ignored: unknown keys, wrong types and words outside a choice are errors. The same
models give the JSON Schema that editors complete from.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr
from pydantic_core import PydanticCustomError

from weightmath import dtypes
from weightmath.errors import RecipeError
from weightmath.expression import RESERVED
from weightmath.layout import Patterns

Kind = Literal["model", "delta", "mask", "other"]
Missing = Literal["error", "template"]
Extra = Literal["error", "ignore"]
Integers = Literal["template", "error", "max", "sum"]
Buffers = Literal["merge", "template"]

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


def _dtype(name: str) -> str:
    try:
        known = dtypes.dtype(name)
    except RecipeError as error:
        raise fault(error.what, error.hint) from None
    if not known.is_float:
        raise fault(f"`{name}` does not hold weights", f"those that do: {_WEIGHTS}")
    return known.name


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


Identifier = Annotated[StrictStr, AfterValidator(_identifier)]
Pattern = Annotated[StrictStr, AfterValidator(_pattern)]
PatternList = Annotated[tuple[Pattern, ...], BeforeValidator(_one_or_more)]
Expression = Annotated[StrictStr, BeforeValidator(_expression)]
DTypeName = Annotated[StrictStr, AfterValidator(_dtype)]
PathText = Annotated[StrictStr, Field(min_length=1)]
Parameter = Annotated[Any, BeforeValidator(_parameter)]


class Keys(BaseModel):
    """A mapping with these keys and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False, validate_default=False)


class InputSpec(Keys):
    """One input: the checkpoint that it is read from, and how its tensors become a vector."""

    path: PathText
    section: StrictStr | None = None
    rename: dict[StrictStr, StrictStr] = Field(default_factory=dict)
    strip: Annotated[tuple[StrictStr, ...], BeforeValidator(_one_or_more)] = ()
    kind: Kind | None = None
    missing: Missing | None = None
    extra: Extra | None = None
    part: StrictBool = False


class SaveSpec(Keys):
    """One output: the value, and what the new checkpoint takes from its template."""

    value: Expression
    template: StrictStr | None = None
    dtype: DTypeName | None = None
    device: Literal["cpu", "keep"] = "cpu"
    drop: PatternList = ()
    keep: Literal["all", "weights"] = "all"


def _input(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


def _save(value: object) -> object:
    return value if isinstance(value, dict) else {"value": value}


def _table_first(value: object) -> object:
    return value if isinstance(value, dict) else {"*": value}


class RecipeSpec(Keys):
    """A whole recipe, validated.

    `integers` and `buffers` go from patterns to policies, the first match decides; integers that no pattern matches
    are the template's, buffers that none matches follow the formula.
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
    compute: Literal["float32", "float64"] | None = None
    nonfinite: Literal["error", "allow"] = "error"
    dtype: DTypeName | None = None
