"""Tensors that no one trains: which names they have, and what becomes of them in a merge.

Averaging BatchNorm statistics is customary; adding noise to them or extrapolating them makes negative variances and a
model that yields NaN. So by default they follow the formula where every output is an average, or a difference, which
gives back the whole model when it is added, and stay the template's elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

from weightmath.layout import Patterns

BUFFERS = (
    "*running_mean",  # BatchNorm
    "*running_var",
    "*.inv_freq",  # rotary embeddings
    "*.freqs_cis",
    "*relative_position_index",  # Swin
    "*alphas_cumprod*",  # diffusion schedules
    "betas",
    "*.betas",
    "*log_one_minus_alphas_cumprod",
    "*posterior_variance",
    "*posterior_log_variance_clipped",
    "*posterior_mean_coef?",
    "*sqrt_recip*_alphas_cumprod",
    "*logvar",
)
"""Floating-point buffers by name; `buffers:` of a recipe decides otherwise per pattern."""

_KNOWN = Patterns(BUFFERS)
_STATISTICS = ("running_mean", "running_var")


def is_buffer(name: str) -> bool:
    """Whether a tensor of that name is a buffer that no one trains."""
    return _KNOWN.matches(name)


def is_batch_statistic(name: str) -> bool:
    """Whether it is a running mean or variance of BatchNorm, which goes stale when weights change."""
    return name.endswith(_STATISTICS)


class Policies:
    """What becomes of each buffer: `merge` or `template`, by the first pattern of a recipe's `buffers` that matches.

    Buffers that no pattern matches get the default. A pattern may name tensors that are not on the list, but `*` means
    those of the list, not the whole model.
    """

    def __init__(self, table: Mapping[str, str], default: str) -> None:
        self._patterns = Patterns(list(table))
        self._words = list(table.values())
        self._default = default

    def is_given(self, name: str) -> bool:
        """Whether a pattern decides about a tensor."""
        return self._given(name) is not None

    def policy(self, name: str) -> str:
        """`merge` or `template`; `merge` for what is no buffer."""
        return self._given(name) or ("merge" if self._default == "merge" or not is_buffer(name) else self._default)

    def _given(self, name: str) -> str | None:
        number = self._patterns.first(name)
        if number is None or (self._patterns.patterns[number] == "*" and not is_buffer(name)):
            return None
        return self._words[number]
