"""What surrounds the imports of commands: one thread for numpy's linear algebra, and no trace of it."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import os
from weightmath.cli.loading import loading

before = dict(os.environ)
with loading():
    pass
assert dict(os.environ) == before

from threadpoolctl import threadpool_info

print(*(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"))
"""


def _threads(**given: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env={**environment, **given}, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_linear_algebra_starts_no_threads():
    assert set(_threads()) <= {"1"}


def test_who_has_set_a_number_keeps_it():
    assert set(_threads(OPENBLAS_NUM_THREADS="2")) <= {"2"}
