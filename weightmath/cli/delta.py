"""`weightmath delta`: make, apply, inspect, compare and compose fine-tune deltas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from weightmath.cli import options
from weightmath.cli.allocation import keep_freed_memory
from weightmath.cli.answer import answer
from weightmath.cli.failures import FAILED, REFUSED, failing
from weightmath.errors import counted, listed

if TYPE_CHECKING:
    from weightmath.delta.options import Options

_SHOWN = 12

Base = Annotated[Path, typer.Argument(metavar="BASE", help="The checkpoint that the delta starts from.")]
Out = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The file to write.")]
AnyBase = Annotated[
    bool,
    typer.Option(
        "--any-base", help="Accept another base with the same names and shapes; what was learned on one may not fit it."
    ),
]
As = Annotated[
    str | None,
    typer.Option("--as", metavar="KIND", help="exact, dense, sparse, int8, sign, low-rank or auto (with --max-error)."),
]
Density = Annotated[float | None, typer.Option(help="sparse: the share of each tensor that is kept.")]
Threshold = Annotated[float | None, typer.Option(help="sparse: keep what is at least this large.")]
Rank = Annotated[int | None, typer.Option(help="low-rank: columns at most.")]
Energy = Annotated[float | None, typer.Option(help="low-rank: share of a matrix's sum of squares.")]
DType = Annotated[str | None, typer.Option(help="Stored numbers: float32, float16 or bfloat16.")]
MaxError = Annotated[float | None, typer.Option(help="Per tensor the smallest way with at most this relative error.")]

delta = typer.Typer(
    name="delta",
    help="Fine-tune deltas: what leads from a base to a fine-tune, exact or compact, as a file by itself.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@delta.command(epilog="Example:  weightmath delta make base.ckpt tuned.ckpt -o tuned.delta --as int8")
def make(
    base: Base,
    tuned: Annotated[Path, typer.Argument(metavar="TUNED", help="The fine-tune.")],
    output: Out,
    kind: As = None,
    density: Density = None,
    threshold: Threshold = None,
    rank: Rank = None,
    energy: Energy = None,
    dtype: DType = None,
    max_error: MaxError = None,
    keep: Annotated[str, typer.Option(help="exact: all of the tuned file, or its weights alone.")] = "all",
    fit: Annotated[bool, typer.Option("--fit", help="Compare the tensors and leading rows that both have.")] = False,
    section: options.Section = None,
    threads: options.Threads = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Write what leads from BASE to TUNED.

    exact (the default): applying it gives TUNED back to the byte, with all that is in it. The other kinds hold the
    section's numbers, with the relative error that `delta info` shows; with --max-error alone, the smallest that meets
    it.
    """
    with failing(REFUSED, as_json=json):
        from weightmath.checkpoint import open_checkpoint
        from weightmath.delta.sides import check_no_delta
        from weightmath.delta.stages import check_is_one_file
        from weightmath.delta.writing import check_free
        from weightmath.errors import RecipeError

        if keep not in ("all", "weights"):
            raise RecipeError(f"`{keep}` cannot be kept", where="--keep", hint="all, or weights")
        wish = _options(kind, density, threshold, rank, energy, dtype, max_error)
        if keep == "weights" and wish.kind != "exact":
            fact = "is for exact deltas: the other kinds hold weights alone"
            raise RecipeError(fact, where="--keep", hint="leave it out")
        start, end = (open_checkpoint(path).section(section) for path in (base, tuned))
        check_no_delta(start)
        check_no_delta(end)
        if wish.kind == "exact" and keep == "all":
            for side in (start, end):
                check_is_one_file(side.checkpoint)
        check_free(output, [base, tuned], force=force)
    with failing(FAILED, as_json=json):
        from weightmath.delta import api as deltas
        from weightmath.engine.memory import threads_of

        keep_freed_memory()
        kept = cast(Literal["all", "weights"], keep)
        deltas.make(start, end, output, wish, keep=kept, fit=fit, threads=threads_of(threads), force=force)
        from weightmath.cli.delta_page import show

        show(output, False, json)


def _options(
    kind: str | None,
    density: float | None,
    threshold: float | None,
    rank: int | None,
    energy: float | None,
    dtype: str | None,
    max_error: float | None,
) -> Options:
    from weightmath.delta.options import Kind, Options

    chosen = kind or ("auto" if max_error is not None else "exact")
    return Options(cast(Kind, chosen), density, threshold, rank, energy, dtype, max_error)


@delta.command(epilog="Example:  weightmath delta apply base.ckpt v1.delta v2.delta -o v2.ckpt")
def apply(
    base: Base,
    deltas: Annotated[list[Path], typer.Argument(metavar="DELTA...", help="Delta files, in their order.")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="PATH", help="The file, or folder/, to write.")],
    scale: Annotated[list[float] | None, typer.Option(help="Factor of every delta; or one each, repeated.")] = None,
    any_base: AnyBase = False,
    section: options.Section = None,
    threads: options.Threads = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Write BASE with deltas applied: one, a chain (v1 to v2 to v3) or a stack on one base, in one pass.

    Exact deltas give the tuned file back, in its own container, its sha256 compared; they need the base's file as it
    was. The others add scale * delta to the base. A delta of another base is refused. Torch is not needed.
    """
    with failing(REFUSED, as_json=json):
        from weightmath.checkpoint import open_checkpoint
        from weightmath.delta.api import open_delta
        from weightmath.delta.api import plan as planned
        from weightmath.delta.writing import check_free
        from weightmath.engine.memory import threads_of

        files = [open_delta(path) for path in deltas]
        scales = (scale or [1.0]) * (len(files) if len(scale or [1.0]) == 1 else 1)
        opened = open_checkpoint(base).section(section)
        if not output.endswith("/"):
            check_free(Path(output), [base, *deltas], force=force)
        keep_freed_memory()
        plan = planned(opened, files, output, scales=scales, any_base=any_base, threads=threads_of(threads))
    with failing(FAILED, as_json=json):
        from weightmath.cli.quantities import size_text
        from weightmath.plain import as_json

        done = plan.write(threads_of(threads), force=force)
        if json:
            print(as_json({"path": str(done.path), "bytes": done.size, "whole_file": done.whole}))
        else:
            how = "the tuned file to the byte, sha256 compared" if done.whole else "the base with its weights changed"
            print(f"{done.path}: {size_text(done.size)}, {how}")


@delta.command(epilog="Example:  weightmath delta info tuned.delta --all")
def info(
    path: Annotated[Path, typer.Argument(metavar="DELTA", help="A delta file.")],
    everything: options.All = False,
    json: options.Json = False,
) -> None:
    """Show what a delta file says of itself: its base, its kind, and size and error by tensor."""
    with failing(REFUSED, as_json=json):
        from weightmath.cli.delta_page import show

        show(path, everything, json)


@delta.command(epilog="Example:  weightmath delta compare base.ckpt chat.delta code.delta")
def compare(
    base: Base,
    first: Annotated[Path, typer.Argument(metavar="A", help="A delta file.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    any_base: AnyBase = False,
    everything: options.All = False,
    section: options.Section = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Compare two deltas of one base: lengths, cosine, agreement of signs and overlap; by tensor and over all."""
    with failing(REFUSED, as_json=json):
        from weightmath.checkpoint import open_checkpoint
        from weightmath.cli.delta_page import show_comparison
        from weightmath.delta.api import compare as compared
        from weightmath.delta.api import open_delta
        from weightmath.engine.memory import threads_of
        from weightmath.reports.delta import comparison_report

        sides = open_delta(first), open_delta(second)
        opened = open_checkpoint(base).section(section)
        found = compared(opened, *sides, any_base=any_base, threads=threads_of(threads))
        answer(comparison_report(first, second, found), show_comparison, everything, as_json=json)


@delta.command(epilog="Example:  weightmath delta compose v1.delta v2.delta -o v1-2.delta --base base.ckpt")
def compose(
    first: Annotated[Path, typer.Argument(metavar="A", help="The delta from the base to v1.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The one from v1 to v2, or of the same base.")],
    output: Out,
    base: Annotated[Path | None, typer.Option(metavar="BASE", help="The base, for exact deltas and integers.")] = None,
    kind: As = None,
    density: Density = None,
    threshold: Threshold = None,
    rank: Rank = None,
    energy: Energy = None,
    dtype: DType = None,
    max_error: MaxError = None,
    threads: options.Threads = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Write one delta that does what A and then B do.

    Numbers are added. Integers, which all kinds keep exactly, become what applying both makes of them: the later value
    holds. Exact deltas and integers need their base at hand.
    """
    with failing(REFUSED, as_json=json):
        from weightmath.checkpoint import open_checkpoint
        from weightmath.delta.api import open_delta
        from weightmath.delta.writing import check_free

        choosing = (kind, density, threshold, rank, energy, dtype, max_error)
        wish = None if choosing == (None,) * 7 else _options(*choosing)
        sides = open_delta(first), open_delta(second)
        opened = open_checkpoint(base).section(sides[0].delta.base.section) if base else None
        check_free(output, [path for path in (first, second, base) if path], force=force)
    with failing(FAILED, as_json=json):
        from weightmath.delta.api import compose as composed
        from weightmath.engine.memory import threads_of

        composed(*sides, output, wish, base=opened, threads=threads_of(threads), force=force)
        from weightmath.cli.delta_page import show

        show(output, False, json)


@delta.command("from-lora", epilog="Example:  weightmath delta from-lora adapter/ base.ckpt -o skill.delta")
def from_lora(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="A PEFT folder, or a file with kohya's names.")],
    base: Base,
    output: Out,
    section: options.Section = None,
    threads: options.Threads = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Write a LoRA adapter as a low-rank delta of BASE, to bake in with `delta apply` or to use in recipes."""
    with failing(REFUSED, as_json=json):
        from weightmath.checkpoint import open_checkpoint
        from weightmath.delta.adapter import open_adapter
        from weightmath.delta.writing import check_free
        from weightmath.errors import CheckpointError

        if not adapter.exists():
            raise CheckpointError("no such file or folder", where=str(adapter))
        opened = open_checkpoint(base).section(section)
        open_adapter(adapter, opened)
        check_free(output, [base], force=force)
    with failing(FAILED, as_json=json):
        from weightmath.cli.delta_page import show
        from weightmath.delta.api import from_adapter
        from weightmath.engine.memory import threads_of

        from_adapter(adapter, opened, output, threads=threads_of(threads), force=force)
        show(output, False, json)


@delta.command("to-lora", epilog="Example:  weightmath delta to-lora skill.delta -o adapter/")
def to_lora(
    path: Annotated[Path, typer.Argument(metavar="DELTA", help="A low-rank delta file.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="PATH", help="A folder; FILE.safetensors: as kohya.")
    ],
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Write a low-rank delta as a LoRA adapter: a PEFT folder, or a file as diffusion programs read it (kohya's names).

    Tensors that are no products are left out, and named.
    """
    with failing(REFUSED, as_json=json):
        from weightmath.delta.adapter_writing import check_free
        from weightmath.delta.api import open_delta

        opened = open_delta(path)
        check_free(output, opened, force=force)
    with failing(FAILED, as_json=json):
        from weightmath.cli.page import Page
        from weightmath.delta.api import to_adapter
        from weightmath.plain import as_json

        left_out = to_adapter(opened, output, force=force)
        if json:
            print(as_json({"path": str(output), "left_out": left_out}))
            return
        page = Page()
        page.line(f"{output}: a LoRA adapter, {'as kohya names it' if output.suffix == '.safetensors' else 'for peft'}")
        if left_out:
            tensors = counted(len(left_out), "tensor")
            page.warnings([f"an adapter cannot hold {tensors} of the delta: {listed(left_out, _SHOWN)}"])
