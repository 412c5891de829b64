"""The README tells the truth: its made parts are up to date, and its lines of Python run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests import readme
from tests.command_lines import command_lines, parse

TEXT = readme.README.read_text()


@pytest.mark.parametrize("name", readme.PARTS)
def test_made_parts_are_up_to_date(name: str) -> None:
    assert readme.PARTS[name]() in TEXT, "python -m tests.readme writes it anew"


def test_the_recipe_is_the_one_that_runs() -> None:
    shown = re.search(r"```yaml\n# recipes/quickstart.yaml\n(.*?)```", TEXT, re.DOTALL)
    assert shown is not None
    whole = (readme.ROOT / "recipes" / "quickstart.yaml").read_text()
    assert whole.endswith(shown.group(1))


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert shown is not None
    for name, source in (("base", "base"), ("chat", "left"), ("code", "right")):
        shutil.copy(readme.ROOT / "recipes" / "quickstart" / f"{source}.ckpt", tmp_path / f"{name}.ckpt")
    recipe = "inputs: {base: base.ckpt, chat: chat.ckpt}\nparams: {strength: 1}\n"
    (tmp_path / "merge.yaml").write_text(f"{recipe}save: {{out.ckpt: base + strength * (chat - base)}}\n")
    monkeypatch.chdir(tmp_path)
    exec(compile(shown.group(1), "README.md", "exec"), {})  # noqa: S102 - that is the point
    assert {path.name for path in tmp_path.iterdir()} >= {"merged.ckpt", "ties.ckpt", "new.ckpt"}


@pytest.mark.parametrize("line", command_lines(TEXT))
def test_a_command_is_one(line: str) -> None:
    parse(line)


def test_a_command_can_be_none() -> None:
    lines = command_lines("```sh\nweightmath plan a.yaml --threads 2 # so\nweightmath plan --nothing\n```\n")
    assert lines == ["weightmath plan a.yaml --threads 2", "weightmath plan --nothing"]
    parse(lines[0])
    with pytest.raises(Exception, match="No such option: --nothing"):
        parse(lines[1])
