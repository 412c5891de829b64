"""Every method's manual page has all sections, and its recipe line runs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.small import a, b, c
from tests.engine.whole import run
from tests.methods.pages import METHODS, SECTIONS, recipe_line, sections, value_of


@pytest.mark.parametrize("name", METHODS)
def test_sections(name: str):
    expected = [section for section in SECTIONS if section != "Parameters" or _has_parameters(name)]
    assert sections(name) == expected


def _has_parameters(name: str) -> bool:
    return any(parameter.keyword and parameter.name != "scope" for parameter in METHODS[name].signature.parameters)


@pytest.mark.parametrize("name", METHODS)
def test_parameters_are_described(name: str):
    page = METHODS[name].page
    for parameter in METHODS[name].signature.parameters:
        if parameter.keyword and parameter.name != "scope":
            lines = [line for line in page.splitlines() if line.startswith(("    Parameters: ", " " * 16))]
            assert any(line[16:].split(" ")[0] == parameter.name for line in lines), parameter.name


@pytest.mark.parametrize("name", METHODS)
def test_summary_is_a_sentence(name: str):
    assert METHODS[name].summary.endswith((".", ":"))
    assert len(METHODS[name].summary) < 120


@pytest.mark.parametrize("name", METHODS)
def test_recipe_line_runs(name: str):
    assert recipe_line(name).startswith(f"{name}(")
    value = value_of(name, {"base": a, "chat": b, "code": c})
    got, _ = run(value)
    assert all(np.isfinite(array).all() for array in got.values())
    assert any((got[key] != a.source.origin.arrays[key]).any() for key in got)
