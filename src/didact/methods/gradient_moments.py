"""What a Gram matrix of a prompt's gradients says, for the methods that weigh prompts by gradients (CurES, GVM)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.method import Floats

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
