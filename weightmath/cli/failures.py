"""How a command fails: one message on stderr (with `--json` an object on stdout), an exit code, no traceback.

Exit codes: 0 done, 1 failed while running, 2 refused before any work, 130 interrupted (Ctrl-C), 143 terminated
(SIGTERM). Anything that is not expected here is a bug and keeps its traceback.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from weightmath.cli.printable import printable
from weightmath.cli.signals import TerminatedError
from weightmath.errors import DiskError, LayoutError, WeightmathError

FAILED, REFUSED, INTERRUPTED, TERMINATED = 1, 2, 130, 143
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def failing(code: int, *, as_json: bool) -> Iterator[None]:
    """Turn the errors that users can act on into a message and this exit code.

    A disk that is full or fails has let work be done before: that is always a failure while running. Names and shapes
    that do not match are read in headers: that is always a refusal.
    """
    try:
        yield
    except DiskError as error:
        _leave(error, FAILED, as_json)
    except LayoutError as error:
        _leave(error, REFUSED, as_json)
    except WeightmathError as error:
        _leave(error, code, as_json)
    except KeyboardInterrupt as interrupt:
        hint = "; ".join(["no output was written", *interrupt.args])
        is_asked = isinstance(interrupt, TerminatedError)
        fact, left = ("terminated", TERMINATED) if is_asked else ("interrupted", INTERRUPTED)
        _leave(WeightmathError(fact, hint=hint), left, as_json)
    except MemoryError:
        _leave(WeightmathError("the memory of this machine is used up", hint="--memory 512MB"), code, as_json)
    except BrokenPipeError:
        raise  # whoever read our output has had enough: the caller of all commands ends quietly
    except OSError as error:
        where = str(error.filename) if error.filename is not None else None
        found = WeightmathError(error.strerror or str(error), where=where)
        _leave(found, FAILED if error.errno in _FULL else code, as_json)


def tell(error: WeightmathError, *, as_json: bool) -> None:
    """Print an error: as text on stderr, or as an object on stdout."""
    if as_json:
        from weightmath.plain import as_json as text_of

        print(text_of({"error": {"what": error.what, "where": error.where, "hint": error.hint}}))
    else:
        sys.stdout.flush()
        print(f"error: {printable(error.of_command())}", file=sys.stderr)


def _leave(error: WeightmathError, code: int, as_json: bool) -> None:
    tell(error, as_json=as_json)
    raise typer.Exit(code) from None
