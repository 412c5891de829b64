"""What single values of a recipe may be: names, patterns, numbers, sizes; and a mapping that has known keys only."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr
from pydantic_core import PydanticCustomError

from weightmath import dtypes
from weightmath.errors import RecipeError, nearest
from weightmath.expression import RESERVED
from weightmath.fingerprint import is_fingerprint
from weightmath.layout import Patterns
from weightmath.regular import regular
from weightmath.sizes import bytes_of

ENTRY = "entry:"
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


def fault(fact: str, hint: str | None = None, *, at: tuple[str | int, ...] = ()) -> PydanticCustomError:
    """An error that keeps our own words on its way through pydantic; `at` is the path below the value."""
    # pydantic fills {braces} in a message from its context; what users wrote goes through the context alone.
    return PydanticCustomError("weightmath", "{fact}", {"fact": fact, "hint": hint, "at": at})


def as_identifier(text: str) -> str:
    """The name that is most like a text."""
    if text in RESERVED:
        return f"{text.lower()}_1"
    if _IDENTIFIER.fullmatch(text):
        return text
    plain = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
    return plain if _IDENTIFIER.fullmatch(plain) else f"x{plain}"


def _identifier(name: str) -> str:
    possible = as_identifier(name)
    if name in RESERVED:
        raise fault(f"`{name}` is a word of the language and cannot be a name", f"call it {possible}")
    if possible != name:
        fact = f"`{name}` cannot be a name: names are letters, digits and _, a letter first"
        raise fault(fact, f"call it {possible}")
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
                regular(old[3:]).sub(new, "")
            except RecipeError as error:
                raise fault(error.what, error.hint, at=(old,)) from None
            except (re.error, IndexError) as error:
                raise fault(f"`{old}: {new}` is not a valid replacement: {error}", at=(old,)) from None
    return rules


def _dtype(name: str) -> str:
    try:
        known = dtypes.dtype(name)
    except RecipeError as error:
        close = nearest(name, [*dtypes.WEIGHTS, *dtypes.ALIASES])
        raise fault(error.what, close or f"those that hold weights: {' '.join(dtypes.WEIGHTS)}") from None
    if not known.is_float:
        raise fault(f"`{name}` does not hold weights", f"those that do: {' '.join(dtypes.WEIGHTS)}")
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


def one_or_more(value: object) -> object:
    """A lone text as the list of it."""
    return [value] if isinstance(value, str) else value


def lone_text(key: str) -> BeforeValidator:
    """A lone text stands for the mapping that has it under this key."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


def lone_value(key: str) -> BeforeValidator:
    """Whatever is no mapping stands for the mapping that has it under this key."""
    return BeforeValidator(lambda value: value if isinstance(value, dict) else {key: value})


def number_of(value: object, at: tuple[str | int, ...] = ()) -> float:
    """A finite number; `at` is its path below what is checked, in case it is none."""
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
        return [item_of(each, (i,)) for i, each in enumerate(value)]
    return item_of(value)


def _cell(value: object, pattern: str) -> object:
    """A number of a table, or the expression of one: ramp(0, 1)."""
    return value if isinstance(value, str) else number_of(value, (pattern,))


def item_of(value: object, at: tuple[str | int, ...] = ()) -> object:
    """A number, text or truth value, as an item of a list; `at` as in `number_of`."""
    if isinstance(value, list | dict):
        raise fault("the items of a list are numbers or texts", at=at)
    if value is None:
        raise fault("the parameter has no value", "write it after the colon", at=at)
    return value if isinstance(value, str | bool) else number_of(value, at)


def shown(value: object) -> str:
    """A value as it could have been written, for a message."""
    if value is None:
        return "nothing"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def type_of(value: object) -> str:
    """The type of a parameter's value, in a word."""
    if isinstance(value, bool):
        return "true or false"
    names = {int: "a number", float: "a number", str: "text", list: "a list", dict: "a table"}
    return names.get(type(value), "nothing")


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
PatternList = Annotated[tuple[Pattern, ...], BeforeValidator(one_or_more)]
Expression = Annotated[StrictStr, BeforeValidator(_expression)]
DTypeName = Annotated[StrictStr, AfterValidator(_dtype)]
PathText = Annotated[StrictStr, Field(min_length=1)]
Fingerprint = Annotated[StrictStr, AfterValidator(_fingerprint)]
Sha256 = Annotated[StrictStr, AfterValidator(_sha256)]
Size = Annotated[StrictStr, BeforeValidator(_size)]
Parameter = Annotated[Any, BeforeValidator(_parameter)]
Count = Annotated[StrictInt, BeforeValidator(_count)]
Sort = Annotated[StrictStr, BeforeValidator(_sort)]
Renaming = Annotated[dict[StrictStr, StrictStr], AfterValidator(_renaming)]


class Keys(BaseModel):
    """A mapping with these keys and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False, validate_default=False)
