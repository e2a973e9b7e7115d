"""Counts that fade in every step, and are fed by what two reference models say about prompts that were not visited.

    capability   cap <- 0.9 cap + 0.1 (mean pass rate - mean weak) / (mean strong - mean weak)   over the step's prompts
    implicit     p_i = clip(weak_i + cap (strong_i - weak_i), 0, 1)          prompts that were not visited
    passes       s <- (1 - lam) s + own passes,  or + rho m p_i where not visited;   failures the same

Shen et al. (BOTS), arXiv:2510.26374; constants of the released run (modelscope/Trinity-RFT, examples/bots). The counts
are beyond a prior, and m is the group size.
"""

from dataclasses import dataclass

import numpy as np

from didact.arrays import Positions
from didact.belief.counts import PassCounts
from didact.belief.reference import ReferenceRates, Singles
from didact.memory import kept

_CAP_MEMORY = 0.9
_GUARD = 1e-6  # the released code's, against reference models that agree
_TOLERATED = 0.25  # mean absolute error of the interpolation from which on adaptive_rho halves rho


@dataclass
class InterpolatedCounts(PassCounts):
    """A memory of counts, the weight of implicit evidence and the capability; None before a first estimate."""

    rho: float = kept(0.0, least=0)
    cap: float | None = kept(None)


@dataclass(frozen=True)
class Interpolation:
    """What a step does to these counts, without references as with them.

    Args:
        weak, strong: pass rates of two reference models, both or neither; nan where unknown.
        lam: share of the counts that a step forgets.
        adaptive_rho: rho is halved by a step whose interpolation missed by 0.25 or more on average.
        group_size: m.
        pool_size: prompts in the pool.
    """

    weak: ReferenceRates | None
    strong: ReferenceRates | None
    lam: float
    adaptive_rho: bool
    group_size: int
    pool_size: int

    def counts(self, where: Positions | slice, memory: InterpolatedCounts) -> Singles:
        """Passes and failures at some positions after the running step, shape (2, n).

        A step of which nothing came back moves none.
        """
        counts = memory.get(where)
        told, passes, sizes = memory.evidence.gathered()
        if len(told) == 0:
            return counts
        rows, passes, sizes = (told, passes, sizes) if isinstance(where, slice) else memory.evidence.among(where)
        counts *= np.float32(1 - self.lam)
        cap, rho = self.learnt(memory)
        if cap is not None:
            expected = self.rates(where, cap)
            weight = np.float32(rho * self.group_size)
            expected *= weight
            spared = np.isnan(expected)  # no rates, no evidence
            spared[rows] = True  # own evidence counts instead
            counts[0] += np.where(spared, 0, expected)
            counts[1] += np.where(spared, 0, weight - expected)
        counts[:, rows] += np.stack([passes, sizes - passes]).astype(np.float32)
        return counts

    def learnt(self, memory: InterpolatedCounts) -> tuple[float | None, float]:
        """Capability and rho after the running step."""
        told, passes, sizes = memory.evidence.gathered()
        cap, rho = memory.cap, memory.rho
        if self.weak is None or len(told) == 0:
            return cap, rho
        rates, (weak, strong) = passes / sizes, self._references(told)
        apart = (strong - weak).astype(np.float64)
        known = np.isfinite(apart)
        gap = apart[known].mean() + _GUARD if known.any() else 0.0
        if gap != 0:
            estimate = float((rates - weak.astype(np.float64))[known].mean() / gap)
            cap = estimate if cap is None else _CAP_MEMORY * cap + (1 - _CAP_MEMORY) * estimate
        if self.adaptive_rho and cap is not None and known.any():
            error = np.abs(self.rates(told, cap) - rates)[known]
            rho = rho / 2 if error.mean() >= _TOLERATED else rho
        return cap, rho

    def rates(self, where: Positions | slice, cap: float) -> Singles:
        """Interpolated pass rates at some positions, shape (n,); nan where a reference is unknown."""
        weak, strong = self._references(where)
        rates: Singles = (strong - weak) * np.float32(cap) + weak
        return np.clip(rates, 0.0, 1.0, out=rates)

    def _references(self, where: Positions | slice) -> tuple[Singles, Singles]:
        assert self.weak is not None
        assert self.strong is not None
        return self.weak.of(self.pool_size)[where], self.strong.of(self.pool_size)[where]
