"""SPEED-RL: screen prompts with a few rollouts, give full groups to those of middling pass rate only.

Zhang, Arora, Mei, Zanette, "SPEED-RL: Faster Training of Reasoning Models via Online Curriculum Learning",
arXiv:2506.09016 (withdrawn by its first author in March 2026), and the released code, Zanette-Labs/speed-rl.

    screen      num_screen rollouts for every new prompt
    accept      iff low < passes / num_screen < high; with 0 and 1: iff the rewards differ
    continue    num_continue more for accepted prompts, in one plan with the screening of the next ones
    train       on the prompts_per_step oldest complete groups, all rollouts of them

Below a pass rate of 1/4 and above 3/4 the signal-to-noise ratio of the gradient of N >= 3 rollouts is at most
4 N p (1 - p): such groups cost much and say little. A trained prompt costs num_screen / a + num_continue rollouts,
where a = 1 - p^n - (1-p)^n, n = num_screen, is the chance of acceptance.

Nothing is remembered about a prompt beyond its buffered group. Screening rollouts that train are conditioned on having
differed, which inflates the expected RLOO gradient of 4 + 20 rollouts by 5.03 at p = 0.01, 1.29 at 0.1 and 1.003 at
0.5; `train_on_screening=False` keeps them out. Departures: plans keep to the budget of a step; buffered groups get too
old (`max_staleness`, where the code has no bound); a step that cannot be filled trains on what it has, where the
code raises.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from didact.admission import has_signal
from didact.bounds import MAX_PER_STEP, MAX_STEP, flag, one_of, real, whole, whole_or_none
from didact.ledger import OpenGroup
from didact.methods.screening import ScreenedCurriculum
from didact.prompts import PromptPool


class Speed(ScreenedCurriculum):
    """Screen, then continue.

    Args:
        num_screen: rollouts that screen a prompt (N_init); the paper tries 4, 6 and 8. No more than the group size.
        num_continue: further rollouts of an accepted prompt (N_cont). None is the rest of the group,
            rollouts_per_step // prompts_per_step: with the paper's 24 that is 20.
        prompts_per_round: most new prompts in a plan. None is 4 * prompts_per_step, as published; fewer where the
            budget of the plan, after its continuations, does not allow as many.
        low, high: pass rates between which a screened prompt is accepted. At 0 and 1 any rewards that differ do.
        max_staleness: steps after which an accepted group that has not trained is dropped. The released code has no
            bound, which None gives; 4 is that of Pilot-Commit, and seldom reached.
        train_on_screening: False leaves the screening rollouts out of training: they are biased, see above.
        max_rounds: rounds after which a step goes ahead with the groups it has; the released code raises at 50.
        advantage: "rloo", or "grpo" for the DAPO base.

    Further options: those of `Curriculum`.
    """

    name = "speed"
    shardable = True
    loss_weighting = "token"

    def __init__(
        self,
        pool: PromptPool,
        *,
        num_screen: int = 4,
        num_continue: int | None = None,
        prompts_per_round: int | None = None,
        low: float = 0.0,
        high: float = 1.0,
        max_staleness: int | None = 4,
        train_on_screening: bool = True,
        max_rounds: int = 50,
        advantage: Literal["rloo", "grpo"] = "rloo",
        **common: Any,
    ) -> None:
        low, high = real("low", low, 0, 1), real("high", high, 0, 1)
        if not low < high:
            raise ValueError(f"low and high must be pass rates with low < high, got {low} and {high}")
        one_of("advantage", advantage, ("rloo", "grpo"))
        train_on_screening = flag("train_on_screening", train_on_screening)
        rounds: dict[str, Any] = {
            "num_screen": whole("num_screen", num_screen, 2, MAX_PER_STEP),
            "num_continue": whole_or_none("num_continue", num_continue, 1, MAX_PER_STEP),
            "prompts_per_round": whole_or_none("prompts_per_round", prompts_per_round, 1, MAX_PER_STEP),
            "max_staleness": whole_or_none("max_staleness", max_staleness, 0, MAX_STEP),
            "max_rounds": whole("max_rounds", max_rounds, 1, MAX_STEP),
        }
        own = {"low": low, "high": high, "train_on_screening": train_on_screening, "advantage": advantage}
        super().__init__(pool, options={**rounds, **own}, **rounds, **common)
        if not train_on_screening and self._num_continue < 2:
            raise ValueError(
                f"train_on_screening=False leaves {self._num_continue} of each group to train on, and an advantage "
                "needs 2: raise num_continue or rollouts_per_step, or lower num_screen"
            )
        self.advantage = advantage
        self._low, self._high = low, high
        self._train_on_screening = train_on_screening

    def _accepts(self, rewards: NDArray[np.float64]) -> bool:
        rate = self.belief.passes(rewards).mean()
        # The bounds 0 and 1 ask for no more than signal, which rewards outside [0, 1] can have at a pass rate of 1.
        return has_signal(rewards) and bool(
            (rate > self._low or self._low == 0) and (rate < self._high or self._high == 1)
        )

    def _kept(self, group: OpenGroup) -> list[int]:
        first = 0 if self._train_on_screening else self._num_screen
        return [index for index in group.usable if index >= first]
