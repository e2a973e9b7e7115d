"""The TRL adapter against the installed TRL: stock results with equal groups, right ones with unequal groups."""

import numpy as np
import pytest
import torch
from datasets import Dataset, IterableDataset
from transformers import TrainerCallback
from trl import GRPOTrainer

from didact import PromptPool, make
from didact.adapters.trl import STATE_FILE, CurriculumGRPOTrainer, CurriculumMixin, checks
from didact.adapters.trl import trainer as adapter
from didact.adapters.trl.losses import weighted_sum
from didact.advantage import group_advantages
from didact.context import StagedContext
from didact.manifest import fault
from didact.methods.cures import gradient_moments
from tests.adapters.trl.conftest import build, digits, length, weights

pytestmark = pytest.mark.slow


def history(trainer, key):
    return [entry[key] for entry in trainer.state.log_history if key in entry]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"loss_type": "grpo", "scale_rewards": "none"},
        {"loss_type": "bnpo", "scale_rewards": "batch"},
        {"loss_type": "dr_grpo", "num_iterations": 2},
        {"loss_type": "cispo", "beta": 0.05},
        {"loss_type": "dapo", "steps_per_generation": 4, "max_steps": 4},
        {"loss_type": "sapo"},
        {"loss_type": "vespo"},
        {"loss_type": "luspo", "importance_sampling_level": "sequence"},
        {"multi_objective_aggregation": "normalize_then_sum"},
        {"top_entropy_quantile": 0.5, "max_steps": 2},  # a third: which token is at the quantile is float noise
        {"mask_truncated_completions": True, "loss_type": "grpo"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())) or "defaults",
)
def test_equal_groups_train_as_stock_trl(model_path, rows, tmp_path, settings):
    """Uniform sampling through the adapter equals stock TRL fed the same prompts: loss, gradient norm and weights."""
    ours = build(CurriculumGRPOTrainer, model_path, rows, tmp_path / "ours", curriculum="uniform", **settings)
    ours.train()
    size = ours.args.generation_batch_size
    probe = make(
        "uniform", PromptPool([row["prompt_id"] for row in rows]), prompts_per_step=size // 8, rollouts_per_step=size
    )
    by_id = {row["prompt_id"]: row for row in rows}
    order = [by_id[group.prompt_id] for step in range(4) for group in probe.plan(step)]
    stock = build(GRPOTrainer, model_path, order, tmp_path / "stock", **settings)
    stock.train()
    for key in ("loss", "grad_norm", "reward", "frac_reward_zero_std"):
        assert history(ours, key) == pytest.approx(history(stock, key), rel=1e-4, abs=1e-6), key
    # Adam divides by the size of the gradient, so float noise in tiny gradients shows in single weights.
    assert (weights(ours) - weights(stock)).abs().max() < 1e-4


@pytest.mark.parametrize("with_replacement", [False, True])
def test_uneven_groups_get_rloo_advantages_and_the_prompt_mean_loss(model_path, rows, tmp_path, with_replacement):
    """The gradient of TRL's loss equals that of the CurES paper, eq. 16, a mean over draws, computed by hand."""
    trainer = build(
        CurriculumGRPOTrainer,
        model_path,
        rows,
        tmp_path,
        curriculum="cures",
        curriculum_options={
            "prompts_per_step": 5,
            "temperature": 0.05,
            "subset_size": 10,
            "with_replacement": with_replacement,
        },
        loss_type="grpo",
        per_device_train_batch_size=32,
        gradient_accumulation_steps=1,
        reward_funcs=[digits],
    )
    seen = {}
    training_batch = trainer._training_batch

    def keep_batch(step, batch):
        seen["output"], admitted = training_batch(step, batch), trainer.curriculum.admitted(step)
        seen["draws"] = {group.group_id: group.weight for group in admitted}
        rows = [batch.groups[group.group_id][rollout] for group in admitted for rollout in group.rollouts]
        seen["rewards"] = batch.rewards[rows, 0]
        seen["ids"] = np.repeat([group.group_id for group in admitted], [len(group.rollouts) for group in admitted])
        return seen["output"]

    trainer._training_batch = keep_batch
    trainer.train()
    output, ids, rewards = seen["output"], seen["ids"], seen["rewards"]
    sizes = np.unique(ids, return_counts=True)[1]
    assert sizes.sum() == 32
    assert len(set(sizes)) > 1
    draws = seen["draws"]
    assert (max(draws.values()) > 1) == with_replacement
    weight = np.array([draws[group] / sum(draws.values()) / (ids == group).sum() for group in ids])
    expected = group_advantages(rewards, ids, "rloo", singleton="zero")
    assert output["advantages"].numpy() == pytest.approx(expected * weight * len(ids), rel=1e-5)

    model = trainer.model
    model.zero_grad()
    trainer.current_gradient_accumulation_steps = 1
    trainer._compute_loss(model, output).backward()
    ours = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    model.zero_grad()
    tokens = torch.cat([output["prompt_ids"], output["completion_ids"]], 1)
    attention = torch.cat([output["prompt_mask"], output["completion_mask"]], 1)
    width = output["completion_ids"].shape[1]
    logits = model(input_ids=tokens, attention_mask=attention).logits[:, -width - 1 : -1]
    logps = torch.log_softmax(logits, -1).gather(2, output["completion_ids"][:, :, None]).squeeze(2)
    mask = output["completion_mask"]
    per_rollout = (logps * mask).sum(1) / mask.sum(1)
    (-(per_rollout * torch.tensor(expected * weight, dtype=torch.float32)).sum()).backward()
    by_hand = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    assert torch.allclose(ours, by_hand, rtol=1e-3, atol=1e-6)


def test_the_plan_is_made_after_the_latest_outcome(model_path, rows, tmp_path):
    """TRL's loader reads one batch ahead; the plan of a step must still know the outcomes of the step before."""
    trainer = build(CurriculumGRPOTrainer, model_path, rows, tmp_path, curriculum="uniform", dataloader_num_workers=0)
    calls = []
    plan, observe = trainer.curriculum.plan, trainer.curriculum.observe
    trainer.curriculum.plan = lambda step: calls.append(("plan", step)) or plan(step)
    trainer.curriculum.observe = lambda outcomes: (
        calls.append(("observe", trainer.curriculum.step)) or observe(outcomes)
    )
    trainer.train()
    assert calls == [call for step in range(3) for call in [("plan", step), ("observe", step), ("plan", step)]]
    assert history(trainer, "curriculum/lag") == [0, 0, 0]


def test_several_rounds_are_counted_and_only_admitted_groups_train(model_path, rows, tmp_path):
    trainer = build(
        CurriculumGRPOTrainer, model_path, rows, tmp_path, curriculum="dapo", reward_funcs=[length], num_iterations=2
    )
    trainer.train()
    metrics = trainer.curriculum.metrics()
    assert metrics["rollouts"] == metrics["rollouts_trained"] + metrics["rollouts_discarded"]
    assert metrics["rollouts"] == sum(history(trainer, "num_tokens") and [metrics["rollouts_planned"]])
    assert metrics["groups_trained"] <= metrics["groups_with_signal"]


def test_groups_that_wait_train_later_with_all_their_rollouts(model_path, rows, tmp_path):
    held, trained = [], []

    class Watched(CurriculumGRPOTrainer):
        def _training_batch(self, step, batch):
            output = super()._training_batch(step, batch)
            admitted = self.curriculum.admitted(step)
            trained.extend((group.group_id, len(group.rollouts)) for group in admitted)
            chosen = [batch.groups[group.group_id][index] for group in admitted for index in group.rollouts]
            fed = output["completion_ids"][: len(chosen)]
            stored = batch.column("completion_ids")[torch.tensor(chosen, dtype=torch.long)]
            assert torch.equal(fed, stored)
            held.append(self.curriculum.held())
            return output

    options = {"curriculum": "speed", "curriculum_options": {"num_screen": 4}}
    trainer = build(Watched, model_path, rows, tmp_path, **options, reward_funcs=[length], max_steps=4)
    trainer.train()
    waited = set().union(*held) & {group for group, _ in trained}
    assert waited  # some group was screened at one step and trained at a later one
    assert all(size == 8 for _, size in trained)
    metrics = trainer.curriculum.metrics()
    assert metrics["rollouts_trained"] == 8 * len(trained)
    assert metrics["rollouts"] == sum(metrics[f"rollouts_{where}"] for where in ("trained", "discarded", "held"))


def test_the_baseline_of_a_group_is_that_of_all_its_rollouts(model_path, rows, tmp_path):
    seen = []

    class Watched(CurriculumGRPOTrainer):
        def _training_batch(self, step, batch):
            output = super()._training_batch(step, batch)
            rewards = weighted_sum(batch.rewards, self.reward_weights)
            for group in self.curriculum.admitted(step):
                every = rewards[batch.groups[group.group_id]]
                assert group.baseline == pytest.approx(every.mean())
                seen.append((len(group.rollouts), len(every)))
            kept = [
                rewards[batch.groups[g.group_id][i]] - g.baseline
                for g in self.curriculum.admitted(step)
                for i in g.rollouts
            ]
            assert output["advantages"][: len(kept)].tolist() == pytest.approx(kept, abs=1e-6)
            return output

    options = {"curriculum": "reinforce_ada", "curriculum_options": {"keep": 4, "rollouts_per_round": 4}}
    build(Watched, model_path, rows, tmp_path, **options, reward_funcs=[length]).train()
    assert any(size < of for size, of in seen)


def test_a_pool_smaller_than_a_batch(model_path, rows, tmp_path):
    trainer = build(CurriculumGRPOTrainer, model_path, rows[:2], tmp_path, curriculum="cures")
    trainer.train()
    assert trainer.state.global_step == 3
    assert trainer.curriculum.metrics()["rollouts_trained"] == 3 * 32


def test_the_default_learns_from_the_words_of_prompts(model_path, rows, tmp_path):
    trainer = build(CurriculumGRPOTrainer, model_path, rows, tmp_path, curriculum="didact")
    assert trainer.curriculum.pool.features.shape == (len(rows), 32)
    trainer.train()
    metrics = trainer.curriculum.metrics()
    assert metrics["rollouts"] == metrics["rollouts_trained"] == 3 * 32
    assert trainer.curriculum.memory.outlook.shared.step > 0
    given = [{**row, "features": [float(index)]} for index, row in enumerate(rows)]
    trainer = build(CurriculumGRPOTrainer, model_path, given, tmp_path / "given", curriculum="didact")
    assert trainer.curriculum.pool.features.shape == (len(rows), 1)
    trainer = build(CurriculumGRPOTrainer, model_path, rows, tmp_path / "other", curriculum="uniform")
    assert trainer.curriculum.pool.features is None


def test_the_pilot_does_not_train_unless_asked(model_path, rows, tmp_path):
    options = {"steps_per_iteration": 2, "pilot_rollouts": 4}
    trainer = build(CurriculumGRPOTrainer, model_path, rows, tmp_path, curriculum="cures", curriculum_options=options)
    trainer.train()
    metrics = trainer.curriculum.metrics()
    assert metrics["rollouts_pilot"] == 2 * 2 * 4 * 4  # two iterations of 2 steps * 4 prompts, 4 rollouts each
    assert metrics["rollouts_discarded"] == metrics["rollouts_pilot"]
    assert metrics["rollouts_trained"] == 3 * 32


def test_the_context_length_changes_during_training_and_not_in_evaluation(model_path, rows, tmp_path):
    context = StagedContext([(1, 3), (1, 6)])
    trainer = build(
        CurriculumGRPOTrainer,
        model_path,
        rows,
        tmp_path,
        curriculum="uniform",
        curriculum_options={"context": context},
        eval_dataset=Dataset.from_list(rows[:8]),
        eval_strategy="steps",
        eval_steps=1,
        per_device_eval_batch_size=8,
    )
    trainer.train()
    assert history(trainer, "curriculum/context_length") == [3, 6, 6]
    assert history(trainer, "completions/max_length") == [3, 6, 6]
    assert history(trainer, "eval_completions/max_length") == [8, 8, 8]
    metrics = trainer.curriculum.metrics()
    assert metrics["rollouts"] == 3 * 32  # evaluation is no evidence
    assert metrics["response_tokens"] + metrics["prompt_tokens"] == history(trainer, "num_tokens")[-1]


@pytest.mark.parametrize("method", ["uniform", "cures", "dapo", "speed", "pilot_commit"])
def test_resume_is_exact(model_path, rows, tmp_path, method):
    more = {"curriculum": method, "save_strategy": "steps", "save_steps": 2, "max_steps": 5}
    straight = build(CurriculumGRPOTrainer, model_path, rows, tmp_path / "straight", **more)
    straight.train()

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            control.should_training_stop = state.global_step == 2

    first = build(CurriculumGRPOTrainer, model_path, rows, tmp_path / "cut", **more)
    first.add_callback(Stop())
    first.train()
    second = build(CurriculumGRPOTrainer, model_path, rows, tmp_path / "cut", **more)
    second.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-2"))
    assert torch.equal(weights(straight), weights(second))
    assert straight.curriculum.metrics() == second.curriculum.metrics()
    assert history(straight, "loss")[-3:] == history(second, "loss")[-3:]


def test_a_save_inside_a_generation_window_is_refused(model_path, rows, tmp_path):
    more = {"curriculum": "uniform", "save_strategy": "steps", "steps_per_generation": 4}
    with pytest.raises(ValueError, match="make it a multiple of 2"):
        build(CurriculumGRPOTrainer, model_path, rows, tmp_path, save_steps=3, **more)
    # A save that comes all the same, at the end of training, cannot be resumed from.
    trainer = build(CurriculumGRPOTrainer, model_path, rows, tmp_path, save_steps=2, max_steps=3, **more)
    trainer.train()
    again = build(CurriculumGRPOTrainer, model_path, rows, tmp_path, save_steps=2, max_steps=5, **more)
    with pytest.raises(ValueError, match="inside a generation window"):
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


def test_a_checkpoint_without_the_curriculum_is_refused(model_path, rows, tmp_path):
    more = {"curriculum": "uniform", "save_strategy": "steps", "save_steps": 2}
    build(CurriculumGRPOTrainer, model_path, rows, tmp_path, **more).train()
    state = tmp_path / "checkpoint-2" / STATE_FILE
    state.write_bytes(state.read_bytes()[:-20])
    again = build(CurriculumGRPOTrainer, model_path, rows, tmp_path, **more)
    with pytest.raises(ValueError, match=r"checkpoint-2: curriculum.npz has .* bytes instead of"):
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


def test_only_whole_checkpoints_are_resumed_from(model_path, rows, tmp_path, caplog):
    more = {"curriculum": "uniform", "save_strategy": "steps", "save_steps": 1, "max_steps": 3}
    straight = build(CurriculumGRPOTrainer, model_path, rows, tmp_path, **more)
    straight.train()
    written = sorted(path.name for path in (tmp_path / "checkpoint-3").iterdir() if path.name != "manifest.json")
    for name in written:
        path = tmp_path / "checkpoint-3" / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        again = build(CurriculumGRPOTrainer, model_path, rows, tmp_path, **more)
        with pytest.raises(ValueError, match=f"checkpoint-3: {name} is damaged"):
            again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
        path.unlink()
        with pytest.raises(ValueError, match=f"checkpoint-3: {name} is missing"):
            again.train(resume_from_checkpoint=tmp_path / "checkpoint-3")
        path.write_bytes(whole)
    (tmp_path / "checkpoint-3" / "rng_state.pth").write_bytes(b"")
    (tmp_path / "checkpoint-2" / "manifest.json").unlink()
    again = build(CurriculumGRPOTrainer, model_path, rows, tmp_path, **more)
    again.train(resume_from_checkpoint=True)
    assert "checkpoint-3 is passed over: rng_state.pth has 0 bytes" in caplog.text
    assert "checkpoint-2 is passed over: it has no manifest.json" in caplog.text
    assert torch.equal(weights(straight), weights(again))
    assert fault(tmp_path / "checkpoint-3") is None
    for step in (1, 2, 3):
        (tmp_path / f"checkpoint-{step}" / "manifest.json").unlink()
    with pytest.raises(ValueError, match=r"no checkpoint in .* is whole"):
        again.train(resume_from_checkpoint=True)


def test_an_old_checkpoint_goes_when_the_new_one_is_whole(model_path, rows, tmp_path, monkeypatch):
    """Also with one to keep: a save that fails at its very end leaves the one before. A file of one's own stays."""
    more = {"curriculum": "uniform", "save_strategy": "steps", "save_steps": 1, "max_steps": 3, "save_total_limit": 1}
    trainer = build(CurriculumGRPOTrainer, model_path, rows, tmp_path, **more)

    class Meddles(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            assert args.save_total_limit == 1
            if state.global_step == 2:
                (tmp_path / "checkpoint-1" / "notes.txt").write_text("of somebody's")
            if state.global_step == 3:
                monkeypatch.setattr(adapter, "finish", full)

    def full(*_):
        raise OSError("no space left")

    trainer.add_callback(Meddles())
    with pytest.raises(OSError, match="no space left"):
        trainer.train()
    assert [path.name for path in (tmp_path / "checkpoint-1").iterdir()] == ["notes.txt"]
    assert fault(tmp_path / "checkpoint-2") is None
    assert (tmp_path / "checkpoint-3" / "optimizer.pt").is_file()
    assert "not finished" in fault(tmp_path / "checkpoint-3")


def test_reward_functions_that_give_up_are_errors_and_not_wrong_answers(model_path, rows, tmp_path):
    def sometimes(completions, **_):
        return [None if index % 4 == 0 else float(index % 2) for index in range(len(completions))]

    trainer = build(CurriculumGRPOTrainer, model_path, rows, tmp_path, curriculum="cures", reward_funcs=[sometimes])
    trainer.train()
    metrics = trainer.curriculum.metrics()
    assert metrics["rollouts_errored"] == metrics["rollouts"] / 4
    assert np.isfinite(history(trainer, "loss")).all()


def test_the_verifier_may_be_one_of_several_reward_functions(model_path, rows, tmp_path):
    def right(completions, **_):
        return [1.0] * len(completions)

    # A random model rarely ends its answer: take truncated rollouts as they are.
    options = {"truncated": "observe"}
    more = {"curriculum": "uniform", "curriculum_options": options, "reward_funcs": [length, right], "max_steps": 1}
    trainer = build(CurriculumGRPOTrainer, model_path, rows, tmp_path, verifier="right", **more)
    trainer.train()
    assert trainer.curriculum.metrics()["pass_rate"] == 1.0


def test_lora(model_path, rows, tmp_path):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    trainer = build(
        CurriculumGRPOTrainer, model_path, rows, tmp_path, curriculum="cures", peft_config=config, beta=0.02
    )
    trainer.train()
    assert trainer.state.global_step == 3
    assert np.isfinite(history(trainer, "loss")).all()


def test_gradient_norms_reach_the_curriculum(model_path, rows, tmp_path):
    options = {"gradient_norms": True, "steps_per_iteration": 2}
    trainer = build(
        CurriculumGRPOTrainer, model_path, rows, tmp_path, curriculum="cures", curriculum_options=options, max_steps=1
    )
    observe, told = trainer.curriculum.observe_gradients, []
    trainer.curriculum.observe_gradients = lambda *given: (told.append(given), observe(*given))[1]
    trainer.train()
    moments = [gradient_moments(gram, passed) for _, gram, passed in told]
    assert len({prompt_id for prompt_id, *_ in told}) == len(moments) == 8
    assert all(np.isfinite(row).all() and row[0] > 0 for row in moments)


def test_logs_carry_the_curriculum_and_the_completions_table_its_advantages(model_path, rows, tmp_path):
    trainer = build(
        CurriculumGRPOTrainer, model_path, rows, tmp_path, curriculum="cures", log_completions=True, max_steps=2
    )
    trainer.train()
    names = {key for entry in trainer.state.log_history for key in entry if key.startswith("curriculum/")}
    assert {f"curriculum/{name}" for name in trainer.curriculum.metrics()} == names


def test_what_cannot_be_expressed_is_refused(model_path, rows, tmp_path):
    def refused(error, match, **more):
        with pytest.raises(error, match=match):
            build(
                CurriculumGRPOTrainer, model_path, more.pop("rows", rows), tmp_path, **{"curriculum": "uniform", **more}
            )

    pool = PromptPool(["somewhere else"])
    foreign = make("uniform", pool, prompts_per_step=1, rollouts_per_step=8)
    refused(ValueError, "not in the data set", curriculum=foreign)
    refused(ValueError, "none of the reward functions", verifier="nobody")
    refused(ValueError, "did you mean 'uniform'", curriculum="unifrom")
    refused(TypeError, "did you mean 'temperature'", curriculum="cures", curriculum_options={"temprature": 1})
    refused(ValueError, "images", rows=[{**row, "images": None} for row in rows])
    refused(ValueError, "duplicate", rows=[rows[0], rows[0]])
    own = make("uniform", PromptPool([row["prompt_id"] for row in rows]), prompts_per_step=4, rollouts_per_step=32)
    refused(TypeError, "already built", curriculum=own, curriculum_options={"seed": 1})
    refused(ValueError, "baselines of its own", curriculum="reinforce_ada", verifier="length")


def test_streaming_data_is_refused(model_path, rows, tmp_path):
    trainer = type("Stub", (), {})()
    with pytest.raises(ValueError, match="streaming"):
        checks.refuse(trainer, IterableDataset.from_generator(lambda: iter(rows)))


def test_a_changed_seam_is_refused(monkeypatch):
    class Changed(GRPOTrainer):
        def _calculate_rewards(self, inputs, prompts, completions):
            return None

    class Trainer(CurriculumMixin, Changed):
        pass

    with pytest.raises(TypeError, match="_calculate_rewards has parameters"):
        checks.check_seams(Trainer, CurriculumMixin)
    monkeypatch.setattr(checks, "version", lambda name: "99.0")
    with pytest.raises(TypeError, match=r"TRL 99\.0 is outside the tested range"):
        checks.check_seams(CurriculumGRPOTrainer, CurriculumMixin)
