"""Charts as files for papers: SVG or PNG, drawn by plotly in a Chrome or Chromium that is there."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from weightmath.errors import OutputError
from weightmath.lab.report.chart import Chart

Form = Literal["svg", "png"]
_WIDE, _SQUARE = (800, 450), (560, 500)
_PIXELS_PER_POINT = 3  # of a PNG: 300 to the inch where a wide chart is a text's width


def write_pictures(charts: Mapping[str, Chart], folder: Path, form: Form) -> list[Path]:
    """Write each chart into the folder, under its name and the form's ending; returns the files.

    Files that are there are replaced, when all charts are drawn. Fails with OutputError where plotly or kaleido is not
    installed, or no browser is found.
    """
    try:
        from kaleido.errors import ChromeNotFoundError  # type: ignore[import-untyped]
        from plotly.io import write_images  # type: ignore[import-untyped]
    except ImportError as error:
        raise OutputError(f"pictures need {error.name}", hint="pip install 'weightmath[lab]'") from None
    sizes = [_SQUARE if chart.square else _WIDE for chart in charts.values()]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".drawing-") as drawing:
        drawn = {picture_file(name, Path(drawing), form): picture_file(name, folder, form) for name in charts}
        try:
            write_images(
                fig=[chart.as_plotly() for chart in charts.values()],
                file=list(drawn),
                format=form,
                width=[width for width, _ in sizes],
                height=[height for _, height in sizes],
                scale=_PIXELS_PER_POINT if form == "png" else 1,
            )
        except ChromeNotFoundError:
            hint = "apt-get install chromium, or plotly_get_chrome, or BROWSER_PATH=/path/to/chrome"
            raise OutputError("pictures are drawn by a Chrome or Chromium, and there is none", hint=hint) from None
        for made, file in drawn.items():
            made.replace(file)
    return list(drawn.values())


def picture_file(name: str, folder: Path, form: Form) -> Path:
    """Where the picture of that name is written."""
    return folder / f"{name}.{form}"
