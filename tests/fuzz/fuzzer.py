"""The process that libFuzzer runs in: python -m tests.fuzz.fuzzer TARGET FOLDER [libFuzzer's options]."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["weightmath", "tests.fuzz.targets"]):
    from tests.fuzz.targets import MEGABYTES, SECONDS, TARGETS
    from weightmath.errors import WeightmathError


def main() -> None:
    """Fuzz; does not return."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    target, place = TARGETS[name], folder / "files"
    place.mkdir()

    def one_input(data: bytes) -> None:
        with contextlib.suppress(WeightmathError):
            target(data, place)

    limits = [f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, *sys.argv[3:]], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
