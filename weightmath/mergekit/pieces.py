"""Pieces of a formula's text with the parameters that they use: settings of mergekit as arguments of weightmath."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from weightmath.algebra.show import shown_number
from weightmath.errors import RecipeError
from weightmath.mergekit.settings import Setting, constant

# A number, one per model, or a table from patterns to numbers and ramps.
Parameter = float | list[float] | dict[str, float | str]


@dataclass(frozen=True)
class Task:
    """What one formula is made from.

    base      the name of the base in the recipe, or None
    models    the names of the other models
    shared    the settings of all models together, complete
    own       those of each model, complete
    prefix    what its parameters' names begin with
    like      whether mergekit's choices are taken
    seed      of its random numbers
    """

    base: str | None
    models: tuple[str, ...]
    shared: Mapping[str, Setting]
    own: Sequence[Mapping[str, Setting]]
    prefix: str = ""
    like: bool = False
    seed: int = 0

    def each(self, name: str) -> list[Setting]:
        """A parameter of every model."""
        return [own[name] for own in self.own]

    def flag(self, name: str) -> bool:
        """A truth value; RecipeError where it differs between tensors."""
        value = constant(self.shared[name])
        if value is None:
            raise RecipeError(f"`{name}` is one truth value for all tensors")
        return value != 0


@dataclass(frozen=True)
class Piece:
    """A text and the parameters of the recipe that it uses; an empty text where a default serves."""

    text: str
    params: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """A formula, what `let` must hold before it, and where mergekit computes something else."""

    formula: Piece
    notes: Sequence[str] = ()
    before: Mapping[str, str] = field(default_factory=dict)


def number(name: str, setting: Setting) -> Piece:
    """A setting inside a formula: the number, a ramp, or a table under this name."""
    value = constant(setting)
    if value is not None:
        return Piece(shown_number(value))
    if len(setting) == 1 and setting[0].filter is None:
        return Piece(str(setting[0].value))
    return Piece(name, {name: {rule.pattern: rule.value for rule in setting}})


def single(task: Task, keyword: str, setting: Setting, default: float | None = None, word: str = "") -> Piece:
    """An argument of all models together, which is a parameter of the recipe where it is a number.

    `word` is the parameter's name where the keyword is also the name of a function.
    """
    value = constant(setting)
    if value is not None and value == default:
        return Piece("")
    name = task.prefix + (word or keyword)
    found = number(name, setting) if value is None else Piece(name, {name: value})
    return Piece(f"{keyword}={found.text}", found.params)


def per_model(task: Task, keyword: str, word: str, settings: Sequence[Setting], default: float | None) -> Piece:
    """An argument with a value for each model; `word` is the singular."""
    name = task.prefix + keyword
    values = [value for setting in settings if (value := constant(setting)) is not None]
    if all(setting == settings[0] for setting in settings):
        return single(task, keyword, settings[0], default)
    if len(values) == len(settings):
        return Piece(f"{keyword}={name}", {name: values})
    items = numbers(task, word, settings)
    return Piece(f"{keyword}={items.text}", items.params)


def numbers(task: Task, word: str, settings: Sequence[Setting]) -> Piece:
    """The list of a value for each model, written out."""
    items = [
        number(f"{task.prefix}{model}_{word}", setting) for model, setting in zip(task.models, settings, strict=True)
    ]
    return Piece(listed([item.text for item in items]), {k: v for item in items for k, v in item.params.items()})


def listed(texts: Sequence[str]) -> str:
    """Expressions as a list."""
    return f"[{', '.join(texts)}]"


def call(function: str, *arguments: str | Piece) -> Piece:
    """A call: texts are taken as they are, empty pieces are left out."""
    pieces = [Piece(argument) if isinstance(argument, str) else argument for argument in arguments]
    params = {key: value for piece in pieces for key, value in piece.params.items()}
    return Piece(f"{function}({', '.join(piece.text for piece in pieces if piece.text)})", params)
