"""Tensors that no one trains: which names they have, and what becomes of them in a merge.

Averaging BatchNorm statistics is customary; adding noise to them or extrapolating them makes negative variances and a model
that yields NaN. So by default they follow the formula where it is an average, and stay the template's elsewhere.
"""

from __future__ import annotations

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
_STATISTICS = Patterns(("*running_mean", "*running_var"))


def is_buffer(name: str) -> bool:
    """Whether a tensor of that name is a buffer that no one trains."""
    return _KNOWN.matches(name)


def is_batch_statistic(name: str) -> bool:
    """Whether it is a running mean or variance of BatchNorm, which goes stale when weights change."""
    return _STATISTICS.matches(name)
