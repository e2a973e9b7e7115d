"""What prompts look like tells how often they pass: a Gaussian process over features, on the logit of the pass rate.

    kernel   exp(-d^2 / 2 w^2) times the variance of the prior, w the median distance among those looked at

Nothing is kept here: a method says what was observed, of which prompts, and how noisy it is.
"""

from typing import TYPE_CHECKING

import numpy as np

from didact.arrays import Floats, Positions

if TYPE_CHECKING:
    from didact.pool import Pool

_WIDTH_SAMPLE = 256
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(32)  # for means over a normal distribution


def described(pool: "Pool", positions: Positions) -> Floats:
    """Features of some prompts, shape (n, d); without any, their other columns."""
    if pool.features is not None:
        return np.asarray(pool.features[positions], dtype=np.float64).reshape(len(positions), -1)
    columns: list[Floats] = []
    for values in (pool.difficulty, pool.prompt_tokens):
        if values is not None:
            taken = values[positions].astype(np.float64)
            known = taken[np.isfinite(taken)]
            if len(known):  # a prompt without a number is an average one
                columns.append(np.nan_to_num((taken - known.mean()) / (known.std() or 1.0)))
    if pool.source is not None:
        taken = pool.source[positions].astype(str)
        columns += list((taken[None] == np.unique(taken)[:, None]).astype(np.float64))
    return np.stack(columns, axis=1) if columns else np.zeros((len(positions), 1))


def process(
    features: Floats, logits: Floats, noise: Floats, prior_mean: float, prior_std: float, *, spread: bool
) -> tuple[Floats, Floats]:
    """Mean and, if asked for, variance of the logits of n prompts, shape (n,), after those of k others.

    Args:
        features: of the k prompts that were observed and of the n, shape (k + n, d); one may be among both.
        logits: observed, shape (k,).
        noise: their variance, shape (k,).
    """
    num, prior = len(logits), prior_std**2
    kernel = prior * _rbf(features, features[:num])
    inside, across = kernel[:num] + np.diag(noise), kernel[num:]
    mean = prior_mean + across @ np.linalg.solve(inside, logits - prior_mean)
    variance = prior - (across * np.linalg.solve(inside, across.T).T).sum(axis=1) if spread else np.zeros(0)
    return mean, np.maximum(variance, 0.0)


def smoothed(passes: Floats, rollouts: Floats) -> tuple[Floats, Floats]:
    """Logits of observed rates, with half a pass and half a failure more, and their variance, shape (n,) each.

    The variance is that at p = 1/2. That at the observed rate would discount 0 of 8 against 1 of 8, and so predict hard
    prompts as easier than they are.
    """
    return np.log((passes + 0.5) / (np.maximum(rollouts - passes, 0.0) + 0.5)), 4 / rollouts


def spread_of_rates(mean: Floats, variance: Floats) -> Floats:
    """Standard deviation of pass rates whose logits are normal, shape (n,)."""
    rates = sigmoid(mean[:, None] + np.sqrt(variance)[:, None] * _NODES)
    first, second = (rates**power @ _WEIGHTS / _WEIGHTS.sum() for power in (1, 2))
    return np.asarray(np.sqrt(np.maximum(second - first**2, 0.0)))


def sigmoid(logit: Floats) -> Floats:
    """The rate that has this logit."""
    return np.asarray(1 / (1 + np.exp(np.minimum(-logit, 700.0))))


def _rbf(left: Floats, right: Floats) -> Floats:
    sample = left[:: max(len(left) // _WIDTH_SAMPLE, 1)]
    apart = _squared_distances(sample, sample)
    apart = apart[apart > 1e-9]
    width = float(np.median(apart)) if len(apart) else 1.0  # of squared distances: the square of the median distance
    return np.asarray(np.exp(-_squared_distances(left, right) / (2 * width)))


def _squared_distances(left: Floats, right: Floats) -> Floats:
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None] - 2 * left @ right.T
    return np.asarray(np.maximum(squares, 0.0))
