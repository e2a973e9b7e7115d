# ruff: noqa: RUF001 - dashes and signs as readers expect them
"""How much any selector can save at a batch size: the critical batch of a bed, and the ceiling it sets.

With B rollouts an update, a target costs about

    cost(B) = least (1 + B / critical)    rollouts,    least = critical x (the fewest updates that reach it)

(McCandlish et al., arXiv:1812.06162, section 2). The critical batch is estimated from gradients of one model by the
simple noise scale tr(Sigma) / |G|^2, or fitted to the costs of runs at several batches. A selector with the same mean
gradient and 1/r of its variance has a critical batch r times smaller, and no fewer updates where the batch is endless;
what that saves is `ceiling`. docs/batch-size.md says what is assumed, and where it fails.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact.compare.tables import said_number, said_ratio

_PROBES = 4  # rollouts a prompt from which on the square of p(1-p) has an unbiased estimate


@dataclass(frozen=True)
class NoiseScale:
    """Of one group's gradient: `signal` the squared length of its mean, `noise` the trace of its covariance."""

    signal: float
    noise: float

    @property
    def critical(self) -> float:
        """The simple noise scale, in groups; infinite where no signal was found above the noise."""
        return self.noise / self.signal if self.signal > 0 else math.inf


def noise_scale(
    sum_of_squares: float, square_of_sum: float, num_groups: int, *, second_moment: float | None = None
) -> NoiseScale:
    """Unbiased signal and noise from the gradients g_1 to g_m of m independent groups (arXiv:1812.06162, appendix A.1).

        |G|^2 = (|sum g|^2 - sum |g|^2) / (m (m - 1)),    tr(Sigma) = sum |g|^2 / m - |G|^2

    Groups of a selector that draws each prompt w times as often as these were drawn: sums over w g take the place of
    those over g, and `second_moment` is E |g|^2 under it, sum w |g|^2 / m.

    Args:
        sum_of_squares, square_of_sum: sum |g|^2 and |sum g|^2; all in any one metric, sum_d P_d g_d^2.
        num_groups: m, silent groups included: their gradient is zero.
        second_moment: sum |g|^2 / m where it is None.

    Raises:
        ValueError: fewer than two groups.
    """
    if num_groups < 2:
        raise ValueError(f"the noise between groups takes two groups at least, got {num_groups}")
    signal = (square_of_sum - sum_of_squares) / (num_groups * (num_groups - 1))
    return NoiseScale(signal, (sum_of_squares / num_groups if second_moment is None else second_moment) - signal)


def ceiling(batch: float, critical: float, ratio: float) -> float:
    """How many times fewer rollouts reach the target when the gradient's variance falls `ratio` times.

        S = (1 + 1/x) / (1 + 1/(x r)),    x = batch / critical

    It tends to r for small batches and to 1 for large ones.

    Args:
        batch, critical: in the same unit; `critical` may be infinite (S = r) or 0 (S = 1).

    Raises:
        ValueError: a batch or ratio that is not positive, or a negative critical batch.
    """
    if not (batch > 0 and ratio > 0 and critical >= 0):
        raise ValueError(f"batch and ratio must be positive, critical 0 at least, got {batch}, {ratio}, {critical}")
    return ratio if math.isinf(critical) else (batch + critical) / (batch + critical / ratio)


def variance_ratio(pass_rates: ArrayLike, num_rollouts: int | None = None) -> float:
    """The most by which a selector that knows the pass rates can lower the gradient's variance without bias.

    With v = p (1 - p) the variance that a rollout brings, drawing in proportion to sqrt(v) with importance weights is
    best, and lowers it E[v] / (E sqrt(v))^2 times: the ratio of known pass rates. That of measured ones would need
    E sqrt(v), which has no unbiased estimate: the square root of a measured v is too small on average. They give
    E[v^2] / E[v]^2 instead, from unbiased estimates of both. It is never less (Hoelder's inequality; 6.0 for 5.4 where
    a fifth of the pool is spread evenly over 0 to 1 and the rest is dead), and also what it gains in E[v] to draw in
    proportion to v without weights, as the oracle does.

    Args:
        pass_rates: shape (n,), of all prompts or a fair sample of them.
        num_rollouts: with how many rollouts a prompt they were measured, 4 at least; None: they are the true ones.

    Returns:
        1 or more for true pass rates; infinite where no prompt is between always and never.

    Raises:
        ValueError: fewer than 4 rollouts, or pass rates that so many rollouts cannot give.
    """
    p = np.asarray(pass_rates, dtype=np.float64)
    if num_rollouts is None:
        v = p * (1 - p)
        return float(v.mean() / np.sqrt(v).mean() ** 2) if v.any() else math.inf
    n, passed = num_rollouts, p * num_rollouts
    if n < _PROBES or np.abs(passed - passed.round()).max() > 1e-6:
        raise ValueError(f"pass rates must be of {_PROBES} whole rollouts or more, got {n} rollouts")
    failed = n - passed
    v = passed * failed / (n * (n - 1))
    squares = passed * (passed - 1) * failed * (failed - 1) / (n * (n - 1) * (n - 2) * (n - 3))
    return float(squares.mean() / v.mean() ** 2) if v.any() else math.inf


@dataclass(frozen=True)
class CostFit:
    """cost(B) = least (1 + B / critical) = least + updates B, in rollouts.

    `critical` is infinite where the cost does not rise with the batch, 0 where it rises in proportion to it.
    """

    least: float
    updates: float

    @property
    def critical(self) -> float:
        return self.least / self.updates if self.updates > 0 else math.inf


def critical_batch_of_costs(batches: ArrayLike, costs: ArrayLike) -> CostFit:
    """The critical batch by what training costs: the least-squares line through rollouts to the target.

    Errors count in proportion to the cost, since costs spread so; neither coefficient is below zero. The learning rate
    has to be tuned for each batch: what is fitted otherwise is how badly one rate suits the others.

    Args:
        batches: rollouts an update, shape (n,), two different ones at least.
        costs: rollouts to the same target, shape (n,), finite.

    Raises:
        ValueError: fewer than two batches, or numbers that are not positive and finite.
    """
    x, y = np.asarray(batches, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    if x.shape != y.shape or len(np.unique(x)) < 2:
        raise ValueError(f"a fit takes costs at two different batches at least, got {x.tolist()} and {y.tolist()}")
    if not (np.isfinite([x, y]).all() and (x > 0).all() and (y > 0).all()):
        raise ValueError(f"batches and costs must be positive and finite, got {x.tolist()} and {y.tolist()}")
    columns = np.stack([1 / y, x / y], axis=1)  # of costs as shares of what was seen
    least, updates = (float(value) for value in np.linalg.lstsq(columns, np.ones(len(y)), rcond=None)[0])
    if updates < 0:
        return CostFit(_alone(columns[:, 0]), 0.0)
    return CostFit(least, updates) if least >= 0 else CostFit(0.0, _alone(columns[:, 1]))


def _alone(column: NDArray[np.float64]) -> float:
    """The coefficient of a single column that comes nearest to ones."""
    return float(column.sum() / (column @ column))


@dataclass(frozen=True)
class BedNoise:
    """What gradients said about a bed: its critical batch in rollouts, and the variance ratio of its pass rates."""

    critical: float
    ratio: float


def ceiling_table(summary: Mapping[str, Any], beds: Mapping[tuple[str, str], BedNoise]) -> str:
    """Markdown: for every cell the predicted ceiling beside what the oracle gained, and the fit to uniform's costs.

    Cells of one task and pool are one bed at several batches. A bed's fit is the median of the fits of its seeds, of
    those whose baseline met the target in every cell.

    Args:
        summary: as `didact.compare.summary.summarise` gives it.
        beds: by task and pool; cells of others have no prediction, and simulated cells no row.
    """
    settings = {cell["name"]: cell for cell in summary["settings"]["cells"] if cell["learner"] == "policy"}
    together: dict[tuple[str, str], list[str]] = {}
    for name, cell in settings.items():
        together.setdefault((cell["task"], cell["pool"]), []).append(name)
    rows = []
    for bed, names in together.items():
        batches = {name: int(settings[name]["rollouts_per_step"]) for name in names}
        noise = beds.get(bed, BedNoise(math.nan, math.nan))
        fits = [fit.critical for fit in _fits(summary, batches)]
        fitted = float(np.median(fits)) if fits else math.nan
        for name, batch in sorted(batches.items(), key=lambda item: item[1]):
            variants = summary["cells"][name]["variants"]
            baseline, oracle = variants[summary["baseline"]], variants.get(summary["oracle"], {})
            rows.append(
                [
                    name,
                    f"{batch}",
                    *_predicted(batch, noise.critical, noise.ratio),
                    *_predicted(batch, fitted, noise.ratio),
                    said_number(baseline["cost"].get("rollouts"), ",.0f"),
                    said_ratio(_gain(oracle.get("ratio"))),
                ]
            )
    lines = [_HEADINGS, ["---"] * len(_HEADINGS), *rows]
    return "".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |\n" for line in lines)


_HEADINGS = [
    "cell",
    "batch",
    "x by gradients",
    "ceiling",
    "its root",
    "x by costs",
    "ceiling",
    "its root",
    "uniform's rollouts to target",
    "oracle's gain [95%]",
]


def _predicted(batch: int, critical: float, ratio: float) -> list[str]:
    """x, the ceiling and its square root; dashes for what is nan."""
    if math.isnan(critical):
        return ["–"] * 3
    x = f"{batch / critical:.2g}" if critical else "∞"
    if math.isnan(ratio):
        return [x, "–", "–"]
    most = ceiling(batch, critical, ratio)
    return [x, f"{most:.2f}", f"{math.sqrt(most):.2f}"]


def _fits(summary: Mapping[str, Any], batches: Mapping[str, int]) -> Sequence[CostFit]:
    """One for each seed whose baseline met the target at every batch."""
    if len(set(batches.values())) < 2:
        return []
    costs: dict[int, list[float]] = {}
    for name in batches:
        for row in summary["cells"][name]["variants"][summary["baseline"]]["seeds"]:
            if (cost := row["cost"]["rollouts"]) is not None:
                costs.setdefault(row["seed"], []).append(cost)
    return [
        critical_batch_of_costs(list(batches.values()), each) for each in costs.values() if len(each) == len(batches)
    ]


def _gain(ratio: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """How many times fewer rollouts: the ratio of costs, with its bounds and interval, turned over."""
    if not ratio or not (found := ratio.get("rollouts")):
        return None

    def over(value: float | None) -> float | None:
        return 0.0 if value is None else 1 / value if value else None

    interval = found["interval"] and [over(found["interval"][1]), over(found["interval"][0])]
    return {"low": over(found["high"]), "high": over(found["low"]), "interval": interval}
