"""The OpenRLHF recipe in OpenRLHF's own trainer loop, data set, sample generator, executor and experience maker.

Only what needs a GPU is replaced: the language model inside the rollout engine (a Ray actor that runs OpenRLHF's
single-turn executor on drawn tokens) and the actor's workers (a group that keeps what it is sent). OpenRLHF 0.11.2 with
vllm, ray, deepspeed, flash_attn and torchdata importable.
"""

import argparse
import asyncio
import importlib.util
import json
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from didact.advantage import group_advantages, loss_weights

ROOT = Path(__file__).resolve().parents[2]

ray = pytest.importorskip("ray")
pytest.importorskip("vllm")
pytest.importorskip("openrlhf")
ppo_trainer = pytest.importorskip("openrlhf.trainer.ppo_trainer")

pytestmark = pytest.mark.slow

REWARD = """
import torch

def reward_func(queries, prompts, labels):
    return {"rewards": torch.tensor([2.0 * float(query.split()[-1] == "1") - 1.0 for query in queries]),
            "scores": torch.tensor([float(query.split()[-1] == "1") for query in queries])}
"""


@pytest.fixture(scope="module")
def recipe():
    where = ROOT / "examples" / "trainers" / "openrlhf_recipe.py"
    spec = importlib.util.spec_from_file_location("openrlhf_recipe", where)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=16, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False)
    yield
    ray.shutdown()


def engine_class():
    """A rollout engine without vLLM's model: a prompt passes with a rate of its own, the same in any order of calls."""

    @ray.remote(num_cpus=0)
    class Engine:
        def __init__(self, reward_path):
            from openrlhf.utils.agent import SingleTurnAgentExecutor

            self.executor, self.count, self.asked = SingleTurnAgentExecutor(reward_path), {}, []

        async def generate(self, tokens, sampling_params, multi_modal_data=None):
            row = tokens[-1] - 10
            self.count[row] = self.count.get(row, 0) + 1
            draw = zlib.crc32(f"{row}/{self.count[row]}".encode())
            length = min(1 + draw % 5, sampling_params.max_tokens)
            said = [5] * (length - 1) + [4 if draw // 5 % 40 < row else 3]
            finish = "length" if length == sampling_params.max_tokens else "stop"
            return SimpleNamespace(outputs=[SimpleNamespace(token_ids=said, finish_reason=finish, logprobs=None)])

        async def generate_responses(
            self, prompt, label, sampling_params, max_length, hf_tokenizer, num_samples, images
        ):
            self.asked.append((prompt, num_samples, sampling_params.max_tokens))
            ask = [
                self.executor.execute(prompt, label, sampling_params, max_length, hf_tokenizer, self, images)
                for _ in range(num_samples)
            ]
            return await asyncio.gather(*ask)

        async def get_num_unfinished_requests(self):
            return 0

        async def calls(self):
            return self.asked

    return Engine


class Group:
    """Stands for the actor's workers: answers forward calls, keeps experiences and checkpoints."""

    def __init__(self):
        self.experiences, self.saved, self.restored = [], {}, None

    def async_run_method_batch(self, method_name, **columns):
        if method_name == "forward":
            masks = columns["action_mask"]
            return [ray.put([torch.full(mask.shape, -1.0) for mask in masks])]
        assert method_name == "append"
        self.experiences.append(columns["experience"])
        return []

    def async_run_method(self, method_name, **given):
        if method_name == "save_checkpoint":
            self.saved[given["tag"]] = given["client_states"]
        return [ray.put(self.restored if method_name == "get_checkpoint_states" else {"policy_loss": 0.0})]


@pytest.fixture
def build(recipe, tmp_path, monkeypatch):
    from openrlhf.utils.config import hierarchize
    from openrlhf.utils.deepspeed import DeepspeedStrategy
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["[UNK]", "[PAD]", "[EOS]", "0", "1", "x", "say", "a", "b", "c", *(f"p{row}" for row in range(40))]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", eos_token="[EOS]"
    ).save_pretrained(tmp_path)
    (tmp_path / "reward.py").write_text(REWARD)
    rows = [json.dumps({"input": f"say p{row}", "answer": str(row)}) for row in range(40)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(rows))

    class Strategy:
        setup_dataloader = DeepspeedStrategy.setup_dataloader

        def __init__(self, args):
            self.args = args

        def is_rank_0(self):
            return False

        def print(self, *_):
            pass

    def build(method, steps, options=None, **changes):
        flat = {
            "actor.num_nodes": 1, "actor.num_gpus_per_node": 2, "ds.ring_attn_size": 1, "ds.tensor_parallel_size": 1,
            "algo.advantage.estimator": "flash_reinforce", "algo.advantage.gamma": 1.0, "algo.advantage.lambd": 1.0,
            "algo.advantage.is_correction_level": "off", "algo.advantage.no_std_norm": False,
            "algo.dynamic_filtering_enable": False, "algo.kl.target": None, "algo.kl.init_coef": 0.0,
            "algo.kl.estimator": "k1", "algo.kl.use_loss": False, "critic.freezing_steps": -1,
            "reward.remote_url": [str(tmp_path / "reward.py")], "reward.clip_range": (-10.0, 10.0),
            "reward.overlong_buffer_len": None, "reward.stop_properly_penalty_coef": None,
            "reward.overlong_penalty_factor": 1.0,
            "rollout.batch_size": 8, "rollout.n_samples_per_prompt": 4, "rollout.micro_batch_size": 3,
            "rollout.max_new_tokens": 6, "rollout.vllm_generate_batch_size": 8,
            "train.batch_size": 32, "train.num_episodes": 100, "train.max_epochs": 1, "train.seed": 0,
            "train.dynamic_batch_enable": False, "train.colocate_all": False, "train.colocate_actor_ref": False,
            "train.colocate_critic_reward": False, "vllm.enable_sleep": False, "ds.enable_sleep": False,
            "data.prompt_dataset": str(tmp_path / "prompts.jsonl"), "data.prompt_probs": None,
            "data.max_samples": 1000, "data.prompt_split": "train", "data.input_template": None,
            "data.input_key": "input", "data.label_key": "answer", "data.apply_chat_template": False,
            "data.dataloader_num_workers": 0, "data.disable_fast_tokenizer": False, "data.max_len": 64,
            "eval.dataset": None, "eval.steps": -1, "ckpt.save_steps": 2, "ckpt.path": str(tmp_path / "ckpt"),
            "ckpt.load_enable": False, "ckpt.best_metric_key": "none", "logger.wandb.key": None,
            "logger.tensorboard_dir": None, "logger.logging_steps": 1, "use_ms": False,
        } | changes  # fmt: skip
        strategy = Strategy(hierarchize(argparse.Namespace(**flat)))
        monkeypatch.setattr(recipe, "METHOD", method)
        monkeypatch.setattr(recipe, "OPTIONS", options or {})
        engines = [engine_class().remote(str(tmp_path / "reward.py"))]
        settings = {"do_sample": True, "max_len": 64, "max_new_tokens": 6, "temperature": 1.0, "top_p": 1.0}
        group = Group()
        trainer = recipe.CurriculumPPOTrainer(str(tmp_path), strategy, group, None, None, None, engines, **settings)
        monkeypatch.setattr(trainer, "save_logs_and_checkpoints", stop_after(trainer, steps))
        return trainer

    return build


class Enough(Exception):
    pass


def stop_after(trainer, steps):
    """OpenRLHF has no limit on steps: leave its loop where it would log and save."""
    save = trainer.save_logs_and_checkpoints

    def then(global_step, status, client_states):
        trainer.logged = status
        save(global_step, status, client_states)
        if global_step == steps:
            raise Enough

    return then


def fit(trainer):
    with pytest.raises(Enough):
        trainer.fit()
    return trainer.actor_model_group


@pytest.mark.parametrize("method", ["uniform", "cures", "dapo", "speed"])
def test_openrlhfs_loop_trains_what_the_curriculum_admits(build, method):
    trainer = build(method, steps=4)
    taken, generate = [], trainer.samples_generator.generate_samples

    def tap(**settings):
        made = generate(**settings)
        taken.append((trainer.samples_generator.curriculum.admitted(trainer.samples_generator.curriculum.step), made))
        return made

    trainer.samples_generator.generate_samples = tap
    group = fit(trainer)
    curriculum = trainer.samples_generator.curriculum
    calls = ray.get(trainer.vllm_engines[0].calls.remote())
    metrics = curriculum.metrics()
    assert metrics["rollouts"] == sum(number for _, number, _ in calls)
    assert metrics["rollouts_truncated"] == 0
    taken = [one for one in taken if one[1][0]]  # OpenRLHF asks again where a step brought nothing to train on
    for (admitted, _), experiences in zip(taken, group.experiences, strict=True):
        prompts = [prompt for experience in experiences for prompt in experience.prompts]
        ids = [one.group_id for one in admitted for _ in one.rollouts]
        kept = [f"say p{one.prompt_id}" for one in admitted for _ in one.rollouts]
        assert prompts[: len(kept)] == kept
        assert len(prompts) == 32  # whole micro-batches for every worker
        rewards = torch.cat([experience.info["raw_reward"] for experience in experiences])[: len(kept)]
        expected = group_advantages(rewards, ids, curriculum.advantage)
        if curriculum.loss_weighting == "prompt":
            expected = expected * len(ids) * loss_weights(ids, mode="prompt")
        found, masks = [], []
        for experience in experiences:
            for advantage, mask in zip(experience.advantages, experience.action_mask, strict=True):
                masks.append(int(mask.sum()))
                found.append(advantage[mask.bool()].unique() if mask.sum() else torch.zeros(1))
        assert torch.allclose(torch.cat(found[: len(kept)]).double(), torch.tensor(expected), atol=1e-5)
        assert all(masks[: len(kept)])
        assert not any(masks[len(kept) :])
    if method == "cures":
        assert len({number for _, number, _ in calls}) > 1
    assert metrics["rollouts_trained"] == sum(len(one.rollouts) for admitted, _ in taken for one in admitted) > 0


def test_the_state_travels_in_the_trainers_checkpoint(build, tmp_path):
    import io

    whole = build("speed", steps=6)
    group = fit(whole)
    buffer = io.BytesIO()
    torch.save(group.saved["global_step4"], buffer)  # as DeepSpeed does
    buffer.seek(0)
    resumed = build("speed", steps=6, **{"ckpt.load_enable": True})
    (tmp_path / "ckpt" / "_actor").mkdir(parents=True)
    resumed.actor_model_group.restored = torch.load(buffer, weights_only=False)
    asked = whole.vllm_engines[0].calls.remote
    before = len(ray.get(resumed.vllm_engines[0].calls.remote()))
    fit(resumed)
    step = group.saved["global_step4"]["data_loader_state_dict"]["curriculum"]["step"]
    planned = [group_.prompt_id for group_ in first_plan(resumed, group.saved["global_step4"], step + 1)]
    mine = ray.get(resumed.vllm_engines[0].calls.remote())[before:]
    assert [prompt for prompt, _, _ in mine][: len(planned)] == [f"say p{row}" for row in planned]
    assert len(ray.get(asked())) > len(mine)


def first_plan(trainer, client_states, step):
    """The plan that an uninterrupted run makes after this checkpoint."""
    import copy

    again = copy.deepcopy(trainer.samples_generator.curriculum)
    again.load_state_dict(client_states["data_loader_state_dict"]["curriculum"])
    return again.plan(step)


def test_the_context_length_of_the_plan_reaches_the_engine_and_cuts(build):
    trainer = build("uniform", steps=1, options={"context": 2})
    fit(trainer)
    calls = ray.get(trainer.vllm_engines[0].calls.remote())
    assert {limit for _, _, limit in calls} == {2}
    assert trainer.samples_generator.curriculum.metrics()["rollouts_truncated"] > 0
    assert np.isfinite(trainer.logged["rollout/reward_mean"])


def test_what_cannot_be_expressed_is_refused(build):
    with pytest.raises(ValueError, match="flash_reinforce"):
        build("uniform", 1, **{"algo.advantage.estimator": "rloo"})
    with pytest.raises(ValueError, match="length penalties"):
        build("uniform", 1, **{"reward.overlong_buffer_len": 4})
    with pytest.raises(ValueError, match="cannot be expressed"):
        build("reinforce_ada", 1).fit()


def test_the_actor_class_is_made_from_openrlhfs(recipe):
    assert recipe.PPOTrainer.__ray_metadata__.modified_class.__ray_actor_class__ is recipe.CurriculumPPOTrainer
    assert hasattr(recipe.PPOTrainer, "remote")
