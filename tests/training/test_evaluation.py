"""Verdicts that are errors: counted apart in an evaluation, and the end of a run where there is nothing else."""

import pytest

pytest.importorskip("trl")

from didact.tasks.verifier import Score
from didact.training.config import TrainConfig
from didact.training.display import Silent
from didact.training.evaluation import Scorer, VerifierFailedError, accuracy, described

RIGHT, ERROR = Score(1.0, False, ""), Score(None, True, "the judge is down")


class Verdicts:
    """A verifier that gives what it was told to."""

    def __init__(self, *scores: Score) -> None:
        self.scores = list(scores)

    def score(self, responses, answers):
        return [self.scores.pop(0) for _ in responses]


def test_an_error_is_neither_right_nor_wrong():
    record = accuracy([1, None, 0, 1], ["a", "a", "b", "b"])
    assert (record["num_prompts"], record["errors"], record["passed"]) == (4, 1, [1, None, 0, 1])
    assert record["pass_rate"] == pytest.approx(2 / 3)
    assert (round(record["low"], 3), round(record["high"], 3)) == (0.208, 0.939)
    assert record["by_source"] == {"a": [1, 1], "b": [1, 2]}
    assert described(record) == (
        "held-out accuracy 0.667 [0.208, 0.939] on 3 prompts; 1 more could not be judged; "
        "by source: a 1.000 of 1, b 0.500 of 2"
    )


def test_of_one_source_there_is_one_number():
    record = accuracy([1, 0], ["a", "a"])
    assert "by_source" not in record
    assert described({**record, "on": "training prompts"}).startswith("accuracy on training prompts 0.500 [")


@pytest.mark.parametrize(("steps", "enough"), [(300, 12), (2, 8), (1, 4)])
def test_rollouts_that_are_all_errors_end_the_run(steps, enough):
    """After three steps' worth of them, or all steps of a shorter run."""
    config = TrainConfig(steps=steps, rollouts_per_step=4, prompts_per_step=2)
    scorer = Scorer(Verdicts(*[ERROR] * enough), config, Silent())
    for _ in range(enough - 1):
        scorer.score_rollouts(["x"], ["1"])
    with pytest.raises(VerifierFailedError, match=rf"failed on each of the last {enough} rollouts.*the judge is down"):
        scorer.score_rollouts(["x"], ["1"])


def test_one_verdict_among_errors_keeps_it_going():
    config = TrainConfig(rollouts_per_step=4, prompts_per_step=2)
    scorer = Scorer(Verdicts(*[ERROR] * 8, RIGHT, *[ERROR] * 11, RIGHT), config, Silent())
    assert [score.errored for score in scorer.score_rollouts(["x"] * 21, ["1"] * 21)].count(False) == 2
    scorer = Scorer(Verdicts(*[ERROR] * 40), config, Silent())
    scorer.score(["x"] * 40, ["1"] * 40)  # an evaluation decides for itself


def test_the_first_failure_is_said_once():
    heard = []
    display = Silent()
    display.note = heard.append
    scorer = Scorer(Verdicts(ERROR, RIGHT, ERROR), TrainConfig(), display)
    scorer.score(["x", "y"], ["1", "1"])
    scorer.score(["x"], ["1"])
    assert heard == ["the verifier failed on 1 of 2 responses: the judge is down"]
