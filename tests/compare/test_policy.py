"""The lean policy of comparisons against the real TRL path: the same rollouts must give the same weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from datasets import Dataset  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from trl import GRPOConfig  # noqa: E402

from didact import GroupOutcome, PromptPool, make  # noqa: E402
from didact.adapters.trl import CurriculumGRPOTrainer  # noqa: E402
from didact.adapters.trl.losses import weighted_sum  # noqa: E402
from didact.compare.learner import CLIP, mini_batches  # noqa: E402
from didact.compare.policy import Policy, _Rollouts  # noqa: E402
from didact.plan import AdmittedGroup  # noqa: E402
from didact.seeding import generator  # noqa: E402
from didact.tasks import task  # noqa: E402
from didact.tasks.verifier import Verifier  # noqa: E402
from didact.training.sampler import Sampler  # noqa: E402

SIZES: dict[str, Any] = {"prompts_per_step": 4, "rollouts_per_step": 32, "seed": 0}


class Watched(CurriculumGRPOTrainer):
    """Keeps what every step trained on, and the weights after it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.trained: list[list[tuple[AdmittedGroup, list[int], list[list[int]], list[float]]]] = []

    def _training_batch(self, step: int, batch: Any) -> dict[str, Any]:
        prompts, masks = batch.column("prompt_ids"), batch.column("prompt_mask")
        answers, ended = batch.column("completion_ids"), batch.column("completion_mask")
        rewards = weighted_sum(batch.rewards, self.reward_weights)
        groups = []
        for group in self.curriculum.admitted(step):
            rows = batch.groups[group.group_id]
            prompt = prompts[rows[0]][masks[rows[0]].bool()].tolist()
            responses = [answers[row][ended[row].bool()].tolist() for row in rows]
            groups.append((group, prompt, responses, [float(rewards[row]) for row in rows]))
        self.trained.append(groups)
        return super()._training_batch(step, batch)


def _policy(folder: Path, pool: PromptPool, examples: list[Any], verifier: Verifier, **settings: Any) -> Policy:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    options = {"seed": 0, "learning_rate": 1e-3, "warmup_steps": 3, **settings}
    return Policy(model, tokenizer, examples, examples[:16], verifier, pool=pool, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options", "loss"),
    [
        ("uniform", {}, "grpo"),
        ("cures", {"steps_per_iteration": 2}, "grpo"),
        ("cures", {"steps_per_iteration": 2, "with_replacement": True}, "grpo"),
        ("reinforce_ada", {}, "dapo"),
    ],
)
def test_step_for_step_as_trl(
    tiny_model: Path, tmp_path: Path, method: str, options: dict[str, Any], loss: str
) -> None:
    examples = task("arithmetic").examples("train", num=64, seed=0)
    pool = PromptPool([example.prompt_id for example in examples])
    rows = [{"prompt": each.prompt, "answer": each.answer, "prompt_id": each.prompt_id} for each in examples]
    verify = task("arithmetic").verify

    def reward(completions: list[str], answer: list[str], **_: Any) -> list[float]:
        # The tiny model hardly ever passes: any even number of tokens counts as well, so that there is signal.
        return [
            verify(text, gold) or float(len(text.split()) % 2) for text, gold in zip(completions, answer, strict=True)
        ]

    arguments = GRPOConfig(
        output_dir=str(tmp_path), max_steps=4, per_device_train_batch_size=32, num_generations=8,
        max_completion_length=12, learning_rate=1e-3, lr_scheduler_type="constant_with_warmup", warmup_steps=3,
        adam_beta2=0.99, weight_decay=0.0, max_grad_norm=1.0, beta=0.0, loss_type=loss, report_to="none", use_cpu=True,
        bf16=False, gradient_checkpointing=False, disable_tqdm=True, save_strategy="no", seed=3,
    )  # fmt: skip
    trainer = Watched(
        model=AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32),
        reward_funcs=[reward],
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(tiny_model, padding_side="left"),
        curriculum=make(method, pool, **SIZES, **options),
    )
    if method == "uniform":  # stock TRL divides by the group's deviation there
        trainer.args.scale_rewards = trainer.scale_rewards = "none"
    trainer.train()
    heaviest = max(group.weight for groups in trainer.trained for group, *_ in groups)
    assert (heaviest > 1) == options.get("with_replacement", False)
    with Verifier("arithmetic") as verifier:
        policy = _policy(tiny_model, pool, examples, verifier)
        for groups in trainer.trained:
            for group, prompt, responses, rewards in groups:
                policy._groups[group.group_id] = _Rollouts(prompt, responses, rewards)
            kind = "dr_grpo" if method == "uniform" else trainer.curriculum.advantage
            policy.update([group for group, *_ in groups], kind, trainer.curriculum.loss_weighting)
    ours, theirs = dict(policy._model.named_parameters()), dict(trainer.model.named_parameters())
    start = dict(AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).named_parameters())
    moved = max(float((theirs[name] - start[name]).abs().max()) for name in start)
    apart = max(float((theirs[name] - ours[name]).abs().max()) for name in start)
    assert moved > 1e-3
    assert apart < 0.02 * moved  # Adam's first steps magnify the last digits of small gradients


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_the_sampler_computes_what_the_model_computes(tiny_model: Path, kv_heads: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    config = AutoModelForCausalLM.from_pretrained(tiny_model).config
    config.num_key_value_heads = kv_heads
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    prompts = tokenizer([each.prompt for each in task("arithmetic").examples("train", num=24, seed=0)])["input_ids"]
    sampled = Sampler(model, tokenizer.eos_token_id).sample(prompts, [2] * len(prompts), None, 10)
    assert sampled[::2] == sampled[1::2]
    for prompt, response in zip(prompts, sampled[::2], strict=True):
        logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        best = logits.max(-1).values
        assert (best - logits[range(len(response)), response] < 1e-4).all()


def test_sampling_follows_the_distribution(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    prompt = tokenizer("a 3-2 =")["input_ids"]
    expected = model(torch.tensor([prompt])).logits[0, -1].softmax(-1).detach().numpy()
    uniforms = np.random.default_rng(0).random((20_000, 1))
    first = [row[0] for row in Sampler(model, tokenizer.eos_token_id).sample([prompt], [20_000], uniforms, 1)]
    found = np.bincount(first, minlength=len(expected)) / 20_000
    assert np.abs(found - expected).max() < 5 * np.sqrt(expected.max() / 20_000)


def test_rows_that_end_early_do_not_change_the_others(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    prompts = tokenizer([each.prompt for each in task("arithmetic").examples("train", num=8, seed=0)])["input_ids"]
    uniforms = np.random.default_rng(0).random((64, 20))
    sampler = Sampler(model, tokenizer.eos_token_id)
    together = sampler.sample(prompts, [8] * 8, uniforms, 20)
    alone = [
        response
        for index, prompt in enumerate(prompts)
        for response in sampler.sample([prompt], [8], uniforms[8 * index : 8 * index + 8], 20)
    ]
    assert together == alone


def test_a_model_of_another_layout_is_refused() -> None:
    class Config:
        model_type = "gpt2"
        attention_bias = mlp_bias = False

    class Model:
        config = Config()

    with pytest.raises(ValueError, match="plain Llama"):
        Sampler(Model(), 0)


def test_groups_that_are_not_kept_are_forgotten(tiny_model: Path) -> None:
    examples = task("arithmetic").examples("train", num=16, seed=0)
    pool = PromptPool([example.prompt_id for example in examples])
    with Verifier("arithmetic") as verifier:
        policy = _policy(tiny_model, pool, examples, verifier)
        curriculum = make("uniform", pool, **SIZES)
        outcomes = policy.roll_out(curriculum.plan(0))
        assert all(isinstance(outcome, GroupOutcome) for outcome in outcomes)
        assert policy.roll_out(make("uniform", pool, **SIZES).plan(0))[0].rewards == outcomes[0].rewards
        curriculum.observe(outcomes)
        kept = outcomes[0].group_id
        policy.keep([kept])
        with pytest.raises(KeyError):
            policy.update([AdmittedGroup(outcomes[1].group_id, outcomes[1].prompt_id, (0, 1))], "rloo", "prompt")


def test_the_gradient_of_groups_is_the_mean_of_each_and_trains_nothing(tiny_model: Path) -> None:
    examples = task("arithmetic").examples("train", num=16, seed=0)
    pool = PromptPool([example.prompt_id for example in examples])
    with Verifier("arithmetic") as verifier:
        policy, other = (_policy(tiny_model, pool, examples, verifier) for _ in range(2))
        for each in (policy, other):
            plan = make("uniform", pool, **SIZES).plan(0)
            each.roll_out(plan)
            for rollouts in list(each._groups.values())[:3]:
                rollouts.rewards = [1.0, 0.0] * 4
        groups = [AdmittedGroup(group.group_id, group.prompt_id, tuple(range(8))) for group in plan]
        assert not policy.gradient([groups[3]], "rloo", "prompt").any()  # all of its rollouts failed
        alone = [policy.gradient([group], "rloo", "prompt") for group in groups]
        together = policy.gradient(groups, "rloo", "prompt")
        assert together.abs().max() > 1e-4
        torch.testing.assert_close(together, torch.stack(alone).mean(dim=0), rtol=1e-4, atol=1e-7)
        policy.update(groups, "rloo", "prompt")
        other.update(groups, "rloo", "prompt")
    for ours, theirs in zip(policy._model.parameters(), other._model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_several_updates_of_a_step_are_clipped_steps_on_mini_batches(tiny_model: Path) -> None:
    """Against PPO's surrogate written out row by row, at a learning rate at which ratios do leave the clip's range."""
    examples = task("arithmetic").examples("train", num=4, seed=0)
    pool = PromptPool([example.prompt_id for example in examples])
    responses = [[3 + (7 * row + place) % 20 for place in range(4)] for row in range(8)]
    rewards = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    groups = [AdmittedGroup(index, pool.ids[index], (0, 1, 2, 3)) for index in range(2)]
    with Verifier("arithmetic") as verifier:
        policy = _policy(tiny_model, pool, examples, verifier, learning_rate=0.05, warmup_steps=0)
        prompts = [policy._prompts[name] for name in pool.ids[:2]]
        for index in range(2):
            rows = slice(4 * index, 4 * index + 4)
            policy._groups[index] = _Rollouts(prompts[index], responses[rows], rewards[rows])
        assert policy.update(groups, "dr_grpo", "prompt", 4) == 4

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, betas=(0.9, 0.99), weight_decay=0.0)

    def log_probabilities(row: int) -> Any:
        tokens = torch.tensor([prompts[row // 4] + responses[row]])
        logits = model(tokens[:, :-1]).logits[0, -4:].log_softmax(-1)
        return logits.gather(1, tokens[0, -4:, None])[:, 0]

    before = [log_probabilities(row).detach() for row in range(8)]
    outside = 0
    for batch in mini_batches(8, 4, generator(0, "mini-batches", 0)):
        loss = torch.zeros(())
        for row in batch.tolist():
            advantage = rewards[row] - (0.5 if row < 4 else 0.25)
            ratio = (log_probabilities(row) - before[row]).exp()
            outside += int(((ratio < CLIP[0]) | (ratio > CLIP[1])).sum())
            # Two rows in a mini-batch: each weighs a half of it, and a token of its four a fourth of that.
            loss = loss - torch.minimum(ratio * advantage, ratio.clamp(*CLIP) * advantage).mean() / 2
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert outside > 0
    for ours, theirs in zip(policy._model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_what_was_measured_stands_until_the_first_update(tiny_model: Path) -> None:
    examples = task("arithmetic").examples("train", num=4, seed=0)
    pool = PromptPool([example.prompt_id for example in examples])
    with Verifier("arithmetic") as verifier:
        policy = _policy(tiny_model, pool, examples, verifier, measured=[0.1, 0.2, 0.3, 0.4], num_probes=2)
        assert policy.pass_rates().tolist() == [0.1, 0.2, 0.3, 0.4]
        curriculum = make("uniform", pool, **SIZES)
        curriculum.observe(policy.roll_out(curriculum.plan(0)))
        policy.update(curriculum.admitted(0), "rloo", "prompt")
        assert set(policy.pass_rates().tolist()) <= {0.0, 0.5, 1.0}
