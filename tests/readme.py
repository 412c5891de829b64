"""The parts of README.md that are made, not written: outputs of commands, tables from docstrings and of measurements.

Each stands behind a comment that names it. `python -m tests.readme` writes them anew; a test compares.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.bench import markdown
from tests.bench.record import parsed

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "tests" / "bench" / "results.json"  # python -m tests.bench --json tests/bench/results.json
SIXTEEN = RESULTS.with_name("sixteen_cores.json")  # the same on another machine, and mergekit's TIES beside it


def made(text: str) -> str:
    """The README with every made part as it should be."""
    for name, part in PARTS.items():
        mark = f"<!-- {name} -->\n"
        if mark not in text:
            raise AssertionError(f"README.md has no part {mark}")
        before, _, after = text.partition(mark)
        text = before + mark + part() + after.removeprefix(_old(after))
    return text


def _old(after: str) -> str:
    """The made part that stands there now: a block of code, or the lines of a table."""
    found = re.match(r"```text\n.*?```\n|(?:\|[^\n]*\n)*", after, re.DOTALL)
    return found.group() if found else ""


def _command(*arguments: str) -> str:
    """What a command prints, without the last line of a run, whose seconds and memory are the machine's."""
    environment = {**os.environ, "COLUMNS": "112"}
    command = [sys.executable, "-m", "weightmath", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def _run() -> str:
    shown = _command("run", "recipes/quickstart.yaml", "--force").rstrip().rpartition("\n")[0].rstrip()
    return f"```text\n{shown}\n```\n"


def _plan() -> str:
    (ROOT / "recipes" / "merged.ckpt").unlink(missing_ok=True)
    shown = _command("plan", "recipes/quickstart.yaml", "--threads", "2").rstrip().rpartition("\n")[0]
    return f"```text\n{shown}\n```\n"


def _gallery() -> str:
    from weightmath.gallery import starters

    # Recipes of single methods are found in the table of methods.
    kinds = {kind: one for kind, one in starters().items() if not kind.startswith("methods/")}
    rows = [f"| {one.want.rstrip('.')} | [`{kind}`](recipes/{kind}.yaml) |" for kind, one in kinds.items()]
    return "\n".join(["| I want to ... | recipe |", "|---|---|", *rows]) + "\n"


def _methods() -> str:
    from weightmath import methods
    from weightmath.gallery import starter

    known = [(name, starter(name).kind, one) for name, one in methods.load().items()]
    rows = [f"| [`{name}`](recipes/{kind}.yaml) | {_cell(one.summary)} |" for name, kind, one in known]
    return "\n".join(["| method | what it does |", "|---|---|", *rows]) + "\n"


def _functions() -> str:
    from weightmath import functions

    known = sorted(functions.FUNCTIONS.items())
    rows = [f"| `{_cell(str(one.signature))}` | {_cell(one.summary)} |" for _, one in known]
    return "\n".join(["| function | what it gives |", "|---|---|", *rows]) + "\n"


def _keys(part: str) -> str:
    from weightmath.schema import KEYS

    rows = [f"| `{key}` | {_cell(what)} |" for key, what in KEYS[part].items()]
    return "\n".join(["| key | what it says |", "|---|---|", *rows]) + "\n"


def _measured(name: str, results: Path = RESULTS) -> str:
    return markdown.PARTS[name](parsed(json.loads(results.read_text())))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


PARTS = {
    "run": _run,
    "plan": _plan,
    **{name: partial(_measured, name) for name in markdown.PARTS if name != "cores"},
    "cores": partial(_measured, "cores", SIXTEEN),
    **{f"{name}, sixteen cores": partial(_measured, name, SIXTEEN) for name in ("machine", "sizes", "peers")},
    "gallery": _gallery,
    "methods": _methods,
    "functions": _functions,
    "keys of a recipe": partial(_keys, "RecipeSpec"),
    "keys of an input": partial(_keys, "InputSpec"),
    "keys of an output": partial(_keys, "SaveSpec"),
}


if __name__ == "__main__":
    README.write_text(made(README.read_text()))
