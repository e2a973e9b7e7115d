"""The default: prompts by the signal that a group of theirs is expected to have, for the tokens it will take.

    believe    logit p = x.w + u: what is known of prompts, shared, and each prompt's own outcomes      belief/shared.py
    look at    `candidates` prompts, from shuffled passes, for each that trains
    value      E[p (1 - p)] over the belief, half of whose uncertainty is drawn (exploring), over E[tokens] ** price
    choose     the best; a share of the places goes to the next of the pass, whatever is believed of them
    leave      where few groups of a plain draw would be silent, there is nothing to gain: then it *is* uniform

p (1 - p) is what a group gives to the gradient (VIP, arXiv:2602.01601, eq. 3; CurES, arXiv:2510.01037, eq. 14); a group
of n is silent with probability p^n + (1 - p)^n. Nothing is rolled out to choose. How much more often than others a
prompt can be drawn is bounded by `candidates`: a batch learnt by heart teaches nothing.
"""

from dataclasses import dataclass

import numpy as np

from didact.arrays import Floats, Positions
from didact.belief.description import Description
from didact.belief.lengths import ResponseLengths
from didact.belief.shared import SharedBelief, over_logits, own_columns
from didact.bounds import MAX_PER_STEP
from didact.memory import derived, kept
from didact.method import Arrivals, Comparison, Draft, Method, Run, Turn, option
from didact.selection import top_k

_ROWS = 1 << 16  # prompts described at a time
_LEFT = "selection is left, since few groups of a plain draw are believed to be silent: the next prompts of the pass"
_CHOSEN = (
    "of the next prompts of the pass the best by value, expected signal per token with part of the doubt drawn, and"
)
_CHOSEN += " a share of the places for whatever comes next, uncompared"


@dataclass
class Memory:
    """The belief, and what it has still to learn from."""

    description: Description
    shared: SharedBelief
    lengths: ResponseLengths
    silent: float = kept(-1.0, least=-1, most=1)  # share of groups that a plain draw would have; -1: not known
    news: dict[int, list[float]] = kept({})  # by group: position, version, passes, trials, responses, tokens
    compared: Comparison | None = derived(lambda: None)  # for the latest draft; after loading, none


@dataclass(frozen=True, kw_only=True)
class Didact(Method):
    """Prompts by expected signal per token, under a belief shared between prompts."""

    name = "didact"
    one_round = True
    shardable = True
    wants_words = True

    candidates: int = option(8, "prompts looked at for each place", least=1, most=MAX_PER_STEP)
    explore: float = option(
        0.5, "share of the belief's uncertainty that is drawn and not averaged over", least=0, most=1
    )
    price: float = option(0.5, "power of the expected tokens that a value is divided by", least=0, most=1)
    group_size: int | None = option(
        4, "rollouts of a prompt, if the budget's are more; None: as the budget says", least=2
    )
    coverage: float = option(0.1, "share of places that go to the next of the pass", least=0, most=1)
    leave_below: float = option(0.3, "least share of silent groups in a plain draw that is worth it", least=0, most=1)
    spread: float = option(1.5, "deviation, in logits, of a prompt from what is known of it", above=0, most=10)
    drift: float = option(0.003, "of the shared weights, variance a policy version", least=0, most=1)
    decay: float = option(0.995, "of a prompt's own deviation, a policy version", above=0, most=1)

    def init(self, run: Run) -> Memory:
        description = Description(run.pool)
        shared = SharedBelief(
            description.width, own_columns(run.pool), spread=self.spread, drift=self.drift, decay=self.decay
        )
        return Memory(description, shared, ResponseLengths(description.width))

    def uneven(self, run: Run) -> bool:
        places = self._places(run)
        return run.rollouts_per_step % places != 0 or len(run.pool) < places

    def draft(self, turn: Turn, memory: Memory) -> Draft:
        self._learn(turn, memory)
        places = self._places(turn)
        leaves = 0 <= memory.silent < self.leave_below
        drawn = turn.walk(places if leaves else self.candidates * places)
        rows = memory.description.rows(turn.pool, drawn)
        mean, variance = memory.shared.logits(rows, drawn, turn.step)
        rates, masses = over_logits(mean, variance)
        size = turn.rollouts_per_step / places
        quiet = (rates**size + (1 - rates) ** size) @ masses
        silent, lately = float(quiet.mean()), memory.silent if memory.silent >= 0 else np.nan
        overall = {"silent_in_a_plain_draw": silent, "silent_lately": lately, "leave_below": self.leave_below}
        memory.silent = silent if memory.silent < 0 else 0.8 * memory.silent + 0.2 * silent
        if leaves:
            overall["silent_in_the_plan"] = silent
            memory.compared = Comparison(_LEFT, drawn, {"silent": quiet}, overall=overall)
            return turn.equal(drawn, reason="uniform", predicted=rates @ masses)
        luck = turn.rng.standard_normal(len(drawn))
        seen, _ = over_logits(mean + self.explore * np.sqrt(variance) * luck, variance * (1 - self.explore**2))
        tokens = memory.lengths.expected(rows)
        value = (seen * (1 - seen)) @ masses / tokens**self.price
        plain = int(turn.rng.binomial(places, self.coverage))
        best = plain + top_k(value[plain:], places - plain)
        chosen = np.concatenate([np.arange(plain), best])
        reasons = ["uniform"] * plain + ["train"] * len(best)
        compared = np.where(np.arange(len(drawn)) < plain, np.nan, value)
        figures = {"value": compared, "tokens": tokens, "silent": quiet}
        overall["silent_in_the_plan"] = float(quiet[chosen].mean())
        memory.compared = Comparison(_CHOSEN, drawn, figures, by="value", overall=overall)
        return turn.equal(drawn[chosen], reason=reasons, predicted=(rates @ masses)[chosen])

    def observed(self, arrivals: Arrivals, run: Run, memory: Memory) -> None:
        for (group, outcome), rewards in zip(arrivals, arrivals.rewards, strict=True):
            version = group.asked if outcome.policy_version is None else outcome.policy_version
            news = memory.news.setdefault(group.group_id, [float(group.position), float(version), *[0.0] * 4])
            tokens = outcome.num_tokens or ()
            added = float(run.belief.passes(np.array(rewards)).sum()), len(rewards), len(tokens), sum(tokens)
            news[2:] = [before + float(more) for before, more in zip(news[2:], added, strict=True)]

    def predict(self, positions: Positions, run: Run, memory: Memory) -> tuple[Floats, Floats]:
        mean, std = np.zeros(len(positions)), np.zeros(len(positions))
        for first in range(0, len(positions), _ROWS):
            some = slice(first, first + _ROWS)
            rows = memory.description.rows(run.pool, positions[some])
            rates, masses = over_logits(*memory.shared.logits(rows, positions[some], max(run.step, 0)))
            mean[some] = rates @ masses
            std[some] = np.sqrt(np.maximum(rates**2 @ masses - mean[some] ** 2, 0.0))
        return mean, std

    def compared(self, run: Run, memory: Memory) -> Comparison | None:
        return memory.compared

    def resume(self, run: Run, memory: Memory) -> None:
        widths = [memory.description.width, len(memory.shared.weights), len(memory.lengths.moment)]
        if len(set(widths)) > 1:
            raise ValueError(f"prompts are described by {widths[0]} numbers, what was learnt is of {widths[1:]}")
        for news in memory.news.values():
            if len(news) != 6 or not 0 <= news[0] < len(run.pool) or min(news) < 0:
                raise ValueError(f"news of a prompt of this pool are six numbers of at least 0, got {news}")

    def _places(self, run: Run) -> int:
        """Prompts of a step: those of the budget, or more of them in groups of `group_size`."""
        smaller = 0 if self.group_size is None else run.rollouts_per_step // self.group_size
        return min(max(run.batch, smaller), len(run.pool))

    def _learn(self, turn: Turn, memory: Memory) -> None:
        news = np.array([memory.news[group_id] for group_id in sorted(memory.news)]).reshape(-1, 6)
        memory.news = {}
        positions, index = np.unique(news[:, 0].astype(np.int64), return_inverse=True)
        if len(positions) == 0:
            return
        rows = memory.description.rows(turn.pool, positions)
        fresh = self.decay ** np.maximum(turn.step - 1 - news[:, 1], 0.0)  # what an older policy did counts less
        passes, trials, responses, tokens = (
            np.bincount(index, weights=column).astype(np.float64)
            for column in (fresh * news[:, 2], fresh * news[:, 3], news[:, 4], news[:, 5])
        )
        told = trials > 0
        memory.shared.learn(rows[told], positions[told], passes[told], trials[told], turn.step)
        answered = responses > 0
        memory.lengths.learn(rows[answered], tokens[answered] / responses[answered])
