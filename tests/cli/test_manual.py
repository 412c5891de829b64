"""`weightmath functions` and `weightmath methods`: all that is declared, from its docstring."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import Ran
from weightmath import methods
from weightmath.functions import FUNCTIONS, Declared

Cli = Callable[..., Ran]
DECLARED = [("functions", one) for one in FUNCTIONS.values()] + [("methods", one) for one in methods.load().values()]


def _name(value: object) -> str:
    return value.name if isinstance(value, Declared) else str(value)


@pytest.mark.parametrize(("command", "one"), DECLARED, ids=_name)
def test_page(cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str, one: Declared) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    ran = cli(command, one.name)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[:3] == [str(one.signature), "", one.summary]
    assert [line.strip() for line in lines[2:]] == [line.strip() for line in one.page.splitlines()]


@pytest.mark.parametrize(("command", "declared"), [("functions", FUNCTIONS), ("methods", methods.load())])
def test_table(cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str, declared: dict[str, Declared]) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    lines = cli(command).out.splitlines()
    expected = [(str(one.signature), f"    {one.summary}") for _, one in sorted(declared.items())]
    assert list(zip(lines[::2], lines[1::2], strict=True)) == expected


def test_pages_fit_the_terminal(cli: Cli) -> None:
    for command, name in (("methods", None), ("methods", "ties"), ("functions", None)):
        out = cli(command, *([name] if name else [])).out
        assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("command", ["functions", "methods"])
def test_json(cli: Cli, command: str) -> None:
    every = json.loads(cli(command, "--json").out)[command]
    name = every[0]["name"]
    assert set(every[0]) == {"name", "signature", "summary", "page"}
    assert json.loads(cli(command, name, "--json").out)[command] == every[:1]


def test_unknown_names(cli: Cli) -> None:
    ran = cli("methods", "tis")
    assert (ran.code, ran.out, ran.err) == (2, "", "error: there is no method `tis`\n  hint: did you mean `ties`?\n")
    ran = cli("functions", "qqqqqq")
    hint = "  hint: weightmath functions lists them all\n"
    assert (ran.code, ran.out, ran.err) == (2, "", f"error: there is no function `qqqqqq`\n{hint}")
    error = {"what": "there is no method `tis`", "where": None, "hint": "did you mean `ties`?"}
    assert json.loads(cli("methods", "tis", "--json").out) == {"error": error}


def test_a_method_is_no_function_but_the_hint_knows_where_it_is(cli: Cli) -> None:
    ran = cli("functions", "ties")
    assert (ran.code, ran.err) == (
        2,
        "error: there is no function `ties`\n  hint: it is a method: weightmath methods ties\n",
    )
    ran = cli("methods", "norm")
    assert ran.err == "error: there is no method `norm`\n  hint: it is a function: weightmath functions norm\n"
