"""The default: prompts by the signal that a group of theirs is expected to have, for the tokens it will take.

    believe    logit p = x.w + u: what is known of prompts, shared, and each prompt's own outcomes      belief/shared.py
    look at    `candidates` prompts, from shuffled passes, for each that trains
    value      E[p (1 - p)] / E[tokens] ** price; w is drawn, u averaged over
    choose     the best; a share of the places goes to the next of the pass, whatever is believed of them
    compare    a group with its mean reward and with what was believed of it, for as much as belief was worth lately
    leave      where a plain draw lacks little of the signal, there is nothing to gain: then it *is* uniform

p (1 - p), the variance of a reward of 0 or 1, is what a group gives to the gradient (CurES, arXiv:2510.01037, draws by
its root, eq. 14; docs/methods/didact.md derives it). Nothing is rolled out to choose. How much more often than others
a prompt can be drawn is bounded by `candidates`: a batch learnt by heart teaches nothing. A baseline from outside the
group is SPO's idea (arXiv:2509.13232), groups of 2 are 2-GRPO's (arXiv:2510.00977).
"""

import logging
from dataclasses import dataclass

import numpy as np

from didact.arrays import Floats, Positions
from didact.belief.outlook import Outlook
from didact.belief.shared import over_logits
from didact.bounds import MAX_PER_STEP
from didact.group import OpenGroup
from didact.memory import derived
from didact.method import Arrivals, Comparison, Draft, Method, Run, Turn, Verdict, option
from didact.rounds.returns import COVERAGE, UNIFORM, Returns
from didact.selection import top_k

logger = logging.getLogger(__name__)

_LEFT = (
    "selection is left, since a plain draw lacks little of the signal that it can have, or none came back yet: the "
    "next prompts of the pass, in groups of the budget's size"
)
_CHOSEN = (
    "the best of the next prompts of the pass by value, expected signal per token with the shared weights drawn, and "
    "a share of the places for whatever comes next, uncompared"
)
_SAMPLE = 64  # prompts of the pool by which it is expected what a plain draw lacks


@dataclass
class Memory:
    """What is expected of prompts, and what came of it lately."""

    outlook: Outlook
    returns: Returns
    compared: Comparison | None = derived(lambda: None)  # for the latest draft; after loading, none

    def keep(self, compared: Comparison, step: int) -> None:
        """What a draft was chosen from; when it goes over to another rule, the log says so."""
        if self.compared is None or self.compared.rule != compared.rule:
            figures = ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in compared.overall.items())
            what = "plans as uniform does" if compared.by is None else "chooses prompts"
            logger.info("step %d: didact %s (%s)", step, what, figures)
        self.compared = compared


@dataclass(frozen=True, kw_only=True)
class Didact(Method):
    """Prompts by expected signal per token, under a belief shared between prompts."""

    name = "didact"
    one_round = True
    shardable = True
    wants_words = True
    offers_baseline = True

    candidates: int = option(8, "prompts looked at for each place", least=1, most=MAX_PER_STEP)
    price: float = option(0.5, "power of the expected tokens that a value is divided by", least=0, most=1)
    group_size: int | None = option(2, "rollouts of a prompt, if the budget has more; None: as it has", least=2)
    baseline_rollouts: float = option(8.0, "most that belief counts as in a baseline", least=0, most=1024)
    coverage: float = option(0.1, "share of places that go to the next of the pass", least=0, most=1)
    leave_below: float = option(0.35, "least share of the signal lacking in a plain draw to choose", least=0, most=1)

    def init(self, run: Run) -> Memory:
        return Memory(Outlook.of(run.pool), Returns())

    def uneven(self, run: Run) -> bool:
        return self._places(run) != run.batch or super().uneven(run)

    def draft(self, turn: Turn, memory: Memory) -> Draft:
        outlook, returns, pool, step = memory.outlook, memory.returns, turn.pool, turn.step
        outlook.learn(pool, step)
        returns.learn()
        expected = outlook.lacking(pool, turn.rng.integers(len(pool), size=_SAMPLE), step)
        lately = returns.lacking(expected)
        overall = {
            "belief_is_worth": returns.worth(self.baseline_rollouts),
            "leave_below": self.leave_below,
            "lacking_in_a_plain_draw": expected,
            "lacking_lately": lately,
        }
        if turn.num_planned == 0 or lately < self.leave_below:  # at first, to see what a plain draw gives
            drawn = turn.walk(turn.batch)
            memory.keep(Comparison(_LEFT, drawn, {}, overall=overall), step)
            return turn.equal(drawn, reason=UNIFORM)
        places = self._places(turn)
        drawn = turn.walk(self.candidates * places)
        rows = outlook.description.rows(pool, drawn)
        rates, masses = over_logits(*outlook.shared.drawn(rows, drawn, step, turn.rng))
        tokens = outlook.lengths.expected(rows)
        value = (rates * (1 - rates)) @ masses / tokens**self.price
        plain = int(turn.rng.binomial(places, self.coverage))
        chosen = np.concatenate([np.arange(plain), plain + top_k(value[plain:], places - plain)])
        value[:plain] = np.nan
        overall["lacking_in_the_plan"] = outlook.lacking(pool, drawn[chosen], step)
        figures = {"value": value, "tokens": tokens}
        memory.keep(Comparison(_CHOSEN, drawn, figures, by="value", overall=overall), step)
        return turn.equal(drawn[chosen], reason=[COVERAGE] * plain + ["train"] * (places - plain))

    def observed(self, arrivals: Arrivals, run: Run, memory: Memory) -> None:
        memory.outlook.note(arrivals, run)
        memory.returns.note(arrivals, run)

    def verdict(self, group: OpenGroup, run: Run, memory: Memory) -> Verdict:
        """A group is compared with its mean reward and with what was believed of it, together, unless all is left."""
        verdict, worth = super().verdict(group, run, memory), memory.returns.worth(self.baseline_rollouts)
        if verdict.fate != "trains" or group.reason == UNIFORM or not worth or run.belief.pass_above is not None:
            return verdict
        rewards = [group.rewards[rollout] for rollout in group.usable]
        baseline = (sum(rewards) + worth * group.predicted) / (len(rewards) + worth)
        return Verdict(verdict.fate, verdict.rollouts, baseline)

    def predict(self, positions: Positions, run: Run, memory: Memory) -> tuple[Floats, Floats]:
        return memory.outlook.rates(run.pool, positions, max(run.step, 0))

    def compared(self, run: Run, memory: Memory) -> Comparison | None:
        return memory.compared

    def resume(self, run: Run, memory: Memory) -> None:
        memory.outlook.check(run.pool)
        memory.returns.check()

    def _places(self, run: Run) -> int:
        """Prompts of a step: those of the budget, or more of them in groups of `group_size`."""
        smaller = 0 if self.group_size is None else run.rollouts_per_step // self.group_size
        return min(max(run.batch, smaller), len(run.pool))
