"""mergekit's merge methods as its configurations use them: their parameters and how many models they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Method:
    """One method.

    shared   parameters of the whole merge and their defaults, None where one must be given; truth values are 1 and 0
    own      parameters of each model
    base     "required", "optional", or "counted": then `base_model` is one of the models
    least, most  the number of models besides the base
    idle     parameters that mergekit accepts and that do not change the result, with the reason
    """

    shared: Mapping[str, float | None] = field(default_factory=dict)
    own: Mapping[str, float | None] = field(default_factory=dict)
    base: str = "required"
    least: int = 1
    most: int | None = None
    idle: Mapping[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> set[str]:
        """All parameters that it accepts."""
        return {*self.shared, *self.own, *self.idle}


_ONLY_MEMORY = {"int8_mask": "it saves mergekit memory, and does not change the result"}
_ROUNDS = "the iteration is solved here to the last digit"


def _task_vectors(*, normalize: bool, rescale: bool = False, **own: float) -> Method:
    shared = {"normalize": float(normalize), "rescale": float(rescale), "lambda": 1.0}
    return Method(shared, {"weight": None, "density": 1.0, **own}, idle=_ONLY_MEMORY)


METHODS: Mapping[str, Method] = {
    "linear": Method({"normalize": 1.0}, {"weight": None}, "counted"),
    "slerp": Method({"t": None}, most=1),
    "nuslerp": Method({"nuslerp_row_wise": 0.0, "nuslerp_flatten": 1.0}, {"weight": None}, "optional", 2, 2),
    "multislerp": Method(
        {"normalize_weights": 1.0},
        {"weight": None},
        "optional",
        idle={"eps": "nothing is added to the lengths here"},
    ),
    "karcher": Method(base="counted", idle={"max_iter": _ROUNDS, "tol": _ROUNDS}),
    "passthrough": Method({}, {"scale": 1.0}, "counted", most=1),
    "task_arithmetic": Method(
        {"normalize": 0.0, "lambda": 1.0},
        {"weight": None},
        idle={**_ONLY_MEMORY, **dict.fromkeys(("density", "rescale"), "task arithmetic drops nothing")},
    ),
    "ties": _task_vectors(normalize=True),
    "dare_linear": _task_vectors(normalize=False, rescale=True),
    "dare_ties": _task_vectors(normalize=False, rescale=True),
    "della": _task_vectors(normalize=True, rescale=True, epsilon=0.15),
    "della_linear": _task_vectors(normalize=False, rescale=True, epsilon=0.15),
    "breadcrumbs": _task_vectors(normalize=False, gamma=0.01),
    "breadcrumbs_ties": _task_vectors(normalize=False, gamma=0.01),
    "sce": Method({"select_topk": 1.0}, idle=_ONLY_MEMORY),
    "model_stock": Method({"filter_wise": 0.0}, least=2),
    "nearswap": Method({"t": None}, most=1),
    "arcee_fusion": Method(most=1),
    "ram": Method({"epsilon": 1e-5}),
    "ramplus_tl": Method({"r": 0.1, "alpha": 0.2, "epsilon": 1e-5}),
}
PARAMETERS = sorted(set().union(*(method.parameters for method in METHODS.values())))
