"""The nesting in which PyTorch Lightning 2.6 saves a training run, written without Lightning.

Keys, key order and counters are those that its `Trainer` and `ModelCheckpoint` leave after the last epoch of automatic
optimisation with one optimizer and one scheduler; so are the names inside the zip (`archive/...`, from saving through a
buffer). A merge has to carry all of this over untouched; only `state_dict` holds weights.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

_VERSION = "2.6.5"
_CALLBACK = (
    "ModelCheckpoint{'monitor': 'val_acc', 'mode': 'max', 'every_n_train_steps': 0, 'every_n_epochs': 1, "
    "'train_time_interval': None}"
)


@dataclass(frozen=True)
class Run:
    """A finished training run: what Lightning would know of it.

    `train_batches` and `validation_batches` count one epoch; `validation_accuracies` holds one number per epoch.
    """

    network: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    train_batches: int
    validation_batches: int
    validation_accuracies: tuple[float, ...]
    hyper_parameters: dict[str, Any]

    @property
    def epochs(self) -> int:
        """Epochs that were trained."""
        return len(self.validation_accuracies)

    @property
    def steps(self) -> int:
        """Optimizer steps that were made."""
        return self.epochs * self.train_batches


def save(run: Run, path: Path) -> None:
    """Write the run as a checkpoint; the same run gives the same bytes."""
    buffer = io.BytesIO()
    torch.save(checkpoint(run, path.name), buffer)
    path.write_bytes(buffer.getvalue())


def checkpoint(run: Run, name: str) -> dict[str, Any]:
    """The whole nesting; `name` is the file name that the callback remembers as its last."""
    return {
        "epoch": run.epochs - 1,
        "global_step": run.steps,
        "pytorch-lightning_version": _VERSION,
        "state_dict": run.network.state_dict(),
        "loops": _loops(run),
        "callbacks": {_CALLBACK: _model_checkpoint(run, name)},
        "optimizer_states": [run.optimizer.state_dict()],
        "lr_schedulers": [run.scheduler.state_dict()],
        "hparams_name": "kwargs",
        "hyper_parameters": run.hyper_parameters,
    }


def _model_checkpoint(run: Run, name: str) -> dict[str, Any]:
    scores = run.validation_accuracies
    best = scores.index(max(scores))
    best_path = f"checkpoints/epoch={best}-step={(best + 1) * run.train_batches}.ckpt"
    return {
        "monitor": "val_acc",
        "best_model_score": torch.tensor(scores[best]),
        "best_model_path": best_path,
        "current_score": torch.tensor(scores[-1]),
        "dirpath": "checkpoints",
        "best_k_models": {best_path: torch.tensor(scores[best])},
        "kth_best_model_path": best_path,
        "kth_value": torch.tensor(scores[best]),
        "last_model_path": f"checkpoints/{name}",
    }


def _loops(run: Run) -> dict[str, Any]:
    return {
        "fit_loop": _fit_loop(run),
        "validate_loop": {"state_dict": {}, "batch_progress": _batches(0, 0, is_last_batch=False)},
        "test_loop": {"state_dict": {}, "batch_progress": _batches(0, 0, is_last_batch=False)},
        "predict_loop": {"state_dict": {}, "batch_progress": _batches(0, 0)},
    }


def _fit_loop(run: Run) -> dict[str, Any]:
    steps, batches, epochs = run.steps, run.train_batches, run.epochs
    # The last epoch counts as completed only after its checkpoint is written.
    epoch_counter = {"ready": epochs, "completed": epochs - 1, "started": epochs, "processed": epochs}
    return {
        "state_dict": {},
        "epoch_loop.state_dict": {"_batches_that_stepped": steps},
        "epoch_loop.batch_progress": _batches(steps, batches, is_last_batch=True),
        "epoch_loop.scheduler_progress": _progress(epochs, 1, "ready", "completed"),
        "epoch_loop.automatic_optimization.state_dict": {},
        "epoch_loop.automatic_optimization.optim_progress": {
            "optimizer": {
                "step": _progress(steps, batches, "ready", "completed"),
                "zero_grad": _progress(steps, batches, "ready", "completed", "started"),
            }
        },
        "epoch_loop.manual_optimization.state_dict": {},
        "epoch_loop.manual_optimization.optim_step_progress": _progress(0, 0, "ready", "completed"),
        "epoch_loop.val_loop.state_dict": {},
        "epoch_loop.val_loop.batch_progress": _batches(
            run.validation_batches, run.validation_batches, is_last_batch=True
        ),
        "epoch_progress": {"total": epoch_counter, "current": dict(epoch_counter)},
    }


def _batches(total: int, current: int, **last: bool) -> dict[str, Any]:
    return {**_progress(total, current, "ready", "completed", "started", "processed"), **last}


def _progress(total: int, current: int, *states: str) -> dict[str, Any]:
    return {"total": dict.fromkeys(states, total), "current": dict.fromkeys(states, current)}
