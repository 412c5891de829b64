"""Commands as functions, for notebooks: each returns the record that its command prints with `--json`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weightmath.checkpoint import open_checkpoint
from weightmath.difference import compare
from weightmath.job import Job, prepare
from weightmath.recipe.overrides import changes_of
from weightmath.reports.checkpoint import CheckpointReport, checkpoint_report
from weightmath.reports.difference import DiffReport, diff_report
from weightmath.reports.plan import PlanReport, plan_report
from weightmath.reports.run import RunReport, run_report
from weightmath.running import load
from weightmath.running import run as run_job
from weightmath.sizes import parse_size

Paths = Mapping[str, str | Path]


def run(
    recipe: str | Path,
    *,
    inputs: Paths | None = None,
    outputs: Paths | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    force: bool = False,
    **params: Any,
) -> RunReport:
    """Run a recipe: compute its vectors and save them as new checkpoints.

        report = wm.run("recipes/quickstart.yaml", strength=0.5, outputs={"merged.ckpt": "half.ckpt"})
        report.outputs[0].elements_changed, report.show, report.warnings

    Parameters
        params   other values for parameters of the recipe, of their types
        inputs   other paths for inputs, by name; `outputs` for outputs, named as in `save`. They are relative to the
                 current folder, those of the recipe to its own
        threads  worker threads; None: as many as there are processors, at most 8
        memory   what the work may take, in bytes or as "2GB"; None: as planned
        force    replace outputs that exist
    Fails as `save` does, and with RecipeError for a recipe that cannot be meant; no output appears then. After an
    interrupt, or a DiskError, the same call goes on from there.
    """
    started = time.monotonic()
    done = run_job(_job(recipe, params, inputs, outputs), threads=threads, memory=parse_size(memory), force=force)
    return run_report(done, time.monotonic() - started)


def plan(
    recipe: str | Path,
    *,
    inputs: Paths | None = None,
    outputs: Paths | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    force: bool = False,
    **params: Any,
) -> PlanReport:
    """What `run` would do with these arguments, without reading a tensor.

        wm.plan("recipes/quickstart.yaml", strength=0.5).bytes_written

    Where `run` would not start, since an output exists or memory is too small, `refusal` says why. Fails with
    RecipeError, KindError, LayoutError and CheckpointError for all else that is wrong.
    """
    return plan_report(_job(recipe, params, inputs, outputs), threads=threads, memory=parse_size(memory), force=force)


def inspect(path: str | Path, *, section: str | None = None, check: bool = False) -> CheckpointReport:
    """What a checkpoint holds: sections, the tensors of one, everything else. Nothing in the file is executed.

        [(one.name, one.shape, one.dtype) for one in wm.inspect("base.ckpt").tensors]

    Parameters
        section  whose tensors are listed; None: of the one that holds the weights
        check    read all bytes, and compare the file's checksums and the fingerprint that an output carries
    Fails with CheckpointError for a file that is no checkpoint, or has no such section.
    """
    return checkpoint_report(open_checkpoint(path), section, check=check)


def diff(first: str | Path, second: str | Path, *, section: str | None = None) -> DiffReport:
    """How the tensors of two checkpoints differ, the second against the first; what else they hold is not compared.

        wm.diff("base.ckpt", "merged.ckpt").relative_change

    `section` names the section of both; None: each one's own is found. Fails with CheckpointError for a file that is no
    checkpoint, and LayoutError where they have no tensor in common.
    """
    return diff_report(compare(Path(first), Path(second), section))


def _job(recipe: str | Path, params: Mapping[str, Any], inputs: Paths | None, outputs: Paths | None) -> Job:
    sets, paths, targets = (changes_of(given or {}) for given in (params, inputs, outputs))
    return prepare(load(recipe, sets=sets, inputs=paths, outputs=targets))
