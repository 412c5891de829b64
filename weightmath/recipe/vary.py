"""What `vary:` says: values that parameters take in turn, and how those of several parameters are combined.

    vary: {alpha: "linspace(0, 1, 11)", beta: [0, 0.5]}         a grid: every combination, the last name turns fastest
    vary: {zip: {alpha: [0, 0.5, 1], beta: [1, 0.5, 0]}}        side by side
    vary: {random: {alpha: "uniform(0, 1)"}, samples: 50, seed: 1}

Values are a list, or `linspace(first, last, count)`, or `logspace(first, last, count)`, whose ends are exponents of 10
as in numpy, torch and MATLAB. In `random:` they may be a range too: `uniform(low, high)`, `loguniform(low, high)` (the
logarithm is uniform) or `integers(low, high)` (both ends count). Where `grid`, `zip` and `random` stand together, each
row of one is combined with each of the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictInt, model_validator

from weightmath.errors import RecipeError, WeightmathError
from weightmath.expression import evaluate
from weightmath.recipe.keys import Identifier, Keys, fault, item_of, shown

Setting = bool | int | float | str
_PLACE = re.compile(r"\{([A-Za-z_]\w*)\}")
MOST_POINTS, LARGEST_EXPONENT = 1_000_000, 300


@dataclass(frozen=True)
class Range:
    """Numbers from low to high: evenly, or evenly in their logarithm; or whole numbers, both ends among them."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


def linspace(first: float, last: float, count: int) -> tuple[float, ...]:
    """Numbers from first to last at equal distances, each the float64 nearest to its decimal: 0.3, not 0.30...4."""
    start, stop = Fraction(str(first)), Fraction(str(last))
    step = (stop - start) / max(count - 1, 1)
    return tuple(float(start + step * i) for i in range(count))


def logspace(first: float, last: float, count: int) -> tuple[float, ...]:
    """10 to the power of each of `linspace(first, last, count)`."""
    powers = linspace(first, last, count)
    return tuple(float(f"1e{int(power)}") if power == int(power) else 10.0**power for power in powers)


def _spaced(name: str, make: Callable[[float, float, int], tuple[float, ...]]) -> Callable[..., Any]:
    def call(*given: Any, **named: Any) -> tuple[float, ...]:
        first, last, count = _numbers(f"{name}(0, 1, 11)", 3, given, named)
        if count != int(count) or not 1 <= count <= MOST_POINTS:
            raise RecipeError(f"`{name}` gives a whole number of values from 1 to {MOST_POINTS:,}, not {count:g}")
        if name == "logspace" and max(abs(first), abs(last)) > LARGEST_EXPONENT:
            raise RecipeError("the ends of `logspace` are exponents of 10", hint="logspace(-3, 0, 4) is 0.001 to 1")
        return make(first, last, int(count))

    return call


def _ranged(name: str, **kind: bool) -> Callable[..., Any]:
    def call(*given: Any, **named: Any) -> Range:
        low, high = _numbers(f"{name}(1, 10)", 2, given, named)
        if not low < high:
            raise RecipeError(f"`{name}` goes from low to high, not from {low:g} to {high:g}")
        if kind.get("log") and low <= 0:
            raise RecipeError("`loguniform` begins above 0: its logarithm is uniform")
        if kind.get("whole") and (low != int(low) or high != int(high)):
            raise RecipeError("`integers` goes from a whole number to another")
        return Range(low, high, **kind)

    return call


def _numbers(example: str, count: int, given: Sequence[Any], named: Mapping[str, Any]) -> Sequence[float]:
    if named or len(given) != count or any(isinstance(one, bool) or not isinstance(one, int | float) for one in given):
        raise RecipeError(f"`{example.partition('(')[0]}` takes {count} numbers", hint=f"for example: {example}")
    return given


_CALLS: Mapping[str, Callable[..., Any]] = {
    "linspace": _spaced("linspace", linspace),
    "logspace": _spaced("logspace", logspace),
    "uniform": _ranged("uniform"),
    "loguniform": _ranged("loguniform", log=True),
    "integers": _ranged("integers", whole=True),
}


def _values(value: object) -> tuple[Setting, ...] | Range:
    """The values, or the range, that are written for one parameter."""
    if isinstance(value, list):
        if not value:
            raise fault("the list is empty", "write its values: [0, 0.5, 1]")
        return tuple(item_of(each, (i,)) for i, each in enumerate(value))  # type: ignore[misc]
    if not isinstance(value, str):
        raise fault(f"{shown(value)} is no list of values", "[0, 0.5, 1], or linspace(0, 1, 11)")
    try:
        found = evaluate(value, {}, _CALLS)
    except WeightmathError as error:
        raise fault(error.what, error.hint or "for example: linspace(0, 1, 11)") from None
    if isinstance(found, Range | tuple):
        return found
    raise fault(f"{shown(value)} is no list of values", "[0, 0.5, 1], or linspace(0, 1, 11)")


def _listed(value: object) -> tuple[Setting, ...]:
    found = _values(value)
    if isinstance(found, Range):
        name = str(value).partition("(")[0].strip()
        raise fault(f"`{name}` is a range, not a list of values", f"random: {{alpha: '{value}'}} and samples: 20")
    return found


def _samples(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_POINTS:
        raise fault(f"{shown(value)} is not a number of samples", f"a whole number from 1 to {MOST_POINTS:,}")
    return value


Lists = dict[Identifier, Annotated[Any, BeforeValidator(_listed)]]


class VarySpec(Keys):
    """Values of parameters; see the module.

    grid      lists by parameter, of which every combination is a point
    zip       lists of one length by parameter: the first of each, the second of each, ...
    random    ranges or lists by parameter, of which `samples` points are drawn; `seed` says which
    """

    grid: Lists = Field(default_factory=dict)
    zip: Lists = Field(default_factory=dict)
    random: dict[Identifier, Annotated[Any, BeforeValidator(_values)]] = Field(default_factory=dict)
    samples: Annotated[StrictInt | None, BeforeValidator(_samples)] = None
    seed: StrictInt = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that vary, in the order of the recipe's axes."""
        return (*self.grid, *self.zip, *self.random)

    def values_of(self, name: str) -> tuple[Setting, ...]:
        """Values that a parameter takes; of a range its ends."""
        found = {**self.grid, **self.zip, **self.random}[name]
        return (found.low, found.high) if isinstance(found, Range) else found

    @model_validator(mode="after")
    def _keys_fit_together(self) -> VarySpec:
        if not self.names:
            raise fault("nothing varies", "vary: {alpha: 'linspace(0, 1, 11)'}")
        for name in self.names:
            if self.names.count(name) > 1:
                raise fault(f"`{name}` varies in two ways", "keep one")
        lengths = {name: len(values) for name, values in self.zip.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise fault(f"lists that are zipped have one length: {listed}", at=("zip",))
        for key in ("samples", "seed"):
            if key in self.model_fields_set and not self.random:
                raise fault(f"`{key}` is for what varies at random", "random: {alpha: 'uniform(0, 1)'}", at=(key,))
        return self


def places_in(name: str) -> list[str]:
    """The parameters that stand in braces in a file's name: `alpha` in `merged_{alpha}.ckpt`."""
    return _PLACE.findall(name)


def filled(name: str, values: Mapping[str, object]) -> str:
    """A file's name with values in place of braces, numbers with six digits at most.

    Fails with RecipeError where a text would lead to another folder.
    """
    texts = {key: f"{value:g}" if type(value) in (int, float) else str(value) for key, value in values.items()}
    for key in places_in(name):
        if not re.fullmatch(r"[^/\0]+", texts[key]) or texts[key] in (".", ".."):
            raise RecipeError(f"`{texts[key]}` cannot be a part of a file's name", hint=f"take {{{key}}} out of it")
    return _PLACE.sub(lambda found: texts[found[1]], name)


def short_form(value: object) -> object:
    """`vary: {alpha: [...]}` is a grid; a mapping that has `grid`, `zip` or `random` is the long form."""
    if isinstance(value, dict) and not {"grid", "zip", "random"} & set(value):
        return {"grid": value}
    return value
