"""Charts as files for papers: SVG or PNG, drawn by plotly in a Chrome or Chromium that is there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

from weightmath.errors import OutputError
from weightmath.installed import check_installed
from weightmath.lab.report.chart import Chart

Form = Literal["svg", "png"]
_WIDE, _SQUARE = (800, 450), (560, 500)
_PIXELS_PER_POINT = 3  # of a PNG: 300 to the inch where a wide chart is a text's width


def write_pictures(charts: Mapping[str, Chart], folders: Mapping[Form, Path]) -> list[Path]:
    """Write each chart in each form, into the form's folder under the chart's name; returns the files.

    Files that are there are replaced, when all charts are drawn. No network is used. Fails with WeightmathError
    where kaleido is not installed, OutputError where no browser is found, or it fails; then no folder is made either.
    """
    with ExitStack() as stack:
        drawing: dict[Form, Path] = {}
        for form, folder in folders.items():
            stack.enter_context(_made(folder))
            place = stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix=".drawing-"))
            drawing[form] = Path(place)
        named = [(name, chart, form) for form in folders for name, chart in charts.items()]
        _draw([_order(chart, form, picture_file(name, drawing[form], form)) for name, chart, form in named])
        return [
            picture_file(name, drawing[form], form).replace(picture_file(name, folders[form], form))
            for name, _, form in named
        ]


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """The folder is there, with those above it; what was not there before goes where the work fails."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for each in missing:
            each.rmdir()
        raise


def picture_file(name: str, folder: Path, form: Form) -> Path:
    """Where the picture of that name is written."""
    return folder / f"{name}.{form}"


def _order(chart: Chart, form: Form, path: Path) -> dict[str, Any]:
    """What kaleido is told to draw."""
    width, height = _SQUARE if chart.square else _WIDE
    scale = _PIXELS_PER_POINT if form == "png" else 1
    options = {"format": form, "width": width, "height": height, "scale": scale}
    return {"fig": chart.as_plotly(), "path": path, "opts": options}


def _draw(orders: list[dict[str, Any]]) -> None:
    check_installed("a picture", "kaleido")
    from kaleido import errors, write_fig_from_object_sync  # type: ignore[import-untyped]

    try:
        # Without these, mathematics is set by a script from the network, and a chart that fails is left out silently.
        write_fig_from_object_sync(orders, kopts={"mathjax": False}, cancel_on_error=True)
    except errors.ChromeNotFoundError:
        hint = "apt-get install chromium, or BROWSER_PATH=/path/to/chrome"
        raise OutputError("pictures are drawn by a Chrome or Chromium, and there is none", hint=hint) from None
    except (errors.BrowserClosedError, errors.BrowserFailedError, errors.JavascriptError, errors.KaleidoError) as error:
        raise OutputError(f"the browser that draws pictures failed: {error}") from None
