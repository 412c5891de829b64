"""Runs that are killed: no output under its name that is not whole, and the same bytes in the end."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from tests.crash.conftest import RECIPES, Driver

KILLS = 8  # of each recipe


def every(recipes: dict[str, str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("driver", recipes, indirect=True)


def check_nothing_half_done(driver: Driver, digests: dict[str, str]) -> None:
    """Under the outputs' names are whole outputs, or none."""
    found = driver.digests()
    assert all(digests[name] == digest for name, digest in found.items())
    assert len(found) == (len(digests) if (driver.folder / "out").exists() else len(driver.targets))


@every(RECIPES)
def test_killed_at_any_call_and_resumed(driver: Driver) -> None:
    whole, digests = driver.undisturbed()
    step = whole["calls"] / KILLS
    resumed = 0
    for number in range(KILLS):
        moment = random.Random(number).randint(int(number * step) + 1, int((number + 1) * step))
        assert driver.run(kill=moment)["signal"] == signal.SIGKILL
        check_nothing_half_done(driver, digests)
        again = driver.run()
        assert (again["signal"], driver.digests(), driver.hidden) == (0, digests, []), moment
        assert again["shown"] == whole["shown"]
        assert again["warnings"] == whole["warnings"]
        resumed += again["resumed"]
        driver.forget()
    assert resumed >= KILLS // 3  # a run of this size has as many calls before it notes anything as after


@every(RECIPES)
def test_killed_while_publishing(driver: Driver) -> None:
    whole, digests = driver.undisturbed(threads=1)
    for back in range(6):
        assert driver.run(kill=whole["calls"] - back, threads=1)["signal"] == signal.SIGKILL, back
        check_nothing_half_done(driver, digests)
        again = driver.run()
        assert (again["signal"], driver.digests(), driver.hidden) == (0, digests, []), back
        driver.forget()


@every({name: RECIPES[name] for name in ("ties", "by tensor", "two outputs")})
def test_killed_again_and_again(driver: Driver) -> None:
    """Each try dies after a few more calls; every one leaves a little more to the next."""
    whole, digests = driver.undisturbed()
    answer = {"signal": 9}
    for tries in range(1, 200):
        answer = driver.run(kill=80 * tries, threads=1 + tries % 3)
        if not answer["signal"]:
            break
        check_nothing_half_done(driver, digests)
    assert (answer["signal"], driver.digests(), driver.hidden) == (0, digests, [])
    assert answer["shown"] == whole["shown"]


@pytest.mark.parametrize("driver", ["ties", "average"], indirect=True)
def test_killed_from_outside_at_any_time(driver: Driver) -> None:
    """A second program that knows nothing of the run kills it, whatever its threads are doing."""
    _, digests = driver.undisturbed()
    children = f"/proc/{driver.process.pid}/task/{driver.process.pid}/children"
    for number in range(10):
        driver.send(sleep=0.004)
        time.sleep(random.Random(number).uniform(0.05, 0.4))
        with open(children) as file:
            for child in file.read().split():
                os.kill(int(child), signal.SIGKILL)
        if driver.answer()["signal"] == signal.SIGKILL:
            check_nothing_half_done(driver, digests)
        else:
            driver.forget()
    driver.run()
    assert (driver.digests(), driver.hidden) == (digests, [])


def test_little_is_left_to_do(driver: Driver) -> None:
    whole, digests = driver.undisturbed()
    driver.run(kill=whole["calls"] - 30)
    again = driver.run()
    assert driver.digests() == digests
    assert again["written"] < 0.5 * whole["written"]


def test_what_the_disk_has_lost_is_done_again(driver: Driver) -> None:
    """As after a power failure: half of the file is zeros, though the journal says that it is written."""
    whole, digests = driver.undisturbed()
    driver.run(kill=whole["calls"] - 30)
    part = driver.folder / ".out.ckpt.weightmath.part"
    with part.open("r+b") as file:
        file.write(bytes(part.stat().st_size // 2))
    assert driver.run()["resumed"]
    assert driver.digests() == digests


def test_a_journal_cut_anywhere(driver: Driver) -> None:
    whole, digests = driver.undisturbed()
    journal = driver.folder / ".out.ckpt.weightmath.journal"
    for share in (0, 0.001, 0.3, 0.62, 0.9, 0.999):
        driver.run(kill=whole["calls"] - 30)
        content = journal.read_bytes()
        journal.write_bytes(content[: int(share * len(content))])
        again = driver.run()
        assert again["resumed"] == (content[: int(share * len(content))].count(b"\n") > 0)
        assert (driver.digests(), driver.hidden) == (digests, [])
        driver.forget()


def test_a_journal_with_a_flipped_bit(driver: Driver) -> None:
    whole, digests = driver.undisturbed()
    journal = driver.folder / ".out.ckpt.weightmath.journal"
    for number in range(6):
        driver.run(kill=whole["calls"] - 30)
        content = bytearray(journal.read_bytes())
        content[random.Random(number).randrange(len(content))] ^= 1 << number
        journal.write_bytes(content)
        driver.run()
        assert (driver.digests(), driver.hidden) == (digests, [])
        driver.forget()
