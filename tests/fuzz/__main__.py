"""Fuzz one reader, guided by which of its branches the inputs reach (atheris, which is libFuzzer).

    python -m tests.fuzz zip --seconds 600
    python -m tests.fuzz recipe --runs 20000 --seed 3 --corpus found/

Without --corpus what is found on the way is forgotten. An input that breaks a reader is written to the current folder
as crash-..., timeout-... or oom-..., and the exit code is not 0. To see it again: `python -m tests.fuzz zip crash-...`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Run libFuzzer in a process of its own, which it ends in its own way."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz one reader.")
    parser.add_argument("target", choices=[*sorted(path.name for path in (HERE / "seeds").iterdir()), "planted"])
    parser.add_argument("inputs", nargs="*", type=Path, help="look at these files alone")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=-1, help="end after so many inputs")
    parser.add_argument("--seed", type=int, default=1, help="0: another one each time")
    parser.add_argument("--corpus", type=Path, help="a folder to begin with, and to keep what is found in")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="weightmath-fuzz-") as folder:
        command = [sys.executable, "-m", "tests.fuzz.fuzzer", asked.target, folder]
        sys.exit(subprocess.run([*command, *options(asked, Path(folder))], check=False).returncode)


def options(asked: argparse.Namespace, folder: Path) -> list[str]:
    """What libFuzzer is told: its limits, and where inputs begin and go to."""
    if asked.inputs:
        return [str(path) for path in asked.inputs]
    corpus = asked.corpus or folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    seeds = HERE / "seeds" / asked.target
    limits = [f"-max_total_time={asked.seconds}", f"-runs={asked.runs}", f"-seed={asked.seed}", "-max_len=8192"]
    return [*limits, str(corpus), *([str(seeds)] if seeds.exists() else [])]


if __name__ == "__main__":
    main()
