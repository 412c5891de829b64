"""Opens hostile files as a user would, in a process with little memory and time that reports whatever else it does.

    python -m tests.hostile.prisoner MODULES HONEST FOLDER     prints one JSON object a file

After the first file, which is honest and makes everything be imported, any import, call of a program, compiled code or
written file is an *escape*: the interpreter's audit hook sees it whoever does it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import resource
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import numpy  # noqa: F401

from weightmath.checkpoint import open_checkpoint
from weightmath.cli.inspect import inspect
from weightmath.errors import CheckpointError

MEMORY = 2 << 30
SECONDS = 900
FORBIDDEN = (
    "import", "exec", "compile", "marshal", "pickle.find_class", "os.", "subprocess", "socket", "shutil", "ctypes", "code.",
    "cpython.run", "webbrowser", "urllib", "mmap", "fcntl", "signal", "sys.settrace", "tempfile", "glob",
)  # fmt: skip
HARMLESS = ("os.scandir", "os.listdir")

escapes: list[str] | None = None


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """What the interpreter tells of each deed."""
    if escapes is None:
        return
    writes = (
        event == "open"
        and isinstance(arguments[2], int)
        and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    )
    if writes or (event.startswith(FORBIDDEN) and event not in HARMLESS):
        escapes.append(f"{event} {arguments!r:.200}")


def look_at(path: Path) -> dict[str, object]:
    """Open it, list it, show it."""
    began, what = time.process_time(), "opened"
    try:
        checkpoint = open_checkpoint(path)
        for section in checkpoint.sections:
            assert section.elements >= 0
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            inspect(path, everything=True)
            inspect(path, json=True)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", shown.getvalue()), "commands to the terminal"
    except CheckpointError as error:
        what = f"refused: {error}"
        assert str(path) in str(error)
    except BaseException as error:  # noqa: BLE001 - this is what is looked for
        place = list(traceback.walk_tb(error.__traceback__))[-1]
        what = f"failed: {error!r:.200} in {place[0].f_code.co_filename}:{place[1]}"
    return {"file": path.name, "what": what, "seconds": time.process_time() - began, "peak": peak()}


def peak() -> int:
    """The most memory that the process has taken so far, in bytes."""
    return 1024 * int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1])  # type: ignore[index]


def main() -> None:
    """Look at all files."""
    global escapes  # noqa: PLW0603
    look_at(Path(sys.argv[2]))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    sys.addaudithook(watch)
    for path in sorted(Path(sys.argv[3]).iterdir()):
        escapes = []
        seen = look_at(path)
        done, escapes = escapes, None
        print(json.dumps({**seen, "escapes": done}), flush=True)


if __name__ == "__main__":
    main()
