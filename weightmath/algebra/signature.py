"""Signatures as schemas: a Python signature says what a function or method takes, and calls are checked by it.

Positional parameters are vectors, keyword parameters numbers, scopes and seeds with defaults. The annotations below are
the whole vocabulary. One place checks counts, names, kinds, ranges and lengths, so that no formula has to, and the same
signature prints the manual page and the JSON Schema.
"""

from __future__ import annotations

import functools
import inspect
import math
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, TypeVar

from weightmath.algebra.graph import Vector, by_name, is_number, node, number_hint
from weightmath.algebra.names import Table
from weightmath.algebra.show import brief
from weightmath.errors import KindError, RecipeError, at, counted, nearest
from weightmath.scope import Domain
from weightmath.scope import Scope as ScopeRule


@dataclass(frozen=True)
class Role:
    """What one argument must be: its word in messages, and a range for numbers, without `low` where it is open."""

    word: str
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    choices: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        """The range in words, or nothing."""
        if self.choices:
            return " | ".join(self.choices)
        if self.low is None and self.high is None:
            return ""
        low = "(-inf" if self.low is None else f"{'(' if self.low_open else '['}{self.low:g}"
        high = "inf)" if self.high is None else f"{self.high:g}]"
        return f"in {low}, {high}"

    def holds(self, value: float) -> bool:
        """Whether a number lies in the range."""
        above = self.low is None or value > self.low or (value == self.low and not self.low_open)
        below = self.high is None or value <= self.high
        return above and below


Value: TypeAlias = Annotated[Any, Role("vector or number")]
AnyVector: TypeAlias = Annotated[Vector, Role("vector")]
Model: TypeAlias = Annotated[Vector, Role("model")]
Delta: TypeAlias = Annotated[Vector, Role("delta")]
Mask: TypeAlias = Annotated[Vector, Role("mask")]
Number: TypeAlias = Annotated[Vector | float, Role("number")]
Share: TypeAlias = Annotated[Vector | float, Role("number", 0, 1)]
Chance: TypeAlias = Annotated[Any, Role("vector or number", 0, 1)]
Density: TypeAlias = Annotated[Vector | float, Role("number", 0, 1)]
NonNegative: TypeAlias = Annotated[Vector | float, Role("number", 0)]
Plain: TypeAlias = Annotated[float, Role("plain number")]
PlainShare: TypeAlias = Annotated[float, Role("plain number", 0, 1)]
Whole: TypeAlias = Annotated[int, Role("whole number")]
Count: TypeAlias = Annotated[int, Role("whole number", 1)]
Seed: TypeAlias = Annotated[int, Role("whole number", 0)]
Text: TypeAlias = Annotated[str, Role("text")]
Flag: TypeAlias = Annotated[bool, Role("true or false")]
Scope: TypeAlias = Annotated[str, Role("scope")]

T = TypeVar("T")
PerModel: TypeAlias = Annotated[T | Sequence[T], "per model"]


@dataclass(frozen=True)
class Parameter:
    """One parameter of the function or method of that name."""

    function: str
    name: str
    role: Role
    listed: bool  # a list of such values
    per_model: bool  # one value for all models, or a list of one each
    keyword: bool
    default: Any  # inspect.Parameter.empty when required
    variadic: bool = False

    @property
    def required(self) -> bool:
        """Whether a call must give it."""
        return self.default is inspect.Parameter.empty and not self.variadic

    def __str__(self) -> str:
        text = f"*{self.name}" if self.variadic else self.name
        return text if self.required or self.variadic else f"{text}={written(self.default)}"


def written(value: object) -> str:
    """A value as a recipe would write it; of a long formula the first and the last part."""
    if isinstance(value, Vector):
        return brief(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    return f'"{value}"' if isinstance(value, str) else f"{value}"


@dataclass(frozen=True)
class Signature:
    """What a function or method takes."""

    name: str
    parameters: tuple[Parameter, ...]

    def __str__(self) -> str:
        parts: list[str] = []
        for i, parameter in enumerate(self.parameters):
            if parameter.keyword and not any(other.keyword or other.variadic for other in self.parameters[:i]):
                parts.append("*")
            parts.append(str(parameter))
        return f"{self.name}({', '.join(parts)})"


def signature_of(function: Callable[..., Any], name: str) -> Signature:
    """Read a Python signature whose annotations are this module's words."""
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return Signature(name, tuple(_parameter(name, parameter, hints[parameter.name]) for parameter in parameters))


def _parameter(function: str, parameter: inspect.Parameter, hint: Any) -> Parameter:
    role, listed, per_model = _read(hint)
    return Parameter(
        function,
        parameter.name,
        role,
        listed,
        per_model,
        parameter.kind is inspect.Parameter.KEYWORD_ONLY,
        parameter.default,
        parameter.kind is inspect.Parameter.VAR_POSITIONAL,
    )


def _read(hint: Any) -> tuple[Role, bool, bool]:
    """Role, whether a list, whether per model, of an annotation."""
    metadata = getattr(hint, "__metadata__", ())
    role = next((item for item in metadata if isinstance(item, Role)), None)
    if role is not None:
        return role, False, False
    if "per model" in metadata:
        return _read(typing.get_args(typing.get_args(hint)[0])[0])[0], False, True
    inner = [argument for argument in typing.get_args(hint) if argument is not type(None)]
    return _read(inner[0])[0], typing.get_origin(hint) in (list, tuple, Sequence), False


def checked(function: Callable[..., T], name: str) -> Callable[..., T]:
    """The function with its arguments checked and converted by its signature.

    Vectors and numbers become nodes where a vector is declared; a declared kind is recorded and checked when the plan
    knows the weights. Raises RecipeError or KindError that names the function, the parameter, and the way out.

    The signature is read when it is first asked for, by a call or as `signature()`: to read those of all functions and
    methods takes 15 ms, and a recipe uses a few.
    """

    @functools.cache
    def signature() -> Signature:
        return signature_of(function, name)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> T:
        try:
            positional, keywords = _bind(signature(), args, kwargs)
        except (RecipeError, KindError) as error:
            raise at(f"{name}()", error) from None
        return function(*positional, **keywords)

    call.signature = signature  # type: ignore[attr-defined]
    return call


def _bind(signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    given = _assign(signature, args, kwargs)
    models = next(
        (len(given[p.name]) for p in signature.parameters if p.listed and isinstance(given.get(p.name), list | tuple)),
        0,
    )
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for parameter in signature.parameters:
        if parameter.variadic:
            positional += [_convert(parameter, value) for value in given.get(parameter.name, ())]
        elif parameter.name in given:
            keywords[parameter.name] = _convert_all(parameter, given[parameter.name], models)
    if positional:
        lead = [p.name for p in signature.parameters if not p.keyword and not p.variadic]
        positional = [keywords.pop(name) for name in lead] + positional
    return positional, keywords


def _assign(signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by parameter name; errors for too many, unknown, repeated and missing ones."""
    places = [p for p in signature.parameters if not p.keyword and not p.variadic]
    variadic = next((p for p in signature.parameters if p.variadic), None)
    if len(args) > len(places) and variadic is None:
        raise _too_many(signature, places, args)
    given: dict[str, Any] = dict(zip([p.name for p in places], args, strict=False))
    if variadic is not None:
        given[variadic.name] = args[len(places) :]
    known = [p.name for p in signature.parameters if not p.variadic]
    for key, value in kwargs.items():
        if key not in known:
            free = [name for name in known if name not in given and name not in kwargs]
            raise RecipeError(f"unknown parameter `{key}`", hint=nearest(key, free) or str(signature))
        if key in given:
            raise RecipeError(f"`{key}` is given twice", hint=str(signature))
        given[key] = value
    for parameter in signature.parameters:
        if parameter.required and parameter.name not in given:
            raise RecipeError(f"`{parameter.name}` is missing", hint=str(signature))
    return given


def _too_many(signature: Signature, places: Sequence[Parameter], args: tuple[Any, ...]) -> RecipeError:
    hint = str(signature)
    first = next((i for i, place in enumerate(places) if place.listed or place.role.word == "vector or list"), 0)
    end = first + 1 + len(args) - len(places)
    loose = args[first:end]
    if places and _are_items(places[first], loose):
        bracketed = (*args[:first], loose, *args[end:])
        hint = f"put them in brackets: {signature.name}({', '.join(map(written, bracketed))})"
    elif len(signature.parameters) > len(places):
        hint += '; name the options, as in scope="global"'
    return RecipeError(f"takes {counted(len(places), 'positional argument')}, not {len(args)}", hint=hint)


def _are_items(parameter: Parameter, values: Sequence[Any]) -> bool:
    """Whether a parameter would take these values as a list."""
    if parameter.listed:
        return all(isinstance(value, Vector) for value in values)
    return parameter.role.word == "vector or list" and all(isinstance(v, Vector) or is_number(v) for v in values)


def _convert_all(parameter: Parameter, value: Any, models: int) -> Any:
    if value is None and parameter.default is None:
        return None
    if parameter.per_model:
        if not isinstance(value, list | tuple):
            return _convert(parameter, value)
        if len(value) != models:
            raise RecipeError(f"`{parameter.name}` has {counted(len(value), 'value')} for {models} models")
        return [_convert(parameter, item) for item in value]
    if parameter.listed:
        if not isinstance(value, list | tuple):
            raise RecipeError(f"`{parameter.name}` must be a list", hint=f"put it in brackets: [{written(value)}]")
        if not value:
            raise RecipeError(f"`{parameter.name}` is an empty list")
        return [_convert(parameter, item) for item in value]
    return _convert(parameter, value)


def _convert(parameter: Parameter, value: Any) -> Any:
    role = parameter.role
    if isinstance(value, list | tuple) and role.word not in ("vector or number", "vector or list"):
        raise RecipeError(f"`{parameter.name}` takes one {role.word}, not a list")
    converter = _CONVERTERS.get(role.word)
    return converter(parameter, value) if converter else value


def _to_vector(parameter: Parameter, value: Any) -> Vector:
    if not isinstance(value, Vector) or value.domain < Domain.ELEMENT:
        raise RecipeError(f"`{parameter.name}` must be a vector, not `{written(value)}`")
    return value


def _to_value(parameter: Parameter, value: Any) -> Any:
    if isinstance(value, Vector) and value.domain == Domain.ELEMENT:
        return value
    return _to_number(parameter, value)


def _to_kind(parameter: Parameter, value: Any) -> Vector:
    """A model or delta: recorded in the graph, checked when the weights are known."""
    if not isinstance(value, Vector) or value.domain < Domain.ELEMENT:
        raise KindError(f"`{parameter.name}` must be a {parameter.role.word}, not `{written(value)}`")
    what = f"`{parameter.name}` of {parameter.function}()"
    return node("declared", value, domain=value.domain, kind=parameter.role.word, what=what)


def _to_mask(parameter: Parameter, value: Any) -> Vector:
    if not isinstance(value, Vector) or not value.is_mask:
        raise KindError(
            f"`{parameter.name}` must be a mask, not `{written(value)}`", hint="comparisons make masks: abs(x) > 0.1"
        )
    return value


def _to_number(parameter: Parameter, value: Any) -> Any:
    """A number as a float, a table or statistic as a node; what is known is checked against the range."""
    if isinstance(value, Table):
        value = by_name(value)
    if isinstance(value, Vector) and value.domain < Domain.ELEMENT:
        for number in known_numbers(value):
            _check_range(parameter, number)
        return value
    if not is_number(value):
        vectors = "a vector, " if parameter.role.word == "vector or number" else ""
        fact = (
            f"`{parameter.name}` must be {vectors}a number, a table of patterns or a statistic, not `{written(value)}`"
        )
        raise RecipeError(fact, hint=number_hint(value))
    _check_range(parameter, value)
    return float(value)


def known_numbers(value: Vector | float) -> list[float]:
    """The numbers that are written in a constant or in a rule by names, which its values do not leave."""
    if not isinstance(value, Vector):
        return [value]
    if value.op == "constant":
        return [value.option("value")]
    return list(value.option("rule").numbers) if value.op == "by_name" else []


def _check_range(parameter: Parameter, value: float) -> None:
    if not parameter.role.holds(value):
        raise RecipeError(f"`{parameter.name}` must be {parameter.role.range}, not {value:g}")


def _to_plain(parameter: Parameter, value: Any) -> float:
    if not is_number(value):
        raise RecipeError(f"`{parameter.name}` must be a plain number, not `{written(value)}`", hint=number_hint(value))
    _check_range(parameter, value)
    return float(value)


def _to_whole(parameter: Parameter, value: Any) -> int:
    if not is_number(value) or not math.isfinite(value) or value != int(value):
        raise RecipeError(f"`{parameter.name}` must be a whole number, not `{written(value)}`", hint=number_hint(value))
    _check_range(parameter, value)
    return int(value)


def _to_text(parameter: Parameter, value: Any) -> str:
    if not isinstance(value, str):
        raise RecipeError(f"`{parameter.name}` must be a text in quotes, not `{written(value)}`")
    if parameter.role.choices and value not in parameter.role.choices:
        hint = nearest(value, parameter.role.choices) or f"one of: {' '.join(parameter.role.choices)}"
        raise RecipeError(f"`{parameter.name}` cannot be `{value}`", hint=hint)
    return value


def _to_flag(parameter: Parameter, value: Any) -> bool:
    if not isinstance(value, bool):
        raise RecipeError(f"`{parameter.name}` must be true or false, not `{written(value)}`")
    return value


def _to_scope(parameter: Parameter, value: Any) -> str:
    return ScopeRule.parse(_to_text(parameter, value)).name


_CONVERTERS: dict[str, Callable[[Parameter, Any], Any]] = {
    "vector": _to_vector,
    "vector or number": _to_value,
    "model": _to_kind,
    "delta": _to_kind,
    "mask": _to_mask,
    "number": _to_number,
    "plain number": _to_plain,
    "whole number": _to_whole,
    "text": _to_text,
    "true or false": _to_flag,
    "scope": _to_scope,
}


def per_model(models: Sequence[T], *values: Any) -> Iterable[tuple[Any, ...]]:
    """Models with their own values: each of `values` is one for all, or a list of one per model."""
    columns = [value if isinstance(value, list | tuple) else [value] * len(models) for value in values]
    return zip(models, *columns, strict=True)
