"""What the commands of `weightmath landscape` take besides what other commands take too."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

A = Annotated[Path, typer.Argument(metavar="A", help="A checkpoint.")]
B = Annotated[Path, typer.Argument(metavar="B", help="Another one, with the same tensors.")]
C = Annotated[Path, typer.Argument(metavar="C", help="A third one, with the same tensors.")]
Metric = Annotated[
    str,
    typer.Option(
        "--metric",
        metavar="COMMAND",
        help="'python eval.py {checkpoint}', whose last line is a number or JSON; or module:function of a state dict.",
    ),
]
Stem = Annotated[
    Path, typer.Option("-o", "--output", metavar="STEM", help="Writes STEM.jsonl, STEM.csv and the picture STEM.html.")
]
Keep = Annotated[
    Literal["best", "all", "none"],
    typer.Option("--keep", help="Whose checkpoints are kept, not recalibrated: STEM_0.5.ckpt for t = 0.5."),
]
Recalibrate = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:FUNCTION",
        help="Called with the state dict before the metric: to recompute BatchNorm's statistics.",
    ),
]
Grid = Annotated[int, typer.Option(min=2, metavar="N", help="Points along each axis.")]
Margin = Annotated[float, typer.Option(min=0, help="How far it goes beyond the models, as a share of their extent.")]
Directions = Annotated[int | None, typer.Option(min=1, max=2, help="How many directions (2).")]
Seed = Annotated[int | None, typer.Option(min=0, help="Of random directions (0).")]
Along = Annotated[
    list[str] | None,
    typer.Option(metavar="DELTA", help="A delta file, or a model that the direction leads to; repeat for a second."),
]
Trajectory = Annotated[
    list[str] | None,
    typer.Option(metavar="CKPT", help="A checkpoint of a path that ends at A, repeated in order; or 'runs/*.ckpt'."),
]
Reach = Annotated[
    float | None, typer.Option(help="How far to each side, in units of the direction (1); a path has --margin.")
]
PathMargin = Annotated[
    float | None, typer.Option(min=0, help="How far it goes beyond a path, as a share of its extent (0.2).")
]
Scales = Annotated[str, typer.Option(metavar="S,S,...", help="Standard deviations, in those of each tensor.")]
Seeds = Annotated[int, typer.Option(min=1, metavar="N", help="Draws of noise at each scale.")]
