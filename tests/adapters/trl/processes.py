"""What `test_processes.py` runs on one process and on several; by itself, the part of one process of several.

    torchrun --nproc_per_node 2 -m tests.adapters.trl.processes MODEL FOLDER

Sampling is the one thing made up: each row draws with a seed of its own (step, call, place in the call), so that the
same plan gives the same completions whatever process a row falls to. Plans, exchange of rows, gradients, optimiser and
checkpoints are the real ones.
"""

import json
import shutil
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import gather_object
from trl import GRPOTrainer

from didact import Curriculum, PromptPool, make
from didact.adapters.trl import CurriculumGRPOTrainer, CurriculumMixin
from didact.journal import Journal, RecordedCurriculum
from didact.methods.cures import gradient_moments
from didact.tasks import task
from tests.adapters.trl.conftest import build, digits, weights

CASES: dict[str, dict[str, object]] = {
    "uniform": {"method": "uniform", "loss_type": "grpo", "scale_rewards": "group"},
    "cures": {"method": "cures", "options": {"prompts_per_step": 3, "temperature": 0.05}, "loss_type": "grpo"},
    "cures-dapo": {"method": "cures", "options": {"prompts_per_step": 3}, "loss_type": "dapo", "beta": 0.02},
    "speed": {"method": "speed", "options": {"num_screen": 2, "prompts_per_round": 12}, "loss_type": "dapo",
              "max_steps": 4},
    "dapo": {"method": "dapo", "loss_type": "dapo", "num_iterations": 2, "max_steps": 4},
    "dr_grpo": {"method": "reinforce_ada", "options": {"keep": 2, "rollouts_per_round": 2}, "loss_type": "dr_grpo"},
    "gradients": {"method": "cures", "options": {"gradient_norms": True, "steps_per_iteration": 2}, "max_steps": 2},
    "odd": {"method": "uniform", "options": {"prompts_per_step": 3, "rollouts_per_step": 15}, "loss_type": "grpo",
            "gradient_accumulation_steps": 1},
}  # fmt: skip


def rows() -> list[dict[str, str]]:
    examples = task("arithmetic").examples("train", num=48)
    return [{"prompt": each.prompt, "answer": each.answer, "prompt_id": each.prompt_id} for each in examples]


def parity(completions: list[str], **_: object) -> list[float]:
    """A random model earns this half of the time, so that some groups have a signal and some have none."""
    return [float(len(set(text.split())) % 2) for text in completions]


class SeededRows(GRPOTrainer):
    """A row's completion depends on the step, the call and its place in the call, not on the process it falls to."""

    _place = (0, 0)

    def _generate_single_turn(self, prompt_ids, *others, **more):
        step, call = self._place
        call = call + 1 if step == self.state.global_step else 0
        self._place = (self.state.global_step, call)
        start, found = self.accelerator.process_index * len(prompt_ids), []
        with torch.random.fork_rng(devices=[]):
            for row, ids in enumerate(prompt_ids):
                torch.manual_seed(hash((self.state.global_step, call, start + row)))
                found.append(super()._generate_single_turn([ids], *others, **more))
        return tuple(None if parts[0] is None else list(chain(*parts)) for parts in zip(*found, strict=True))


class Watched(CurriculumMixin, SeededRows):
    """Notes the plans that arrive at this process, and how many rows it rolled out and trained."""

    def __init__(self, *args, **named):
        self.plans, self.generated, self.trained = [], 0, 0
        super().__init__(*args, **named)

    def _roll_out(self, plan, *others):
        self.plans.append([[plan.step, group.group_id, group.prompt_id, group.num_rollouts] for group in plan])
        super()._roll_out(plan, *others)

    def _calculate_rewards(self, inputs, *others):
        self.generated += len(inputs)
        return super()._calculate_rewards(inputs, *others)

    def _training_batch(self, step, batch):
        output = super()._training_batch(step, batch)
        self.trained += int((output["completion_mask"].sum(1) > 0).sum())
        return output


def trainer_for(
    name: str,
    model: str,
    folder: Path,
    num_processes: int,
    resume: Path | None = None,
    cls: type = Watched,
    **more: object,
):
    """A trainer for a case, with a journal; the batches of all processes together are those of one."""
    case = {**CASES[name], **more}
    method, options = case.pop("method"), {"seed": 0, **case.pop("options", {})}
    usual = {"prompts_per_step": 4, "rollouts_per_step": 16}

    def curriculum(pool: PromptPool) -> Curriculum:
        folder.mkdir(parents=True, exist_ok=True)
        if resume is not None:  # each run keeps a folder of its own
            shutil.copy(resume.parent / "journal.jsonl", folder)
        return RecordedCurriculum(make(method, pool, **{**usual, **options}), Journal(folder / "journal.jsonl"))

    settings = {
        "per_device_train_batch_size": 16 // int(str(case.get("gradient_accumulation_steps", 2))) // num_processes,
        "num_generations": 4,
        "max_completion_length": 4,  # sampling row by row is most of the time, and no longer row says more
        "optim": "sgd",  # Adam divides by the size of a gradient, and so makes float noise large
        "learning_rate": 0.5,
        "lr_scheduler_type": "constant",
        "reward_funcs": [parity] if method in ("speed", "dapo", "reinforce_ada") else [digits, parity],
    }
    return build(cls, model, rows(), folder, curriculum=curriculum, **{**settings, **case})


def run(name: str, model: str, folder: Path, num_processes: int, resume: Path | None = None, **more: object):
    """Train a case and leave in `folder` what each process saw: plans, rows, weights."""
    trainer = trainer_for(name, model, folder, num_processes, resume, **more)
    moments = []
    if trainer.is_world_process_zero() and getattr(trainer.curriculum, "wants_gradients", False):
        observe = trainer.curriculum.observe_gradients

        def note(prompt_id, gram, passed):
            moments.append([float(moment) for moment in gradient_moments(gram, passed)])
            observe(prompt_id, gram, passed)

        trainer.curriculum.observe_gradients = note
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    np.save(folder / f"weights-{trainer.accelerator.process_index}.npy", weights(trainer).numpy())
    seen = {
        "plans": getattr(trainer, "plans", None),
        "generated": getattr(trainer, "generated", None),
        "trained": getattr(trainer, "trained", None),
        "loss": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "zero_std": [entry[key] for entry in trainer.state.log_history if (key := "frac_reward_zero_std") in entry],
    }
    if trainer.is_world_process_zero():
        seen["metrics"] = trainer.curriculum.metrics()
        seen["moments"] = moments
    (folder / f"seen-{trainer.accelerator.process_index}.json").write_text(json.dumps(seen))
    return trainer


def failing(what: str, model: str, folder: Path, num_processes: int) -> None:
    """A run in which something goes wrong at the first step."""

    def rewards(completions, **_):
        if what == "reward" and trainer.accelerator.process_index == 1:
            raise ZeroDivisionError("the verifier divided by zero")
        return parity(completions)

    def observe(outcomes):
        raise OSError("no space left for the journal")

    trainer = trainer_for("uniform", model, folder, num_processes, reward_funcs=[rewards])
    if what == "curriculum" and trainer.is_world_process_zero():
        trainer.curriculum.observe = observe
    trainer.train()


def message(work, *args, **named) -> str:
    try:
        work(*args, **named)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def main(model: str, folder: Path) -> None:
    """All that several processes are asked to show, in one start: the last of it is an error that ends them."""
    num = torch.distributed.get_world_size()
    for name in CASES:
        run(name, model, folder / name, num)
    for method in ("cures", "speed"):
        more = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
        run(method, model, folder / f"{method}-straight", num, **more)
        run(method, model, folder / f"{method}-from-one", num, resume=folder / f"{method}-one" / "checkpoint-2", **more)
        real = {"cls": CurriculumGRPOTrainer, "optim": "adamw_torch", "learning_rate": 1e-3, **more}
        run(method, model, folder / f"{method}-real", num, **real)
        run(method, model, folder / f"{method}-again", num, resume=folder / f"{method}-real" / "checkpoint-2", **real)

    def recorded():
        pool = PromptPool([row["prompt_id"] for row in rows()])
        return RecordedCurriculum(
            make("uniform", pool, prompts_per_step=4, rollouts_per_step=32),
            Journal(folder / f"own-{torch.distributed.get_rank()}.jsonl"),
        )

    def asked_elsewhere():
        trainer = trainer_for("uniform", model, folder / "asked", num)
        return trainer.curriculum.metrics()

    def uneven_data():
        return build(Watched, model, rows()[torch.distributed.get_rank() :], folder / "uneven", curriculum="uniform")

    errors = {
        "curriculum": message(failing, "curriculum", model, folder / "failing", num),
        "method": message(build, Watched, model, rows(), folder / "unknown", curriculum="unifrom"),
        "journal": message(build, Watched, model, rows(), folder / "journals", curriculum=recorded()),
        "data": message(uneven_data),
        "asked": message(asked_elsewhere),
    }
    everyone = gather_object([errors])
    if torch.distributed.get_rank() == 0:
        (folder / "errors.json").write_text(json.dumps(everyone))
    failing("reward", model, folder / "ends", num)


if __name__ == "__main__":
    from accelerate import PartialState

    PartialState(cpu=True)
    main(sys.argv[1], Path(sys.argv[2]))
