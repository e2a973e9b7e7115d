"""What each method remembers is checked when it is loaded."""

import math
from typing import Any

import numpy as np
import pytest

from didact import METHODS, PromptPool, make
from didact.state import seal
from didact.testing import SimulatedPolicy, play
from didact.testing.contract import same_state


def excluded(position: int, step: int, passed: int) -> dict[str, np.ndarray]:
    """Pilot-Commit's columns, with one prompt that has been excluded."""
    return {
        "seen": np.array([position]),
        "excluded": np.array([step], np.int32),
        "passed": np.array([passed], np.int32),
    }


def counts_of(position: int, passes: float, failures: float) -> dict[str, Any]:
    """The counts of one prompt, as a state holds them."""
    return {"seen": np.array([position]), "passes": np.float32([passes]), "failures": np.float32([failures])}


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("cures", {"subset": np.array([3, 1])}),
        ("cures", {"subset": np.array([1, 99])}),
        ("cures", {"pending": np.array([99])}),
        ("cures", {"steps_done": 9}),
        ("cures", {"first": -1}),
        ("cures", {"first": 9}),
        ("cures", {"steps_done": "2"}),
        ("gvm", {"subset": np.array([99])}),
        ("gvm", {"pending": np.array([99])}),
        ("gvm", {"left": np.array([4])}),
        ("gvm", {"queue": np.array([0, 99])}),
        ("gvm", {"split": 1}),
        ("gvm", {"norms": {"99": 1.0}}),
        ("gvm", {"norms": {"1": -1.0}}),
        ("gvm", {"pilots": {"seen": np.array([1])}}),
        ("reinforce_ada", {"pending": np.array([3, 3])}),
        ("reinforce_ada", {"pending": np.array([99])}),
        ("hora", {"probed": 99}),
        ("hora", {"probed": -1}),
        ("vip", {"recent": np.array([99])}),
        ("vip", {"recent": np.array([3, 1])}),
        ("vip", {"recent": np.arange(24)}),
        ("knapsack", {"recent": {"seen": np.array([1]), "passes": np.zeros((1, 3), np.float32)}}),
        ("mopps", {"counts": counts_of(99, 1.0, 1.0)}),
        ("mopps", {"counts": counts_of(1, -1.0, 1.0)}),
        ("mopps", {"counts": counts_of(1, math.inf, 1.0)}),
        ("mopps", {"evidence": {name: np.array([99.0]) for name in ("positions", "passes", "sizes")}}),
        ("bots", {"counts": counts_of(99, 1.0, 1.0)}),
        ("bots", {"counts": counts_of(1, 1.0, -1.0)}),
        ("bots", {"counts": counts_of(1, math.nan, 1.0)}),
        ("bots", {"cap": 0.5}),
        ("bots", {"cap": "0.5"}),
        ("bots", {"rho": 7.0}),
        ("bots", {"evidence": {"positions": np.array([1]), "passes": np.array([3.0]), "sizes": np.array([2.0])}}),
        ("bots", {"evidence": {"positions": np.array([1]), "passes": np.array([3.0]), "sizes": np.zeros(0)}}),
        ("pilot_commit", {"pilots": excluded(99, 0, 0)}),
        ("pilot_commit", {"pilots": excluded(3, 99, 0)}),
        ("pilot_commit", {"pilots": excluded(3, -2, 0)}),
        ("pilot_commit", {"pilots": excluded(3, 0, -1)}),
        ("pilot_commit", {"pilots": {**excluded(3, 0, 0), "passed": np.zeros(2, np.int32)}}),
        ("pilot_commit", {"barren": -1}),
        ("greso", {"bases": [0.5, 2.0]}),
        ("greso", {"bases": [0.5]}),
        ("greso", {"silent": {"seen": np.array([99]), "run": np.ones(1, np.int16)}}),
        ("greso", {"silent": {"seen": np.array([3]), "run": np.ones(1)}}),
        ("greso", {"silent": {}}),
        ("greso", {"walked": -1}),
        ("greso", {"visits": -1}),
        ("greso", {"last_request": 1}),
        ("adarft", {"target": 101.0}),
        ("adarft", {"target": math.nan}),
        ("adarft", {"unit": 0.0}),
        ("adarft", {"origin": math.inf}),
        ("adarft", {"rewards": [math.inf]}),
        ("fastcurl", {"index": 9}),
        ("fastcurl", {"index": -1}),
        ("fastcurl", {"began": 9}),
        ("fastcurl", {"cuts": {"x": [1]}}),
        *((method, {"surprise": 1}) for method in METHODS),
    ],
)
def test_memories_that_cannot_be_are_refused_and_change_nothing(method: str, changes: dict[str, Any]) -> None:
    """Sealed anew, so that the method's own checks are what refuses them, or that it would not save them again."""
    column = np.arange(24)
    pool = PromptPool(
        [f"prompt-{index}" for index in column],
        source=["a", "b"] * 12,
        difficulty=column * 4,
        prompt_tokens=column + 1,
        features=np.stack([column % 7, column % 5], axis=1),
    )
    curriculum, _ = play(make(method, pool, prompts_per_step=4, rollouts_per_step=32), SimulatedPolicy(), range(3))
    state, other = curriculum.state_dict(), make(method, pool, prompts_per_step=4, rollouts_per_step=32)
    before = other.state_dict()
    contents = {name: state[name] for name in state if name != "digest"}
    with pytest.raises(ValueError, match="could have saved"):
        other.load_state_dict(seal({**contents, "memory": {**(state["memory"] or {}), **changes}}))
    assert same_state(before, other.state_dict())
    other.load_state_dict(state)
    assert same_state(state, other.state_dict())
