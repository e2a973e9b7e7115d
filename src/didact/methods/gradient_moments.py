"""What a Gram matrix of a prompt's gradients says, for the methods that weigh prompts by gradients (CurES, GVM)."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.method import Floats, Positions, Run

_MAX_PRODUCT = 1e30


def gradient_moments(gram: ArrayLike, passed: ArrayLike) -> Floats:
    """The three expectations of `allocation_scale` from rollouts of one prompt, shape (3,).

    Args:
        gram: inner products of the rollouts' gradients of the sequence log-probability, shape (n, n). It holds all that
            the full gradient vectors contribute (their norms and the distance of their means).
        passed: which rollouts passed, shape (n,).

    The distance is estimated from products of different rollouts (a U-statistic), where the distance of sample means
    would count their noise as distance; of a kind with a single rollout, its own square has to do, which is too large.
    With no rollout of one kind, its squared norm is taken from the other kind and the distance is 0.
    """
    gram, passed = as_gram(gram, passed)
    if len(passed) == 0:
        return np.full(3, np.nan)
    norms = np.diag(gram)
    if passed.all() or not passed.any():
        return np.array([norms.mean(), norms.mean(), 0.0])
    apart = -2 * gram[np.ix_(passed, ~passed)].mean()
    for kind in (passed, ~passed):
        num, products = int(kind.sum()), gram[np.ix_(kind, kind)]
        apart += (products.sum() - np.trace(products)) / (num * (num - 1)) if num > 1 else products[0, 0]
    return np.array([norms[passed].mean(), norms[~passed].mean(), apart])


def allocation_scale(
    pass_rate: ArrayLike, gradient_moments: ArrayLike | None = None, *, spread: ArrayLike | None = None
) -> Floats:
    """sigma of eq. 21, shape (n,): the spread of advantage times gradient for one rollout of each prompt.

        sigma^2 = p q^2 E[|g|^2 | r=1] + p^2 q E[|g|^2 | r=0] - p^2 q^2 |E[g|r=1] - E[g|r=0]|^2

    Args:
        pass_rate: p, shape (n,).
        gradient_moments: the three expectations in this order, shape (n, 3), see `gradient_moments`. Without them, or
            where they are nan, gradients count as equally long and sigma = sqrt(p q).
        spread: standard deviation of the reward, shape (n,), in place of sqrt(p q) where rewards are not 0 or 1.
    """
    p = np.asarray(pass_rate, dtype=np.float64)
    plain = np.sqrt(p * (1 - p)) if spread is None else np.asarray(spread, dtype=np.float64)
    if gradient_moments is None:
        return plain
    moments = np.asarray(gradient_moments, dtype=np.float64)
    known = np.isfinite(moments).all(axis=1)
    passed, failed, apart = np.nan_to_num(moments).T
    variance = p * (1 - p) ** 2 * passed + p**2 * (1 - p) * failed - (p * (1 - p)) ** 2 * apart
    sigma = np.sqrt(np.maximum(variance, 0.0))
    # Prompts without moments take the typical gradient length of the others, so that both kinds share one scale.
    typical = np.median(sigma[known] / np.maximum(plain[known], 1e-12)) if known.any() else 1.0
    return np.where(known, sigma, plain * typical)


def believed_scale(positions: Positions, run: Run, moments: Mapping[int, Sequence[float]] | None) -> Floats:
    """`allocation_scale` by the belief, shape (n,); `moments` of some prompts by position, or None for none at all."""
    mean = run.belief.mean(positions, step=run.step)
    spread = run.belief.spread(positions, step=run.step)
    if moments is None:
        return allocation_scale(mean, spread=spread)
    known = np.array([moments.get(position, [np.nan] * 3) for position in positions.tolist()])
    return allocation_scale(mean, known, spread=spread)


def as_gram(gram: ArrayLike, passed: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """A Gram matrix, shape (n, n), and which of its rollouts passed, shape (n,).

    Raises:
        ValueError: shapes that do not fit, inner products that are not finite, or a negative one with itself.
    """
    products, marks = np.asarray(gram, dtype=np.float64), np.asarray(passed, dtype=bool)
    if marks.ndim != 1 or products.shape != (len(marks), len(marks)):
        raise ValueError(f"a Gram matrix of shape {products.shape} does not fit {marks.size} rollouts")
    if not (np.abs(products) <= _MAX_PRODUCT).all() or (np.diag(products) < 0).any():
        raise ValueError(f"a Gram matrix must hold inner products up to {_MAX_PRODUCT:g}, and no negative square")
    return products, marks
