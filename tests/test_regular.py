"""Regular expressions that could take forever are refused, and those that name tensors are not."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from weightmath.algebra.layers import check_along
from weightmath.errors import RecipeError
from weightmath.layout import Patterns
from weightmath.regular import regular
from weightmath.scope import Scope


@pytest.mark.parametrize("text", ["a{99999999999}", "a" * 1001])
def test_what_python_cannot_take_is_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        regular(text)


@pytest.mark.parametrize(
    "text",
    [
        r"blocks\.(\d+)",
        r"^model\.layers\.(\d+)\.(self_attn|mlp)\.(q|k|v|o|gate|up|down)_proj\.weight$",
        r"(.*)\.(\w+)\.(\d+)\.(.*?)$",
        r"(attn|mlp)?",
        r"(?:ab)*c",
        r"(?i)ATTN",
        r"(?P<x>\w)(?P=x)",
        r"(\w)\1",
        r"[+*(|]+",
        r"[]+]+x",
        r"[^]+]+x",
        r"\(?x\+\+",
    ],
)
def test_what_names_tensors_is_taken(text: str) -> None:
    assert regular(text).pattern == text
    # No tries that the count leaves out: a name that does not match is found out at once.
    started = time.process_time()
    regular(text).search("a" * 100 + "!")
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "text",
    [
        "(a+)+$",
        "(a*)*$",
        "(a|a)*$",
        "(?:a|aa){30,}$",
        "((a)|(a))+$",
        "(a?){40}$",
        "a?" * 40 + "a" * 40,
        "(a|a)" * 40,
        ".*.*.*.*.*$",
        "(?x) (a+) *$",
        "(?x:(a+) *)$",
        "(?#)(a+)(?#)*$",
        r"([\]a]+)+$",
        r"(?:\w+\.?)*$",
    ],
)
def test_what_could_take_forever_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="could take forever"):
        regular(text)


def test_it_would_take_forever() -> None:
    """Each further letter doubles the time."""
    expression = re.compile("(a+)+$")

    def seconds(letters: int) -> float:
        started = time.process_time()
        expression.search("a" * letters + "!")
        return time.process_time() - started

    assert seconds(20) > 4 * min(seconds(15) for _ in range(3))


@pytest.mark.parametrize("use", [lambda text: Patterns([text]), Scope.parse, check_along])
def test_wherever_recipes_have_them(use: Callable[[str], object]) -> None:
    with pytest.raises(RecipeError, match=r"`re:\(a\+\)\+\$` could take forever"):
        use("re:(a+)+$")
