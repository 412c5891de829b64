"""Options that several commands take."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from weightmath.cli import completion

if TYPE_CHECKING:
    from weightmath.recipe import Recipe

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="RECIPE | NAME=PATH...", help="A recipe, - for standard input; with -e the inputs: a=x.ckpt b=y.ckpt."
    ),
]
Expression = Annotated[
    list[str] | None,
    typer.Option(
        "-e",
        "--expression",
        metavar="TEXT",
        help="Compute this instead of a recipe; save it to --output, or without one show it; several are shown each.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Another value for a parameter.", autocompletion=completion.params
    ),
]
Input = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="NAME=PATH", help="Another path for an input.", autocompletion=completion.inputs),
]
Output = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--output",
        metavar="[NAME=]PATH",
        help="Another path for an output, named as in `save`.",
        autocompletion=completion.outputs,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        help="Worker threads; as many as processors, at most 8. Of more than 8, at most two a processor are started.",
    ),
]
Memory = Annotated[
    str | None, typer.Option("--memory", metavar="SIZE", help="Memory that the work may take: 512MB, 2GB, 1.5GiB.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text, errors included.")]
Section = Annotated[
    str | None, typer.Option("--section", metavar="NAME", help="The section, where it is not to be found by itself.")
]
Checkpoint = Annotated[Path, typer.Argument(metavar="CKPT", help="A checkpoint.")]
VariedRecipe = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe with `vary`.")]
Metric = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="COMMAND",
        help="How good a checkpoint is: 'python eval.py {checkpoint}', whose last line is a number or JSON; or "
        "module:function of a state dict, with --allow-code.",
    ),
]
Of = Annotated[
    list[str] | None,
    typer.Option("--of", metavar="NAME", help="Which of the metric's numbers counts; may be repeated."),
]
Goal = Annotated[Literal["max", "min"] | None, typer.Option("--goal", help="Whether more of it is better, or less.")]
AllowCode = Annotated[bool, typer.Option("--allow-code", help="Import a metric's module:function and run it here.")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, metavar="N", help="Evaluations at one time.")]
Keep = Annotated[
    Literal["best", "all", "none"] | None,
    typer.Option("--keep", help="Whose checkpoints are kept, as STEM_NAME; the best one's, where there is a metric."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the results table that is there.")]
Stem = Annotated[
    str | None, typer.Option("-o", "--output", metavar="STEM", help="The table, without its ending; as the recipe.")
]
All = Annotated[bool, typer.Option("--all", help="Print lists in full.")]


def recipe_of(
    words: list[str],
    expressions: list[str] | None,
    sets: list[str] | None,
    inputs: list[str] | None,
    outputs: list[str] | None,
) -> Recipe:
    """The recipe that a command line means, with what it changes. Fails with RecipeError."""
    from weightmath import recipe
    from weightmath.errors import RecipeError

    if not expressions:
        if len(words) != 1:
            hint = 'one at a time; or without a recipe: -e "a + 0.5 * (b - a)" a=x.ckpt b=y.ckpt -o out.ckpt'
            raise RecipeError(f"expected one recipe, not {len(words)}: {' '.join(words)}", hint=hint)
        read = recipe.load(words[0]) if words != ["-"] else _piped()
        return recipe.with_overrides(read, sets=sets or (), inputs=inputs or (), outputs=outputs or ())
    if outputs and len(outputs) > 1:
        raise RecipeError("an expression is saved to one output", where="-e", hint="-o out.ckpt")
    made = recipe.from_expression(expressions, words, outputs[0] if outputs else None)
    return recipe.with_overrides(made, sets=sets or (), inputs=inputs or ())


def _piped() -> Recipe:
    """The recipe that comes from standard input."""
    from weightmath import recipe
    from weightmath.errors import RecipeError

    if sys.stdin is None:
        raise RecipeError("standard input is closed", where="-", hint="weightmath run - < recipe.yaml")
    return recipe.read(sys.stdin.buffer, "-")


def check_force(force: bool, path: Path | None, option: str) -> None:
    """RecipeError where `--force` has no file to replace, since the option that names one is not given."""
    from weightmath.errors import RecipeError

    if force and path is None:
        raise RecipeError("--force replaces a file, and none is written", hint=f"{option} FILE, or leave it out")
