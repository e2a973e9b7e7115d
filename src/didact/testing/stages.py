"""What a stage of a curriculum, or a task, has to keep, as suites to inherit: set `build`, and pytest does the rest."""

from typing import Any, ClassVar

import numpy as np
import pytest

from didact.admission import Admission


class AdmissionContract:
    """For an `Admission`: `build() -> Admission`."""

    @staticmethod
    def build() -> Admission:
        raise NotImplementedError("set build = staticmethod(your_admission)")

    @pytest.mark.parametrize("rewards", [[1.0], [0.0] * 8, [1.0] * 8, [0.0, 1.0], [0.2, 0.2, 0.7], [-1.0, 1.0]])
    def test_says_yes_or_no_and_leaves_the_rewards_alone(self, rewards: list[float]) -> None:
        array = np.array(rewards)
        array.flags.writeable = False
        answer = self.build().admits(array)
        assert isinstance(answer, bool)
        assert self.build().admits(array[::-1]) == answer, "the order of rollouts must not matter"


class TaskContract:
    """For a `didact.tasks.Task`: `build() -> Task`; `num` examples of each split are looked at."""

    num: ClassVar[int] = 20

    @staticmethod
    def build() -> Any:
        raise NotImplementedError("set build = staticmethod(your_task)")

    @pytest.mark.parametrize("split", ["train", "test"])
    def test_gold_answers_pass_and_empty_ones_do_not(self, split: str) -> None:
        task = self.build()
        for example in task.examples(split, self.num):
            assert task.verifiable(example.answer) is None
            assert task.verify(task.gold_response(example.answer), example.answer) == 1.0
            assert task.verify("", example.answer) == 0.0

    def test_splits_share_nothing_and_stay_the_same(self) -> None:
        task = self.build()
        train, test = task.examples("train", self.num), task.examples("test", self.num)
        assert [example.prompt_id for example in train] == [
            example.prompt_id for example in task.examples("train", self.num)
        ]
        for name in ("prompt", "prompt_id"):
            left, right = ([getattr(example, name) for example in examples] for examples in (train, test))
            assert not set(left) & set(right)
            assert len(set(left)) == len(left)
            assert len(set(right)) == len(right)
