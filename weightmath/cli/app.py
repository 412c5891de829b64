"""The commands, each in a module of its name. Nothing heavy is imported here or there: `--help` answers at once."""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from weightmath import __version__
from weightmath.cli.failures import REFUSED, TERMINATED, tell
from weightmath.cli.signals import TerminatedError
from weightmath.errors import WeightmathError

# Click's, which typer brings along and does not name by itself.
_UsageError: Any = typer.BadParameter.__base__
# In the order of `--help`, with examples that end its page; the pages of a group have their own.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "run": (
        "weightmath run recipe.yaml --set strength=0.7 --output merged.ckpt",
        'weightmath run -e "a + 0.5 * (b - a)" a=x.ckpt b=y.ckpt -o out.ckpt',
        "weightmath run -e \"cosine(a, b, scope='layer')\" a=x.ckpt b=y.ckpt",
    ),
    "sweep": (
        "weightmath sweep wise_ft.yaml --jobs 4",
        "weightmath sweep wise_ft.yaml --metric 'python eval.py {checkpoint}' --of accuracy --keep all -o results/wise",
    ),
    "search": (
        "weightmath search mixture.yaml --budget 100 --jobs 4",
        "weightmath search mixture.yaml --budget 200 --sampler cma --seed 1 --keep none --resume",
    ),
    "soup": (
        "weightmath soup runs/*.ckpt --metric 'python eval.py {checkpoint}' -o soup.ckpt",
        "weightmath soup runs/*.ckpt --base base.ckpt --scores scores.json --uniform --top 5 -o soup.ckpt",
    ),
    "plan": ("weightmath plan recipe.yaml --input base=other.ckpt",),
    "calibrate": (
        "weightmath calibrate",
        "weightmath calibrate /data/models",
    ),
    "inspect": ("weightmath inspect model.ckpt --all",),
    "diff": ("weightmath diff base.ckpt merged.ckpt",),
    "compare": (
        "weightmath compare fold*.pt",
        "weightmath compare chat.ckpt code.ckpt --base base.ckpt --density 0.1 --csv tensors.csv",
    ),
    "report": (
        "weightmath report sweep.jsonl plane.jsonl comparison.json -o report.html",
        "weightmath report plane.jsonl --svg figures/",
    ),
    "align": (
        "weightmath align a.ckpt b.ckpt -o b-aligned.ckpt",
        "weightmath align a/ b/ -o aligned/ --spec vit --heads 12 --metric 'python eval.py {checkpoint}'",
    ),
    "fingerprint": ("weightmath fingerprint model.ckpt",),
    "provenance": (
        "weightmath provenance merged.ckpt",
        "weightmath provenance merged.ckpt --recipe > again.yaml",
    ),
    "delta": (),
    "landscape": (),
    "verify": (
        "weightmath verify merged.ckpt --input base=models/base.ckpt",
        "weightmath verify merged.ckpt --sample 1%",
    ),
    "lock": (
        "weightmath lock recipe.yaml",
        "weightmath lock recipe.yaml --sha256",
    ),
    "functions": ("weightmath functions keep_largest",),
    "methods": ("weightmath methods ties",),
    "new": (
        "weightmath new",
        "weightmath new ties",
        "weightmath new diffusion/block_weights -o merge.yaml",
    ),
    "import_": (
        "weightmath import mergekit.yml -o merge.yaml",
        "weightmath import mergekit.yml --like mergekit",
    ),
    "check": ("weightmath check recipes/*.yaml",),
    "clean": (
        "weightmath clean",
        "weightmath clean merged.ckpt",
        "weightmath clean models/ --dry-run",
    ),
    "schema": ("weightmath schema > recipe.schema.json",),
}


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Arithmetic on model weights: recipes over PyTorch checkpoints, streamed, exact, safe."""


class _Program(TyperGroup):
    """The program: where `--json` is among the arguments, what is wrong with them is told as all errors are."""

    def main(self, args: Sequence[str] | None = None, **how: Any) -> Any:  # type: ignore[override]
        given = sys.argv[1:] if args is None else list(args)
        if "--json" not in given:
            return super().main(args=given, **how)
        try:
            code = super().main(args=given, **how, standalone_mode=False)
        except _UsageError as error:
            path = error.ctx.command_path if error.ctx is not None else "weightmath"
            told = WeightmathError(error.format_message().removesuffix("."), where=path, hint=f"{path} --help")
            tell(told, as_json=True)
            code = REFUSED
        sys.exit(code or 0)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TerminatedError:  # outside of what `failing` guards; typer would take it for Ctrl-C
            raise typer.Exit(TERMINATED) from None


def program(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The program with these commands: to import all of them, and to make their options, takes 15 ms."""
    app = typer.Typer(
        name="weightmath",
        cls=_Program,
        help="Arithmetic on model weights: recipes over PyTorch checkpoints, streamed, exact, safe.",
        epilog="Example:  weightmath run recipe.yaml --set strength=0.7",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(about)
    for name in names:
        command = getattr(import_module(f"weightmath.cli.{name}"), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command)
        else:
            app.command(_word(name), epilog=_epilog(COMMANDS[name]))(command)
    return app


def _word(name: str) -> str:
    """What users call a command: a module cannot be called `import`."""
    return name.rstrip("_")


def _epilog(examples: tuple[str, ...]) -> str:
    return "\n".join(("\b", "Example:" if len(examples) == 1 else "Examples:", *(f"  {line}" for line in examples)))


def main() -> None:
    """The programs `weightmath` and `wm`."""
    # Modules, layouts and plans are many small objects that stay: the default looks through them some hundred times.
    gc.set_threshold(100_000)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a letter shows "?" in its place.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    asked = [name for name in COMMANDS if _word(name) in sys.argv[1:2]]
    program(asked or COMMANDS)()
