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

from dataclasses import dataclass

from didact.admission import has_signal
from didact.advantage import AdvantageKind
from didact.arrays import Floats
from didact.bounds import MAX_PER_STEP, MAX_STEP
from didact.ledger import OpenGroup
from didact.method import Draft, Method, Run, Turn, Verdict, option
from didact.rounds.screen import Screen, sizes


@dataclass(frozen=True, kw_only=True)
class Speed(Method):
    """Screen with a few rollouts, continue what differs, train on full groups."""

    name = "speed"
    paper = "arXiv:2506.09016"
    continues = True
    shardable = True
    surplus = "waits"
    loss_weighting = "token"

    num_screen: int = option(4, "N_init, rollouts of a screen; published 4, 6, 8", least=2, most=MAX_PER_STEP)
    num_continue: int | None = option(None, "N_cont; None: the rest of the group", least=1, most=MAX_PER_STEP)
    prompts_per_round: int | None = option(None, "new ones; None: 4 * prompts_per_step", least=1, most=MAX_PER_STEP)
    low: float = option(0.0, "pass rate that a screen must exceed; at 0, rewards that differ do", least=0, most=1)
    high: float = option(1.0, "pass rate that a screen must stay below; at 1, rewards that differ do", least=0, most=1)
    max_staleness: int | None = option(4, "steps a group may wait; None: any, as published", least=0, most=MAX_STEP)
    train_on_screening: bool = option(True, "if false, screens are kept out of training: less biased, and dearer")
    max_rounds: int = option(50, "rounds after which a step trains on what it has", least=1, most=MAX_STEP)
    advantage: AdvantageKind = option("rloo", 'the estimator; "grpo" for the DAPO base', choices=("rloo", "grpo"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low < self.high:
            raise ValueError(f"low and high must be pass rates with low < high, got {self.low} and {self.high}")

    def uneven(self, run: Run) -> bool:
        return False

    def init(self, run: Run) -> None:
        continued = self._screen(run).num_continue
        if not self.train_on_screening and continued < 2:
            raise ValueError(
                f"train_on_screening=False leaves {continued} of each group to train on, and an advantage needs 2: "
                "raise num_continue or rollouts_per_step, or lower num_screen"
            )

    def draft(self, turn: Turn, memory: None) -> Draft:
        return self._screen(turn).draft(turn, self, memory)

    def verdict(self, group: OpenGroup, run: Run, memory: None) -> Verdict:
        def accepts(rewards: Floats) -> bool:
            rate = run.belief.passes(rewards).mean()
            # At 0 and 1 no more than signal is asked for, which rewards outside [0, 1] can have at a pass rate of 1.
            above, below = rate > self.low or self.low == 0, rate < self.high or self.high == 1
            return has_signal(rewards) and bool(above and below)

        screen = self._screen(run)
        return screen.verdict(group, run, accepts, first=0 if self.train_on_screening else screen.num_screen)

    def _screen(self, run: Run) -> Screen:
        prompts = self.prompts_per_round or 4 * run.prompts_per_step
        both = sizes(run, self.num_screen, self.num_continue)
        return Screen("screen", *both, prompts, self.max_staleness, self.max_rounds)
