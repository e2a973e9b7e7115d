"""What a user brings to the TRL adapter: several rewards, ids, other data at a resumption, settings of TRL."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import Dataset
from trl import GRPOTrainer

from didact import PromptPool, make
from didact.adapters.trl import STATE_FILE, CurriculumGRPOTrainer, CurriculumMixin
from didact.adapters.trl.checks import evidence_of
from didact.state import load_state, save_state
from tests.adapters.trl.conftest import build, digits
from tests.adapters.trl.test_trainer import history

pytestmark = pytest.mark.slow


def well_formed(completions, **_):
    return [1.0] * len(completions)


def judged(completions, **_):
    return [float(index % 11) for index in range(len(completions))]


def correct(completions, **_):
    return [0.0] * len(completions)


OBSERVE = {"truncated": "observe"}  # a random model rarely ends its answer


# Evidence -------------------------------------------------------------------------------------------------------------


def test_several_rewards_need_a_word_on_which_is_right(model_path, rows, tmp_path):
    """A format bonus and a judge beside a correctness of 0 were believed to be a pass rate of .83 to .90."""
    more = {"curriculum": "uniform", "reward_funcs": [well_formed, judged, correct], "max_steps": 1}
    with pytest.raises(ValueError, match=r"\(well_formed, judged, correct\).*verifier='NAME'.*'pass_above': NUMBER"):
        build(CurriculumGRPOTrainer, model_path, rows, tmp_path, verifier=None, **more)
    named = build(
        CurriculumGRPOTrainer, model_path, rows, tmp_path, verifier="correct", curriculum_options=OBSERVE, **more
    )
    named.train()
    assert named.curriculum.metrics()["pass_rate"] == 0
    rates = named.curriculum.pass_rates()
    assert rates.mean[rates.last_seen >= 0] == pytest.approx([0.1] * 4)
    assert history(named, "rewards/well_formed/mean") == [1.0]
    options = {**OBSERVE, "pass_above": 10.5}  # the judge's 10, and 1 for the form
    summed = build(CurriculumGRPOTrainer, model_path, rows, tmp_path, verifier=None, curriculum_options=options, **more)
    summed.train()
    assert summed.curriculum.metrics()["pass_rate"] == pytest.approx(2 / 32)


def rule(weights, verifier=None, names=("form", "right"), *, own_baseline=False, pass_above=None):
    trainer = SimpleNamespace(reward_func_names=list(names), reward_weights=np.array(weights, dtype=float))
    options = {"pass_above": pass_above}
    return evidence_of(trainer, SimpleNamespace(name="m", own_baseline=own_baseline, options=options), verifier)


def test_which_rewards_are_the_evidence():
    assert rule([2], names=["right"]) == 0  # as it is, not twice as much
    assert rule([0, 1]) == 1  # the other one is only logged
    assert rule([1, 1], "right") == 1
    assert rule([1, 0], "right") == 1  # logged, and yet what is believed
    assert rule([1, 1], pass_above=0.9) is None
    assert rule([1, 1], own_baseline=True, pass_above=0.9) is None
    assert rule([1], names=["right"], own_baseline=True) is None
    assert rule([0, 1], "right", own_baseline=True) is None  # all that trains
    with pytest.raises(ValueError, match=r"baselines of its own.*leave verifier out.*'pass_above'"):
        rule([1, 1], "right", own_baseline=True)
    with pytest.raises(ValueError, match=r"format would count as a pass: let curriculum_options=\{'pass_above'"):
        rule([1, 1], own_baseline=True)
    with pytest.raises(ValueError, match=r"'f' is several of the reward functions \['f', 'f'\]"):
        rule([1, 1], "f", names=["f", "f"])
    with pytest.raises(ValueError, match="is none of the reward functions"):
        rule([1, 1], "nobody")


def test_one_reward_on_another_scale_stops_before_anything_is_trained(model_path, rows, tmp_path):
    more = {"curriculum": "cures", "reward_funcs": [judged]}
    trainer = build(CurriculumGRPOTrainer, model_path, rows, tmp_path, **more)
    with pytest.raises(
        ValueError, match=r"outside \[0, 1\] \(from 0 to 10\).*pass_above=NUMBER, in curriculum_options"
    ):
        trainer.train()
    assert trainer.state.global_step == 0
    options = {**OBSERVE, "pass_above": 4.5, "steps_per_iteration": 2}
    said = build(CurriculumGRPOTrainer, model_path, rows, tmp_path, curriculum_options=options, **more)
    said.train()
    assert 0.4 < said.curriculum.metrics()["pass_rate"] < 0.7


# Ids and the rows behind them -----------------------------------------------------------------------------------------


def test_ids_may_be_whole_numbers_and_a_named_column_must_be_there(model_path, rows, tmp_path, caplog):
    def ids(rows, **more):
        trainer = build(CurriculumGRPOTrainer, model_path, rows, tmp_path, curriculum="uniform", **more)
        return trainer.curriculum.pool.ids.tolist()[:2]

    plain = [{"prompt": row["prompt"], "answer": row["answer"]} for row in rows]
    assert ids(plain) == ["0", "1"]
    assert ids([{**row, "prompt_id": 7 * index} for index, row in enumerate(plain)]) == ["0", "7"]
    assert ids([{**row, "uid": 90 + index} for index, row in enumerate(plain)], prompt_id="uid") == ["90", "91"]
    with pytest.raises(ValueError, match=r"prompt_id='uid' names no column of the data set, which has prompt, answer;"):
        ids(plain, prompt_id="uid")
    pool = PromptPool([str(row) for row in range(4)])
    given = make("uniform", pool, prompts_per_step=4, rollouts_per_step=32)
    twice = [{**row, "prompt_id": min(index, 3)} for index, row in enumerate(plain)]
    with pytest.raises(ValueError, match="duplicate prompt id '3'"):
        build(CurriculumGRPOTrainer, model_path, twice, tmp_path, curriculum=given)
    assert "repeat" not in caplog.text
    ids(plain[:10] * 10)
    assert "90 of 100 prompts repeat the text of another" in caplog.text


def test_other_data_are_found_out_when_a_run_goes_on(model_path, rows, tmp_path):
    plain = [{"prompt": row["prompt"], "answer": row["answer"], "note": "x"} for row in rows]
    more = {"curriculum": "uniform", "save_strategy": "steps", "save_steps": 1, "max_steps": 1}
    build(CurriculumGRPOTrainer, model_path, plain, tmp_path, **more).train()
    checkpoint = tmp_path / "checkpoint-1"

    def resumed(rows, **changed):
        trainer = build(CurriculumGRPOTrainer, model_path, rows, tmp_path / "again", **{**more, **changed})
        trainer.train(resume_from_checkpoint=str(checkpoint))
        return trainer

    def refused(rows, message):
        with pytest.raises(
            ValueError, match=f"checkpoint-1 was saved with another data set: {message}, and what is believed"
        ):
            resumed(rows)

    refused(Dataset.from_list(plain).shuffle(seed=3).to_list(), "its rows are the same in another order")
    refused([{**plain[0], "answer": "41"}, *plain[1:]], "its column 'answer' held something else")
    refused([{**plain[0], "prompt": "a 1+1 ="}, *plain[1:]], "its column 'prompt' held something else")
    refused(plain[:-1], "it had 48 rows, this one has 47")
    resumed([{**row, "note": "y"} for row in plain])  # no matter of right or wrong
    # Ids tell the rows apart where the curriculum was built for them: the order of the data set is then free.
    named = [{**row, "prompt_id": f"p{index}"} for index, row in enumerate(plain)]

    def own(pool=None):
        pool = PromptPool([row["prompt_id"] for row in named])
        return make("uniform", pool, prompts_per_step=4, rollouts_per_step=32)

    build(CurriculumGRPOTrainer, model_path, named, tmp_path, **{**more, "curriculum": own}).train()
    resumed(named[::-1], curriculum=own)


def test_a_checkpoint_from_before_fingerprints_is_gone_on_with(model_path, rows, tmp_path):
    more = {"curriculum": "uniform", "save_strategy": "steps", "save_steps": 1}
    build(CurriculumGRPOTrainer, model_path, rows, tmp_path, max_steps=1, **more).train()
    path = tmp_path / "checkpoint-1" / STATE_FILE
    state = load_state(path)
    assert state.pop("data")["rows"] == 48
    save_state(path, state)
    manifest = tmp_path / "checkpoint-1" / "manifest.json"
    from didact.manifest import seal

    manifest.unlink()
    seal(tmp_path / "checkpoint-1", {})
    assert STATE_FILE in json.dumps(json.loads(manifest.read_text()))
    again = build(CurriculumGRPOTrainer, model_path, rows, tmp_path, max_steps=2, **more)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    assert again.state.global_step == 2


# Settings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        (
            "cures",
            {"multi_objective_aggregation": "normalize_then_sum"},
            "'rloo', of the weighted sum .* cannot be done",
        ),
        ("reinforce_ada", {"multi_objective_aggregation": "normalize_then_sum"}, "'dr_grpo', of the weighted sum"),
        ("cures", {"scale_rewards": "batch"}, "scales rewards by 'none': scale_rewards='batch' cannot be done"),
        ("hora", {"scale_rewards": "none"}, "scales rewards by 'group': scale_rewards='none' cannot be done"),
        (
            "uniform",
            {"generation_kwargs": {"max_new_tokens": 4}},
            "sets max_new_tokens, and the curriculum sets the len",
        ),
        ("uniform", {"generation_kwargs": {"max_tokens": 4}}, "by max_completion_length or its context: leave it out"),
        ("uniform", {"generation_kwargs": {"n": 4}}, "sets n, and the curriculum sets the number of rollouts"),
    ],
)
def test_settings_that_the_curriculum_would_override_are_refused(model_path, rows, tmp_path, method, settings, message):
    with pytest.raises(ValueError, match=message):
        build(CurriculumGRPOTrainer, model_path, rows, tmp_path, curriculum=method, reward_funcs=[digits], **settings)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("cures", {"scale_rewards": "none"}),
        ("hora", {"scale_rewards": "group"}),
        ("uniform", {"scale_rewards": "batch", "multi_objective_aggregation": "normalize_then_sum"}),
    ],
)
def test_settings_that_say_what_is_done_anyway_are_fine(model_path, rows, tmp_path, method, settings):
    build(CurriculumGRPOTrainer, model_path, rows, tmp_path, curriculum=method, reward_funcs=[digits], **settings)


def test_evaluation_keeps_its_own_number_of_generations(model_path, rows, tmp_path):
    asked = []

    class Watched(CurriculumGRPOTrainer):
        def _calculate_rewards(self, inputs, *others):
            asked.append((self.model.training, [row["prompt_id"] for row in inputs]))
            return super()._calculate_rewards(inputs, *others)

    more = {"eval_dataset": Dataset.from_list(rows[:4]), "eval_strategy": "steps", "eval_steps": 1, "max_steps": 1}
    trainer = build(
        Watched, model_path, rows, tmp_path, curriculum="uniform", num_generations_eval=2,
        per_device_eval_batch_size=8, **more,
    )  # fmt: skip
    trainer.train()
    evaluated = [ids for training, ids in asked if not training]
    assert [sorted(ids) for ids in evaluated] == [sorted([row["prompt_id"] for row in rows[:4]] * 2)]


def test_a_trainer_that_trains_other_rows_than_it_scored_is_refused(model_path, rows, tmp_path):
    class Replays(GRPOTrainer):
        """As TRL 1.9's experimental GRPOWithReplayBufferTrainer: puts earlier rows in place of some."""

        def _generate_and_score_completions(self, inputs):
            output = super()._generate_and_score_completions(inputs)
            output["completion_ids"] = output["completion_ids"].roll(1, 0)
            return output

    class Trainer(CurriculumMixin, Replays):
        pass

    with pytest.raises(TypeError, match="returns other rows than it scored, as a replay buffer does"):
        build(Trainer, model_path, rows, tmp_path, curriculum="uniform").train()


def test_the_divisor_of_ligers_dr_grpo_stays_what_it_was(model_path, rows, tmp_path):
    """TRL's own divides by the context length of the step, the one of Liger in TRL 1.9 by that of the beginning."""
    more = {"curriculum": "uniform", "curriculum_options": {"context": 4}, "loss_type": "dr_grpo", "max_steps": 1}
    seen = []

    class Watched(CurriculumGRPOTrainer):
        def _training_batch(self, step, batch):
            output = super()._training_batch(step, batch)
            seen.append(output["advantages"])
            return output

    build(Watched, model_path, rows, tmp_path, **more).train()
    fused = build(Watched, model_path, rows, tmp_path, **more)
    fused.liger_loss = None
    fused.train()
    assert seen[1].abs().max() > 0
    assert seen[0].tolist() == pytest.approx((seen[1] / 2).tolist())


def test_columns_that_a_method_does_not_use_do_not_stop_it(model_path, rows, tmp_path):
    strange = [
        {**row, "difficulty": ["easy", "hard"][index % 2], "features": "x", "prompt_tokens": None if index else 3}
        for index, row in enumerate(rows)
    ]
    trainer = build(CurriculumGRPOTrainer, model_path, strange, tmp_path, curriculum="uniform", max_steps=1)
    trainer.train()
    assert trainer.state.global_step == 1
    with pytest.raises(ValueError, match="difficulty"):
        build(CurriculumGRPOTrainer, model_path, strange, tmp_path, curriculum="adarft")
