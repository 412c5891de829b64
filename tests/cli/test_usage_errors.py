"""What is wrong with the arguments themselves: text on stderr, or with `--json` the object of all other errors."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import Ran

Cli = Callable[..., Ran]
WRONG = {
    "run": ("run", "Missing argument"),
    "run a.yaml --bogus": ("run", "No such option: --bogus"),
    "plan a.yaml --threads many": ("plan", "Invalid value for '--threads'"),
    "sweep a.yaml --keep some": ("sweep", "'some' is not one of 'best', 'all', 'none'"),
    "delta apply a.ckpt": ("delta apply", "Missing argument 'DELTA...'"),
    "rnu a.yaml": ("", "No such command 'rnu'"),
    "--bogus run a.yaml": ("", "No such option: --bogus"),
}


@pytest.mark.parametrize("line", WRONG)
def test_with_json_it_is_an_object(cli: Cli, line: str) -> None:
    command, fact = WRONG[line]
    ran = cli(*line.split(), "--json")
    assert (ran.code, ran.err) == (2, "")
    error = json.loads(ran.out)["error"]
    assert fact in error.pop("what")
    assert error["where"].endswith(command)
    assert error == {"where": error["where"], "hint": f"{error['where']} --help"}


def test_else_it_is_text(cli: Cli) -> None:
    ran = cli("run", "a.yaml", "--bogus")
    assert (ran.code, ran.out) == (2, "")
    assert "No such option: --bogus" in ran.err


def test_other_ends_are_as_without_json(cli: Cli) -> None:
    assert cli("run", "--json", "--help").code == 0
    assert cli("functions", "--json").code == 0
    assert "no such file" in json.loads(cli("run", "a.yaml", "--json").out)["error"]["what"]
