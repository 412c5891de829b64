"""What only a process of its own shows: start-up, imports, signals, pipes."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

MAIN = "import sys; from weightmath.cli import main; sys.argv[0] = 'weightmath'; main()"


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", MAIN, *map(str, arguments)]


def _run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*arguments), capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


# What recipes of plain checkpoints do without: deltas and their compressor, other processes, what styles a terminal.
SELDOM = {"torch", "scipy", "weightmath.delta.container", "zstandard", "concurrent.futures", "rich.console"}


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], {"torch", "numpy", "yaml"}),
        (["run", "--help"], {"torch", "numpy", "yaml"}),
        (["functions"], {"torch", "yaml"}),
        (["methods"], {"torch", "yaml"}),
        (["inspect", "base.ckpt"], SELDOM - {"rich.console"} | {"yaml", "weightmath.engine.plan"}),
        (["plan", "recipe.yaml"], SELDOM | {"multiprocessing", "threadpoolctl"}),
        (["diff", "base.ckpt", "chat.ckpt"], SELDOM),
        (["run", "recipe.yaml"], SELDOM | {"multiprocessing", "threadpoolctl"}),
    ],
)
def test_imports(folder: Path, arguments: list[str], absent: set[str]) -> None:
    """Nothing that a command does not need is imported."""
    program = (
        "import sys\nfrom weightmath.cli.app import program\n"
        f"try:\n    program()({arguments!r})\nexcept SystemExit as left:\n    assert left.code in (0, 1), left.code\n"
        f"found = {absent!r} & set(sys.modules)\nassert not found, found\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_start_up_is_quick(tmp_path: Path) -> None:
    """`--help` within 0.3 s; `plan` and `inspect` of 1,143 tensors within 0.5 s.

    Processor time counts, as other tests may be running; a machine that needs long to import numpy may take longer.
    """
    names = [f"model.diffusion_model.blocks.{i}.weight" for i in range(1143)]
    torch.save({"state_dict": {name: torch.zeros(16, 16) for name in names}}, tmp_path / "a.ckpt")
    (tmp_path / "r.yaml").write_text("inputs: {a: a.ckpt, b: a.ckpt, c: a.ckpt}\nsave:\n  out.ckpt: (a + b + c) / 3\n")
    import_numpy = _seconds(
        tmp_path, [sys.executable, "-c", "import os; os.environ['OPENBLAS_NUM_THREADS'] = '1'; import numpy"]
    )
    slowness = max(1.0, import_numpy / 0.08)
    assert _seconds(tmp_path, _command("--help")) < 0.3 * slowness
    assert _seconds(tmp_path, _command("inspect", tmp_path / "a.ckpt")) < 0.5 * slowness
    assert _seconds(tmp_path, _command("plan", tmp_path / "r.yaml")) < 0.5 * slowness


def _seconds(cache: Path, command: list[str]) -> float:
    """The least processor time of a few runs, with compiled modules in the cache."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(cache / "cache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return min(_once(command, environment) for _ in range(5))


def _once(command: list[str], environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(("hard", "code"), [(400, 0), (100, 1)])
def test_more_checkpoints_than_a_process_may_have_open_at_first(tmp_path: Path, hard: int, code: int) -> None:
    """The limit that may be raised is raised; at one that may not, the message says which it is."""
    for number in range(200):
        torch.save({"w": torch.full((2,), float(number))}, tmp_path / f"{number}.ckpt")
    (tmp_path / "r.yaml").write_text("inputs:\n  runs: {glob: '*.ckpt', sort: number}\nsave:\n  out.pt: mean(runs)\n")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))

    done = _run("run", "r.yaml", cwd=tmp_path, preexec_fn=limit)
    assert done.returncode == code, done.stderr
    if code:
        fact, hint = done.stderr.splitlines()
        assert fact.endswith(".ckpt: cannot be read: Too many open files")
        assert hint == "  hint: let a process have more open at once: ulimit -n 4096"
    else:
        assert torch.load(tmp_path / "out.pt")["w"].tolist() == [99.5, 99.5]


@pytest.mark.parametrize(
    ("number", "threads", "word", "code"),
    [
        (signal.SIGINT, 1, "interrupted", 130),
        (signal.SIGINT, 2, "interrupted", 130),
        (signal.SIGTERM, 2, "terminated", 143),
    ],
)
def test_a_signal_ends_the_run_and_the_next_goes_on(
    tmp_path: Path, number: int, threads: int, word: str, code: int
) -> None:
    torch.save({"w": torch.randn(1 << 23)}, tmp_path / "a.ckpt")
    slow = " + ".join(["a", *(f"0.1 * gaussian(seed={i})" for i in range(40))])
    arguments = ("run", "-e", slow, "a=a.ckpt", "-o", "out.ckpt", "--threads", threads)
    process = subprocess.Popen(_command(*arguments), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        journal = tmp_path / ".out.ckpt.weightmath.journal"
        while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    kept = "what is done is kept: the same run goes on from there, and `weightmath clean` removes it"
    assert (process.returncode, err) == (code, f"error: {word}\n  hint: no output was written; {kept}\n")
    assert sorted(os.listdir(tmp_path)) == [journal.name, ".out.ckpt.weightmath.part", "a.ckpt"]
    again = _run(*arguments, cwd=tmp_path)
    assert "\nthis run went on where an earlier one was stopped\n" in again.stdout
    assert sorted(os.listdir(tmp_path)) == ["a.ckpt", "out.ckpt"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_signal_while_a_command_is_being_loaded(number: int, options: list[str]) -> None:
    """Before there is work that could be told about."""
    program = (
        "import signal, sys; from weightmath.cli import functions, main\n"
        f"def loads(json: bool = False) -> None: signal.raise_signal({number:d})\n"
        f"functions.functions = loads; sys.argv = {['weightmath', 'functions', *options]}; main()"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (128 + number, "", "")


def test_an_interrupt_while_a_text_is_executed(tmp_path: Path) -> None:
    """`python -m` would end by the signal, whatever the exit code is."""
    (tmp_path / "program.py").write_text(
        "from weightmath.cli import app, main\n"
        "def executes(): exec('raise KeyboardInterrupt')\n"
        "app.main = executes; main()"
    )
    assert subprocess.run([sys.executable, "-m", "program"], cwd=tmp_path, check=False).returncode == 130


def test_sigterm_that_is_ignored_stays_so() -> None:
    """As under a supervisor that wants a run to end by itself."""
    program = (
        "import signal; from weightmath.cli.signals import end_on_sigterm\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); end_on_sigterm(); signal.raise_signal(signal.SIGTERM)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_reader_that_has_seen_enough(folder: Path) -> None:
    """`weightmath functions | head -1` is no failure to talk about."""
    process = subprocess.Popen(_command("functions"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)


def test_lines_are_whole_where_a_program_reads(folder: Path) -> None:
    name = "a" * 300
    torch.save({name: torch.ones(1), "b [x]": torch.ones(1)}, folder / "long.ckpt")
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    lines = _run("inspect", "long.ckpt", env=environment).stdout.splitlines()
    assert f"  {name}  1      float32   0..1" in lines


def test_terminals_that_know_ascii_only(folder: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for arguments in (["diff", "base.ckpt", "chat.ckpt"], ["inspect", "base.ckpt"]):
        done = _run(*arguments, env=environment)
        assert done.returncode in (0, 1)
        assert "Traceback" not in done.stderr
        assert "blocks.0.weight" in done.stdout
