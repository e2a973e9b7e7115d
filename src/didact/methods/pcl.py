"""PCL: train on the candidates whose predicted pass rate is nearest to a target. Nothing is rolled out to choose.

Gao et al., "Prompt Curriculum Learning for Efficient LLM Post-Training", arXiv:2510.01135.

    select    of `candidates` times as many uniform prompts as a batch holds, those with the smallest |V(x) - tau|
    update    one regression step of V towards the pass rates of the prompts that were rolled out

V is the belief: what it says is what `pass_rates()`, plans and calibration say. The paper's V is a second language
model that reads the prompt; here it is a value head (`belief/features.py`) over the pool's `features`, or over whatever
`features` gives for positions of the pool: hidden states of the policy, predictions of another model. It explores by
its uniform candidates alone, which come in shuffled passes, and knows nothing of a prompt but its features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from didact.arrays import Floats, Positions
from didact.belief.features import ValueHead, as_rows
from didact.bounds import MAX_PER_STEP
from didact.memory import kept
from didact.method import Arrivals, Draft, Method, Run, Turn, option
from didact.rounds.news import News, check_news, note, read
from didact.selection import top_k

_SAMPLE = 1024  # prompts by which features are standardised
_ROWS = 1 << 16  # features in memory at a time


@dataclass
class Memory:
    """The value head, and what it has still to learn from."""

    value: ValueHead
    news: News = kept({})


@dataclass(frozen=True, kw_only=True)
class PCL(Method):
    """Candidates whose pass rate, predicted from what prompts look like, is nearest to a target."""

    name = "pcl"
    paper = "arXiv:2510.01135"
    one_round = True
    shardable = True
    wants_words = True
    advantage = "grpo"
    loss_weighting = "token"

    candidates: int = option(4, "k, prompts looked at for each that trains", least=1, most=MAX_PER_STEP)
    target: float = option(0.5, "tau, the pass rate to aim for", least=0, most=1)
    learning_rate: float = option(4.0, "of the value head; the paper trains a language model", above=0, most=8)
    features: Callable[[Positions], ArrayLike] | None = option(None, "gives (n, d) for n positions; None: the pool's")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features is not None and not callable(self.features):
            raise ValueError(
                f"features must be a function of positions, got {type(self.features).__name__}; an array goes into the "
                "pool: PromptPool(ids, features=...)"
            )

    def recorded(self) -> dict[str, Any]:
        given = self.features
        named = None if given is None else getattr(given, "__qualname__", type(given).__qualname__)
        return {**super().recorded(), "features": named}

    def init(self, run: Run) -> Memory:
        if self.features is None:
            why = "pcl predicts pass rates by the option features, a function of positions, or by the pool's"
            run.needed("features", method=self.name, because=why)
        size = len(run.pool)
        return Memory(ValueHead(self._features(run, np.unique(np.linspace(0, size - 1, _SAMPLE).astype(np.int64)))))

    def draft(self, turn: Turn, memory: Memory) -> Draft:
        came, memory.news = read(memory.news), {}
        if came:
            features = self._features(turn, np.array([position for position, _ in came], dtype=np.int64))
            rates = [turn.belief.passes(rewards).mean() for _, rewards in came]
            memory.value.learn(features, rates, self.learning_rate)
        drawn = turn.walk(self.candidates * turn.batch)
        away = np.abs(self._predicted(drawn, turn, memory) - self.target)
        return turn.equal(drawn[top_k(-away, turn.batch)])

    def observed(self, arrivals: Arrivals, run: Run, memory: Memory) -> None:
        note(memory.news, arrivals)

    def predict(self, positions: Positions, run: Run, memory: Memory) -> tuple[Floats, Floats]:
        mean = self._predicted(positions, run, memory)
        return mean, np.full(len(mean), memory.value.error)

    def resume(self, run: Run, memory: Memory) -> None:
        check_news(memory.news, len(run.pool))

    def _predicted(self, positions: Positions, run: Run, memory: Memory) -> Floats:
        parts = [positions[first : first + _ROWS] for first in range(0, len(positions), _ROWS)]
        return np.concatenate([np.zeros(0), *(memory.value.predict(self._features(run, part)) for part in parts)])

    def _features(self, run: Run, positions: Positions) -> Floats:
        try:
            given = run.pool.features[positions] if self.features is None else self.features(positions)  # type: ignore[index]
        except TypeError as error:
            raise ValueError(f"features must take an array of positions: {error}") from error
        found = as_rows(given)
        if len(found) != len(positions):
            raise ValueError(f"features gave {len(found)} rows for {len(positions)} positions")
        return found
