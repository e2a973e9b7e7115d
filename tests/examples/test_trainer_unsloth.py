"""The recipe for Unsloth, on the installed Unsloth, in processes of their own: importing it rewrites TRL.

Needs unsloth, unsloth_zoo, triton, TRL 1.14 and what Unsloth pins with them; no GPU. There Unsloth trains its own GRPO
trainer with a plain model; its fast kernels and its prefix grouper need a GPU.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

TRAIN = """
import json, sys
sys.path.insert(0, sys.argv[1])
import unsloth_recipe
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig
from didact.tasks import task

torch.set_num_threads(1)
model, tokenizer = unsloth_recipe.FastLanguageModel.from_pretrained(
    sys.argv[2], max_seq_length=64, load_in_4bit=False, full_finetuning=True, dtype=torch.float32
)
rows = [{"prompt": each.prompt, "prompt_id": each.prompt_id} for each in task("arithmetic").examples("train", num=48)]
batches, gradients, weights, sizes = [], [], [], []


class Trainer(unsloth_recipe.CurriculumTrainer):
    def _generate_and_score_completions(self, inputs):
        weights.append([parameter.detach().clone() for parameter in model.parameters()])
        batches.append(super()._generate_and_score_completions(inputs))
        sizes.append({len(group.rollouts) for group in self.curriculum.admitted(self.curriculum.step)})
        return batches[-1]


class Watch(TrainerCallback):
    def on_pre_optimizer_step(self, args, state, control, **_):
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])


def digits(completions, **_):
    return [float(sum(token.isdigit() for token in text.split()[:4]) >= 2) for text in completions]


def build(steps):
    return Trainer(
        model=model,
        args=GRPOConfig(
            output_dir="out", max_steps=steps, per_device_train_batch_size=32, gradient_accumulation_steps=1,
            num_generations=8, max_completion_length=8, learning_rate=1e-3, lr_scheduler_type="constant", beta=0.0,
            temperature=1.0, loss_type="grpo", max_grad_norm=1e9, save_steps=2, logging_steps=1, report_to="none",
            bf16=False, use_cpu=True, gradient_checkpointing=False, disable_tqdm=True, seed=0,
        ),
        train_dataset=Dataset.from_list(rows), reward_funcs=[digits], processing_class=tokenizer,
        curriculum="cures", curriculum_options={"steps_per_iteration": 2, "temperature": 5.0, "truncated": "observe"},
        callbacks=[Watch()],
    )


trainer = build(4)
trainer.train()
chosen = max(range(4), key=lambda step: max(sizes[step]) - min(sizes[step]))  # the most uneven batch
for parameter, value in zip(model.parameters(), weights[chosen]):
    parameter.data.copy_(value)
    parameter.grad = None
batch = batches[chosen]
ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
answered = batch["completion_mask"].float()
size = answered.shape[1]
logits = torch.nn.Module.__call__(model, input_ids=ids, attention_mask=mask).logits[:, -size - 1 : -1].float()
logp = torch.log_softmax(logits, -1).gather(2, batch["completion_ids"][..., None])[..., 0]
each = (logp * answered).sum(1) / answered.sum(1).clamp(min=1)
(-(batch["advantages"] * each).mean()).backward()
by_hand = torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])
found = torch.cat([gradient.flatten() for gradient in gradients[chosen]])
again = build(4)
again.train(resume_from_checkpoint="out/checkpoint-2")
print("RESULT", json.dumps({
    "cosine": float(by_hand @ found / by_hand.norm() / found.norm()),
    "ratio": float(found.norm() / by_hand.norm()),
    "sizes": sorted(sizes[chosen]),
    "rollouts": trainer.curriculum.metrics()["rollouts"],
    "planned": trainer.curriculum.metrics()["rollouts_planned"],
    "step": trainer.curriculum.step,
    "resumed": again.curriculum.metrics()["rollouts"],
}))
"""


@pytest.fixture
def run(tiny_model, tmp_path):
    for package in ("unsloth", "unsloth_zoo", "triton"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")

    def run(code, **environment):
        script = tmp_path / "train.py"
        script.write_text(code, encoding="utf-8")
        # Unsloth writes what it compiles into the working directory; compiled losses would take minutes here.
        quiet = {"UNSLOTH_COMPILE_DISABLE": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        return subprocess.run(
            [sys.executable, script, ROOT / "examples" / "trainers", tiny_model],
            cwd=tmp_path, env={**os.environ, **quiet, **environment}, capture_output=True, text=True, timeout=900,
        )  # fmt: skip

    return run


def test_unsloths_trainer_trains_uneven_groups_with_the_right_gradient_and_resumes(run):
    done = run(TRAIN)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert lines, done.stderr[-3000:]
    result = json.loads(lines[0].removeprefix("RESULT"))
    assert len(result["sizes"]) > 1
    assert result["cosine"] > 0.995  # Unsloth computes this loss in half precision
    assert 0.97 < result["ratio"] < 1.03
    assert result["rollouts"] == result["planned"] == result["resumed"]
    assert result["step"] == 3


def test_what_counts_neighbouring_rows_is_refused(run):
    code = "import sys; sys.path.insert(0, sys.argv[1]); import unsloth_recipe"
    done = run(code, UNSLOTH_GRPO_LOSS_AGGREGATION="prompt")
    assert "takes groups to be num_generations neighbouring rows" in done.stderr
    done = run("import unsloth; " + code)
    assert "import this file before unsloth" in done.stderr
