"""Paired tests and intervals on arrays of differences, one difference a repeat.

With 6 to 20 repeats the paired t interval covers what it says. The sign-flip permutation test needs no normal
distribution, but its smallest two-sided p is 2 / 2**n: 0.031 at 6 repeats, 0.063 at 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from augment.errors import ConfigError

Values = Sequence[float] | NDArray[np.float64]
ENUMERATED = 16  # repeats up to which all 2**n sign flips are counted
DRAWS = 20_000  # random sign flips above that
TIE = 1e-9  # of the sum of absolute differences: sums closer than this differ by rounding only


def paired_t_interval(differences: Values, confidence: float = 0.95) -> tuple[float, float]:
    """(low, high) of Student's t interval for the mean of n differences; identical differences d give (d, d).

    Raises `ConfigError` with fewer than 2 differences or if one is not finite.
    """
    from scipy.stats import t  # scipy.stats takes a second to import

    d = _checked(differences, fewest=2)
    if np.ptp(d) == 0:
        return float(d[0]), float(d[0])
    half = float(t.ppf((1 + confidence) / 2, len(d) - 1)) * d.std(ddof=1) / math.sqrt(len(d))
    return float(d.mean() - half), float(d.mean() + half)


def sign_flip_p(differences: Values, seed: int) -> float:
    """Two-sided p of the hypothesis that n differences are symmetric about 0; 1.0 if all are 0.

    Exact up to 16 differences, as `scipy.stats.permutation_test` is; above, 20,000 random flips and
    p = (1 + b) / (1 + m) (Phipson and Smyth, 2010), the only use of `seed`, where scipy doubles one tail.
    Raises `ConfigError` without differences or if one is not finite.
    """
    d = _checked(differences, fewest=1)
    n = len(d)
    if n <= ENUMERATED:
        bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
    else:
        bits = np.random.default_rng(seed).integers(0, 2, (DRAWS, n))
    flipped = np.abs((1 - 2 * bits) @ d)
    as_large = int(np.sum(flipped >= abs(d.sum()) - TIE * np.abs(d).sum()))
    return as_large / 2**n if n <= ENUMERATED else (1 + as_large) / (1 + DRAWS)


def holm(p_values: Values) -> list[float]:
    """Holm's (1979) adjusted p-values, in the order given: they bound the chance of any false positive."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return [float(a) for a in adjusted]


def _checked(differences: Values, fewest: int) -> NDArray[np.float64]:
    d = np.asarray(differences, np.float64)
    if d.ndim != 1 or len(d) < fewest:
        raise ConfigError(f"at least {fewest} repeats are needed for this, got {d.size}; raise the repeats")
    if not np.isfinite(d).all():
        raise ConfigError(f"expected finite differences, got {d.tolist()}; look for a diverged repeat")
    return d
