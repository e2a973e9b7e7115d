"""Uniform: shuffled passes through the pool, equal groups, every group trains. The baseline of every comparison."""

from dataclasses import dataclass

from didact.method import Draft, Method, Turn


@dataclass(frozen=True, kw_only=True)
class Uniform(Method):
    """Every prompt equally often, in shuffled passes, equal groups."""

    name = "uniform"
    shardable = True
    one_round = True

    def draft(self, turn: Turn, memory: None) -> Draft:
        return turn.equal(turn.walk(turn.batch))
