"""The commands, registered. Nothing heavy is imported here or above: `--help` answers at once."""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Callable, Sequence
from copy import copy
from typing import Annotated, Any

import typer

from weightmath import __version__
from weightmath.cli.align import align
from weightmath.cli.calibrate import calibrate
from weightmath.cli.check import check
from weightmath.cli.clean import clean
from weightmath.cli.compare import compare
from weightmath.cli.delta import delta
from weightmath.cli.diff import diff
from weightmath.cli.fingerprint import fingerprint
from weightmath.cli.functions import functions
from weightmath.cli.import_ import import_
from weightmath.cli.inspect import inspect
from weightmath.cli.landscape import landscape
from weightmath.cli.lock import lock
from weightmath.cli.methods import methods
from weightmath.cli.new import new
from weightmath.cli.plan import plan
from weightmath.cli.provenance import provenance
from weightmath.cli.report import report
from weightmath.cli.run import run
from weightmath.cli.schema import schema
from weightmath.cli.search import search
from weightmath.cli.soup import soup
from weightmath.cli.sweep import sweep
from weightmath.cli.verify import verify

app = typer.Typer(
    name="weightmath",
    help="Arithmetic on model weights: recipes over PyTorch checkpoints, streamed, exact, safe.",
    epilog="Example:  weightmath run recipe.yaml --set strength=0.7",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Arithmetic on model weights: recipes over PyTorch checkpoints, streamed, exact, safe."""


def register(command: Callable[..., Any], *examples: str) -> None:
    """Add a command, called like its function, whose help ends with examples."""
    epilog = "\n".join(("\b", "Example:" if len(examples) == 1 else "Examples:", *(f"  {line}" for line in examples)))
    app.command(command.__name__.rstrip("_"), epilog=epilog)(command)


register(
    run,
    "weightmath run recipe.yaml --set strength=0.7 --output merged.ckpt",
    'weightmath run -e "a + 0.5 * (b - a)" a=x.ckpt b=y.ckpt -o out.ckpt',
)
register(
    sweep,
    "weightmath sweep wise_ft.yaml --jobs 4",
    "weightmath sweep wise_ft.yaml --metric 'python eval.py {checkpoint}' --of accuracy --keep all -o results/wise",
)
register(
    search,
    "weightmath search mixture.yaml --budget 100 --jobs 4",
    "weightmath search mixture.yaml --budget 200 --sampler cma --seed 1 --keep none --resume",
)
register(
    soup,
    "weightmath soup runs/*.ckpt --metric 'python eval.py {checkpoint}' -o soup.ckpt",
    "weightmath soup runs/*.ckpt --base base.ckpt --scores scores.json --uniform --top 5 -o soup.ckpt",
)
register(plan, "weightmath plan recipe.yaml --input base=other.ckpt")
register(calibrate, "weightmath calibrate", "weightmath calibrate /data/models")
register(inspect, "weightmath inspect model.ckpt --all")
register(diff, "weightmath diff base.ckpt merged.ckpt")
register(
    compare,
    "weightmath compare fold*.pt",
    "weightmath compare chat.ckpt code.ckpt --base base.ckpt --density 0.1 --csv tensors.csv",
)
register(
    report,
    "weightmath report sweep.jsonl plane.jsonl comparison.json -o report.html",
    "weightmath report plane.jsonl --svg figures/",
)
register(
    align,
    "weightmath align a.ckpt b.ckpt -o b-aligned.ckpt",
    "weightmath align a/ b/ -o aligned/ --spec vit --heads 12 --metric 'python eval.py {checkpoint}'",
)
register(fingerprint, "weightmath fingerprint model.ckpt")
register(provenance, "weightmath provenance merged.ckpt", "weightmath provenance merged.ckpt --recipe > again.yaml")
app.add_typer(delta)
app.add_typer(landscape)
register(
    verify,
    "weightmath verify merged.ckpt --input base=models/base.ckpt",
    "weightmath verify merged.ckpt --sample 1%",
)
register(lock, "weightmath lock recipe.yaml", "weightmath lock recipe.yaml --sha256")
register(functions, "weightmath functions keep_largest")
register(methods, "weightmath methods ties")
register(new, "weightmath new", "weightmath new ties", "weightmath new diffusion/block_weights -o merge.yaml")
register(import_, "weightmath import mergekit.yml -o merge.yaml", "weightmath import mergekit.yml --like mergekit")
register(check, "weightmath check recipes/*.yaml")
register(clean, "weightmath clean", "weightmath clean merged.ckpt", "weightmath clean models/ --dry-run")
register(schema, "weightmath schema > recipe.schema.json")


def main() -> None:
    """The programs `weightmath` and `wm`."""
    # Modules, layouts and plans are many small objects that stay: the default looks through them some hundred times.
    gc.set_threshold(100_000)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a letter shows "?" in its place.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    _asked(sys.argv[1:2])()


def _asked(first: Sequence[str]) -> typer.Typer:
    """The program with the one command that the first word names, or with all: options cost a moment to make."""
    commands = [command for command in app.registered_commands if command.name in first]
    if not commands:
        return app
    narrowed = copy(app)
    narrowed.registered_commands, narrowed.registered_groups = commands, []
    return narrowed
