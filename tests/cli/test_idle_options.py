"""Options that would do nothing beside others are refused, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran

PAIR = "base.ckpt chat.ckpt"
SHOWN = "inputs: {a: base.ckpt}\nparams: {t: 1}\nvary: {t: [1, 2]}\nshow: norm(t * a)\nsave: {x.ckpt: a}\n"
IDLE = {
    f"soup {PAIR} --uniform --resume -o x": "--resume goes on with scores that are noted, and nothing is measured",
    f"soup {PAIR} --scores s.csv -o x": "scores alone choose nothing: all models are averaged",
    f"compare {PAIR} --force": "--force replaces a file, and none is written",
    "verify base.ckpt --seed 3": "--seed chooses a sample, and all is compared",
    "provenance base.ckpt --recipe --json": "--recipe prints the recipe alone, and --json the whole record",
    "provenance base.ckpt --recipe --all": "--recipe prints the recipe alone, and --all the whole record",
    "new -o x": "--output is about a recipe that is written, and none is named",
    "new --force": "--force is about a recipe that is written, and none is named",
    "new ties -o - --json": "--json is about a file, and `-o -` prints the recipe itself",
    "new ties -o - --force": "--force replaces a file, and `-o -` prints the recipe itself",
    "import s.csv --force": "--force replaces a file, and none is written",
    "report s.csv --svg . --title t": "the title is the page's, and there are pictures only",
    "sweep shown.yaml --jobs 2": "--jobs is of evaluations, and there is no metric",
    f"delta make {PAIR} -o x --as int8 --keep weights": "is for exact deltas: the other kinds hold weights alone",
}


@pytest.mark.parametrize("line", IDLE)
def test_an_option_that_would_do_nothing_is_refused(cli: Callable[..., Ran], folder: Path, line: str) -> None:
    (folder / "s.csv").write_text("base,0.1\nchat,0.3\n")
    (folder / "shown.yaml").write_text(SHOWN)
    before = set(folder.iterdir())
    ran = cli(*line.split())
    assert ran.code == 2
    assert IDLE[line] in ran.out + ran.err
    assert set(folder.iterdir()) == before
