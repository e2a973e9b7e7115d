"""DAPO's dynamic sampling (arXiv:2503.14476): draw groups until enough of them have signal, discard the rest.

    keep a group iff 0 < passes < G (its rewards differ); redraw until prompts_per_step groups are kept;
    train on the first prompts_per_step of them.

Prompts come in shuffled passes; nothing is remembered about them. A discarded group has cost as much as a kept one and
stays counted. Unlike the published code, which raises after ten rounds, a step that cannot be filled trains on what it
has (metric `rounds` shows it): a thin pool must not end a run.
"""

from dataclasses import dataclass

from didact.bounds import MAX_PER_STEP, MAX_STEP
from didact.method import Draft, Method, Run, Turn, option
from didact.rounds.refill import filled, groups_of


@dataclass(frozen=True, kw_only=True)
class DAPO(Method):
    """Redraw until enough groups have signal; what is discarded stays counted."""

    name = "dapo"
    paper = "arXiv:2503.14476"
    shardable = True
    admission = "signal"
    surplus = "discarded"
    advantage = "grpo"
    loss_weighting = "token"

    prompts_per_round: int | None = option(None, "drawn in a round; None: prompts_per_step", least=1, most=MAX_PER_STEP)
    max_rounds: int = option(10, "rounds after which a step trains on what it has", least=1, most=MAX_STEP)

    def uneven(self, run: Run) -> bool:
        return run.rollouts_per_step % run.prompts_per_step > 0

    def draft(self, turn: Turn, memory: None) -> Draft | None:
        if turn.round >= self.max_rounds or filled(turn, self, memory) >= turn.prompts_per_step:
            return None
        num = self.prompts_per_round or min(turn.prompts_per_step, turn.rollouts_per_step // 2)
        return groups_of(turn, num, turn.walk)
