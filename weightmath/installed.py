"""Packages that only some of the work needs, and that may not be installed."""

from __future__ import annotations

from importlib.util import find_spec

from weightmath.errors import WeightmathError


def check_installed(what: str, *packages: str) -> None:
    """WeightmathError where one of the packages that something needs is not there.

    It is looked for and not imported: an import may fail for other reasons, an interrupt among them.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        fact = f"{what} needs {missing[0]}, which is not installed"
        raise WeightmathError(fact, hint="pip install 'weightmath[lab]'")
