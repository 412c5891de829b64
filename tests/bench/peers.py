"""What others do with the same models: mergekit, sd-mecha, and the few lines that a guide to merging shows.

Each runs in a process of its own, under the interpreter that `--peers` names, and only where its package is installed
there; none is a requirement of the tests. Their numbers include their imports, as their users' waits do.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import Program
from tests.bench.workload import Models

Arguments = Callable[[Models, Path], Sequence[str]]
_VERSION = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"


@dataclass(frozen=True, eq=False)
class Peer:
    """A program that can do some of the cases.

    package   whose version is shown; without it, the peer is left out
    cases     by a case's name: what makes its arguments from the models and the output's path, writing what it needs
    suffix    of what it writes
    """

    name: str
    package: str
    cases: dict[str, Arguments]
    suffix: str = ".safetensors"

    def version(self, python: str) -> str | None:
        """The version that is installed for an interpreter; None where it is not."""
        command = [python, "-c", _VERSION, self.package]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() or None

    def program(self, case: str, models: Models, python: str) -> Program:
        """Its program for a case that it knows."""
        output = models.folder / f"{case} {self.name}{self.suffix}"
        return Program([python, *self.cases[case](models, output)], (output,))


# --- the guide's own numpy code: everything in one vector, all at once

_GUIDE = """
import sys, numpy, torch
weights, paths = [0.5, 0.3, 0.2], sys.argv[2:]
models = [torch.load(path)["state_dict"] for path in paths]
vectors = [numpy.concatenate([t.numpy().astype("float32").ravel() for t in model.values()]) for model in models]
merged = sum(w * v for w, v in zip(weights, vectors))
start, out = 0, {}
for name, tensor in models[0].items():
    piece = merged[start : start + tensor.numel()].reshape(tensor.shape)
    out[name], start = torch.from_numpy(piece).to(tensor.dtype), start + tensor.numel()
torch.save({"state_dict": out}, sys.argv[1])
"""


def _guide(models: Models, output: Path) -> Sequence[str]:
    return ["-c", _GUIDE, str(output), *(str(models.path(i)) for i in range(3))]


# --- mergekit-pytorch: in 0.1.5 it lists the names of a nested .ckpt and then fails to find them, so safetensors

_MERGEKIT = "from mergekit.scripts.merge_raw_pytorch import main; main()"


def _mergekit(config: str) -> Arguments:
    def arguments(models: Models, output: Path) -> Sequence[str]:
        path = output.with_suffix(".yaml")
        path.write_text(config.format(*(models.path(i, "safetensors") for i in range(4))))
        return ["-c", _MERGEKIT, str(path), str(output), "--quiet", "--async-write", "--num-threads", "2"]

    return arguments


_MERGEKIT_AVERAGE = """
merge_method: linear
models:
  - {{model: {0}, parameters: {{weight: 0.5}}}}
  - {{model: {1}, parameters: {{weight: 0.3}}}}
  - {{model: {2}, parameters: {{weight: 0.2}}}}
dtype: float32
out_dtype: float16
"""

_MERGEKIT_SPARSE = """
base_model: {0}
models: [{{model: {0}}}, {{model: {1}}}, {{model: {2}}}, {{model: {3}}}]
parameters: {{density: 0.2, weight: 1.0}}
dtype: float32
out_dtype: float16
merge_method: """


# --- sd-mecha: reads and writes safetensors only

_MECHA = """
import sys, sd_mecha
output, *paths = sys.argv[1:]
models = [sd_mecha.model(path) for path in paths]
sd_mecha.merge({recipe}, output=output)
"""


def _mecha(recipe: str, count: int) -> Arguments:
    def arguments(models: Models, output: Path) -> Sequence[str]:
        paths = (str(models.path(i, "safetensors")) for i in range(count))
        return ["-c", _MECHA.format(recipe=recipe), str(output), *paths]

    return arguments


_MECHA_AVERAGE = "sd_mecha.weighted_sum(sd_mecha.weighted_sum(models[0], models[1], alpha=0.375), models[2], alpha=0.2)"
# Not its `add_difference_ties`, which fails in 1.1.8: it asks a node for a merge space that is not known yet.
_MECHA_TIES = "models[0] + sd_mecha.ties_sum(*[m - models[0] for m in models[1:]], k=0.2, vote_sgn=True)"

PEERS = (
    Peer("numpy guide", "numpy", {"average of 3": _guide, "100,000 tensors": _guide}, ".ckpt"),
    Peer(
        "mergekit",
        "mergekit",
        {
            "average of 3": _mergekit(_MERGEKIT_AVERAGE),
            "ties tensor": _mergekit(f"{_MERGEKIT_SPARSE}ties"),
            "dare": _mergekit(f"{_MERGEKIT_SPARSE}dare_linear"),
        },
    ),
    Peer("sd-mecha", "sd-mecha", {"average of 3": _mecha(_MECHA_AVERAGE, 3), "ties tensor": _mecha(_MECHA_TIES, 4)}),
)
