"""Manual pages of methods, and their recipe lines as values."""

from __future__ import annotations

import re
from collections.abc import Mapping

from weightmath.algebra.graph import Vector
from weightmath.expression import evaluate
from weightmath.functions import FUNCTIONS
from weightmath.methods import load

METHODS = load()
CALLABLES = {name: declared.call for name, declared in {**FUNCTIONS, **METHODS}.items()}
SECTIONS = ("Formula", "Parameters", "Scope", "Passes", "Fails", "Reference", "Differs", "Recipe")
_HEADING = re.compile(r"^    (\w+):", re.MULTILINE)


def sections(name: str) -> list[str]:
    """The headings of a method's page, in order."""
    return _HEADING.findall(METHODS[name].page)


def recipe_line(name: str) -> str:
    """The expression of a page's recipe line."""
    found = re.search(r"^    Recipe: +`\w+: (.*)`$", METHODS[name].page, re.MULTILINE)
    assert found, f"the page of {name} ends in no recipe line"
    return found.group(1)


def value_of(name: str, inputs: Mapping[str, Vector], **options: object) -> Vector:
    """The recipe line of a page with these inputs, and with other options."""
    text = recipe_line(name)
    for key, value in options.items():
        text = re.sub(rf", {key}=[^,)]*", "", text)
        text = text[:-1] + f", {key}={value!r})"
    result = evaluate(text, inputs, CALLABLES)
    assert isinstance(result, Vector)
    return result
