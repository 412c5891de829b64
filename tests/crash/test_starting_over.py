"""What another run has left is of use only to the same run; any other starts over and says why."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from tests.crash.conftest import HEAD, RECIPES, Driver, checkpoint
from weightmath.engine.execute import Settings
from weightmath.engine.memory import settings_for
from weightmath.engine.plan import Plan
from weightmath.errors import MemoryBudgetError
from weightmath.files import identity
from weightmath.job import prepare
from weightmath.running import load

OVER = "an earlier run was stopped, and this one started over: "


def new_strength(driver: Driver) -> str:
    driver.recipe.write_text(driver.recipe.read_text().replace("0.7", "0.75"))
    return "parameter `strength` is 0.75 now, and was 0.7"


def new_formula(driver: Driver) -> str:
    driver.recipe.write_text(driver.recipe.read_text().replace("(b + c)", "(c + b)"))
    return "the recipe has changed"


def new_setting(driver: Driver) -> str:
    driver.recipe.write_text(driver.recipe.read_text() + "\nnonfinite: allow\n")
    return "the recipe has changed"


def new_input(driver: Driver) -> str:
    (driver.folder / "b.ckpt").unlink()
    torch.save(checkpoint(77), driver.folder / "b.ckpt")
    return "input `b` has changed"


def touched_input(driver: Driver) -> str:
    (driver.folder / "c.ckpt").touch()
    return "input `c` has changed"


def lost_part(driver: Driver) -> str:
    (driver.folder / ".out.ckpt.weightmath.part").unlink()
    return "what was written of the outputs is gone"


@pytest.mark.parametrize("change", [new_strength, new_formula, new_setting, new_input, touched_input, lost_part])
def test_a_change_starts_over(driver: Driver, change: Callable[[Driver], str]) -> None:
    assert driver.run(writes=20)["signal"] == 9
    reason = change(driver)
    answer = driver.run()
    assert not answer["resumed"]
    assert [warning for warning in answer["warnings"] if warning.startswith(OVER)] == [OVER + reason]
    assert driver.hidden == []
    digests = driver.digests()
    driver.forget()
    driver.run()
    assert driver.digests() == digests


def test_a_parameter_of_the_command_line_starts_over(driver: Driver) -> None:
    driver.run(writes=20, sets=["strength=0.3"])
    assert driver.run(writes=20)["signal"] == 9
    assert driver.run(writes=20, sets=["strength=0.3"])["signal"] == 9
    answer = driver.run(sets=["strength=0.3"])
    assert answer["resumed"]
    assert OVER not in str(answer["warnings"])


def test_a_comment_is_no_change(driver: Driver) -> None:
    driver.run(writes=20)
    driver.recipe.write_text("# well begun\n" + driver.recipe.read_text())
    assert driver.run()["resumed"]


def test_threads_are_no_change_and_the_size_of_chunks_is(driver: Driver) -> None:
    driver.run(writes=20, threads=2)
    assert driver.run(writes=20, threads=1)["signal"] == 9
    assert driver.run(threads=3)["resumed"]
    driver.forget()
    driver.run(writes=20)
    plan = prepare(load(driver.recipe)).plan
    small = next(size for size in range(50_000_000, 10**9, 500_000) if fits(plan, size))
    assert driver.run(memory=small, threads=1)["warnings"] == [f"{OVER}the memory budget has changed"]


def fits(plan: Plan, memory: int) -> bool:
    try:
        return settings_for(plan, 1, memory).chunk < Settings().chunk
    except MemoryBudgetError:
        return False


def test_another_version_is_said() -> None:
    parts = ("version", "input", "parameter", "recipe", "chunk", "formula", "output")
    same: dict[str, dict[str, object]] = {part: {} for part in parts}
    old = {**same, "version": {"weightmath": "0.1.0", "numpy": "1.26.4"}, "input": {"a": [1], "gone": [2]}}
    new = {**same, "version": {"weightmath": "0.2.0", "numpy": "1.26.4"}, "input": {"a": [1]}, "formula": {"graph": 1}}
    assert identity.differences(old, new) == ["weightmath is 0.2.0 now, and was 0.1.0", "input `gone` has changed"]
    assert identity.differences(new, new) == []


def test_a_run_that_fails_by_its_numbers_leaves_nothing(driver: Driver) -> None:
    driver.recipe.write_text(HEAD + RECIPES["average"] + "\nexpect: ['norm(a) < 0']\n")
    assert driver.run()["kind"] == "ExpectError"
    driver.recipe.write_text(HEAD + "save:\n  out.ckpt: a + strength * exp(1000 * (b - a))\n")
    assert driver.run()["kind"] == "NumericError"
    assert (driver.targets, driver.hidden) == ([], [])


def test_the_second_run_to_one_target_is_refused(driver: Driver) -> None:
    _, digests = driver.undisturbed()
    driver.send(sleep=0.1)
    command = [sys.executable, "-m", "weightmath", "run", str(driver.recipe)]
    while not driver.hidden:
        pass
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    hint = "wait for it, or choose another name"
    assert second.stderr == f"error: {driver.folder}/out.ckpt: another run is writing it\n  hint: {hint}\n"
    assert driver.answer()["signal"] == 0
    assert (driver.digests(), driver.hidden) == (digests, [])


@pytest.mark.parametrize("driver", ["two outputs"], indirect=True)
def test_runs_that_share_one_of_two_targets(driver: Driver) -> None:
    other = driver.folder / "single.yaml"
    other.write_text(HEAD + "save:\n  other.ckpt: b + strength * (b - a)")
    driver.send(sleep=0.1)
    while ".other.ckpt.weightmath.part" not in driver.hidden:
        pass
    command = [sys.executable, "-m", "weightmath", "run", str(other)]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert "other.ckpt: another run is writing it" in second.stderr
    assert driver.answer()["signal"] == 0
    assert os.listdir(driver.folder).count("other.ckpt") == 1
