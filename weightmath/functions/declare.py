"""How a function or a method is declared: the decorator checks its calls and enters it in a register."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from weightmath.algebra.signature import Signature, checked

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Declared:
    """A function or method as users know it: its name, its signature, its manual page."""

    name: str
    call: Callable[..., Any]
    page: str

    @property
    def signature(self) -> Signature:
        """What it takes."""
        found: Signature = self.call.signature()  # type: ignore[attr-defined]
        return found

    @property
    def summary(self) -> str:
        """The first line of the manual page."""
        return self.page.splitlines()[0]


FUNCTIONS: dict[str, Declared] = {}
METHODS: dict[str, Declared] = {}


def function(body: F) -> F:
    """Declare a function of the recipe language; its docstring is its manual page."""
    return _enter(body, FUNCTIONS)


def method(body: F) -> F:
    """Declare a merge method: a formula over functions; its docstring is its manual page."""
    return _enter(body, METHODS)


def _enter(body: F, register: dict[str, Declared]) -> F:
    name = body.__name__.rstrip("_")
    call = checked(body, name)
    page = (body.__doc__ or "").strip()
    register[name] = Declared(name, call, page)
    return call  # type: ignore[return-value]
