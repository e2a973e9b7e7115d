"""The SkyRL recipe in SkyRL's own training loop, data set, batches, advantages and checkpoints.

Only what needs a GPU is replaced: the inference engine (a generator that draws verdicts) and the workers (a dispatch
that keeps what it is sent). SkyRL 0.3.0 with loguru, jaxtyping, tensordict, torchdata, omegaconf and ray.
"""

import asyncio
import importlib.util
import json
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from didact.advantage import group_advantages

ROOT = Path(__file__).resolve().parents[2]

pytest.importorskip("ray")
pytest.importorskip("skyrl.train")
try:
    from skyrl.backends.skyrl_train.distributed.dispatch import MeshDispatch
    from skyrl.backends.skyrl_train.training_batch import TrainingInputBatch
    from skyrl.train.config import SkyRLTrainConfig
    from skyrl.train.dataset import PromptDataset
    from skyrl.train.generators.base import GeneratorInterface
    from skyrl.train.trainer import RayPPOTrainer
except Exception as error:  # SkyRL 0.3.0 does not import with pydantic on Python 3.11
    pytest.skip(f"this SkyRL cannot be imported here: {error!r:.80}", allow_module_level=True)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recipe():
    where = ROOT / "examples" / "trainers" / "skyrl_recipe.py"
    spec = importlib.util.spec_from_file_location("skyrl_recipe", where)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", autouse=True)
def cluster():
    import ray

    ray.init(num_cpus=4, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False)
    yield
    ray.shutdown()


class Verdicts(GeneratorInterface):
    """Stands for vLLM and the environment: a prompt passes with a rate of its own."""

    def __init__(self):
        self.calls = []
        self.count = {}

    async def generate(self, input_batch):
        self.calls.append(input_batch)
        rows = {"prompt_token_ids": [], "response_ids": [], "rewards": [], "loss_masks": [], "stop_reasons": []}
        for prompt, trajectory in zip(input_batch["prompts"], input_batch["trajectory_ids"], strict=True):
            row = int(trajectory.instance_id)
            assert prompt == [{"role": "user", "content": f"say {row}"}]
            self.count[row] = self.count.get(row, 0) + 1
            draw = zlib.crc32(f"{row}/{self.count[row]}".encode())
            length = 1 + draw % 5
            rows["prompt_token_ids"].append([1, 2, row + 3])
            rows["response_ids"].append([100 + row] * length)
            rows["rewards"].append(float(draw // 5 % 40 < row))
            rows["loss_masks"].append([1] * length)
            rows["stop_reasons"].append("length" if length == 5 else "stop")
        return {**rows, "rollout_metrics": {}, "rollout_logprobs": None}


def _rows(data):
    return zip(data["sequences"], data["attention_mask"], strict=True)


class Workers:
    """Stands for the policy's workers: keeps the batches it is sent."""

    def __init__(self, dp_size=2):
        self.dp_size, self.batches, self.saved, self.updates = dp_size, [], [], 0

    def get_lcm_dp_size(self):
        return self.dp_size

    def forward(self, model, data):
        """Log-probabilities that tell whose they are: the prompt's last token, and the response's length."""
        width = data.metadata["response_length"]
        marks = [-(row.max() + 1000.0 * mask.sum()).item() for row, mask in _rows(data)]
        return SimpleNamespace(loss_fn_outputs=[{"logprobs": [mark] * width} for mark in marks])

    def forward_from_staged(self, model, chunks):
        import ray

        outputs = [self.forward(model, chunk).loss_fn_outputs for chunk in ray.get(chunks)]
        return SimpleNamespace(loss_fn_outputs=[row for rows in outputs for row in rows])

    def stage_data(self, model, data, boundaries):
        if data.get("advantages") is not None:  # else it is staged for log-probabilities
            self.batches.append((data, boundaries))
        return MeshDispatch.stage_chunks(self.dp_size, data, boundaries)

    def forward_backward_from_staged(self, model, chunks):
        import ray

        sizes = {len(chunk) for chunk in ray.get(chunks)}
        assert len(chunks) == self.dp_size
        assert len(sizes) == 1
        return SimpleNamespace(metrics={"policy_loss": 0.0})

    def optim_step(self, model):
        self.updates += 1
        return 1.0

    def save_checkpoint(self, model, folder, tokenizer):
        self.saved.append(folder)

    def load_checkpoint(self, model, folder, **_):
        assert model == "policy"

    async def save_weights_for_sampler(self):
        pass

    def get_node_ids(self):
        return []

    def init_weight_sync_state(self, client):
        pass

    def empty_cache(self, model=None):
        pass


class Tracker:
    def __init__(self):
        self.logged = []

    def log(self, data, step, commit=False):
        self.logged.append(data)

    def finish(self):
        pass


class Tokenizer:
    pad_token_id = eos_token_id = 0
    chat_template = ""

    def apply_chat_template(self, messages, **_):
        return [1, 2, 3]

    def decode(self, tokens, **_):
        return " ".join(map(str, tokens))


@pytest.fixture
def build(recipe, tmp_path, monkeypatch):
    rows = [json.dumps({"prompt": [{"role": "user", "content": f"say {row}"}], "gold": row}) for row in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))

    def build(method, steps, minis=1, cls=None, options=None, recompute=None, **algorithm):
        cfg = SkyRLTrainConfig()
        cfg.trainer.train_batch_size, cfg.trainer.policy_mini_batch_size = 8, 8 // minis
        cfg.generator.n_samples_per_prompt = 4
        cfg.trainer.epochs, cfg.trainer.max_training_steps = 4, steps
        cfg.trainer.algorithm.loss_reduction, cfg.trainer.algorithm.advantage_estimator = "prompt_mean", "rloo"
        cfg.trainer.algorithm.use_kl_loss = False
        cfg.trainer.placement.colocate_all = False
        cfg.trainer.eval_interval, cfg.trainer.eval_before_train = -1, False
        cfg.trainer.ckpt_path, cfg.trainer.ckpt_interval = str(tmp_path / "checkpoints"), 3
        cfg.trainer.resume_mode, cfg.trainer.hf_save_interval = "latest", -1
        cfg.trainer.critic.model.path = None
        cfg.trainer.enable_ray_gpu_monitor = cfg.generator.inference_engine.enable_ray_prometheus_stats = False
        cfg.data.dataloader.num_workers = 0
        cfg.trainer.recompute_old_logprobs_per_minibatch = minis == 1 if recompute is None else recompute
        for name, value in algorithm.items():
            setattr(cfg.trainer.algorithm, name, value)
        tokenizer = Tokenizer()
        data = PromptDataset(str(tmp_path / "rows.jsonl"), tokenizer, 100, num_workers=1)
        monkeypatch.setattr(recipe, "METHOD", method)
        monkeypatch.setattr(recipe, "OPTIONS", options or {})
        trainer = (cls or recipe.CurriculumTrainer)(cfg, Tracker(), tokenizer, data, None, Verdicts())
        trainer.dispatch = Workers()
        return trainer

    return build


@pytest.mark.parametrize("method", ["uniform", "cures", "dapo", "speed", "reinforce_ada"])
def test_skyrls_loop_trains_what_the_curriculum_admits(build, method):
    trainer = build(method, steps=4, minis=2, options={"truncated": "observe"})
    seen = []
    advantages = trainer.compute_advantages_and_returns
    trainer.compute_advantages_and_returns = lambda data: (
        seen.append((list(data.metadata["uids"]), data["rewards"].sum(-1))) or advantages(data)
    )
    asyncio.run(trainer.train())
    metrics = trainer.curriculum.metrics()
    assert trainer.curriculum.step == 4
    assert metrics["rollouts"] == sum(len(call["prompts"]) for call in trainer.generator.calls)
    assert metrics["rollouts_truncated"] > 0
    trained, kind = 0, trainer.curriculum.advantage
    for (uids, rewards), (batch, boundaries) in zip(seen, trainer.dispatch.batches, strict=True):
        assert isinstance(batch, TrainingInputBatch)
        real = [uid for uid in uids if not uid.startswith("pad")]
        _, sizes = np.unique(real, return_counts=True)
        masked = real == ["none"]
        trained += 0 if masked else len(real)
        assert boundaries[0][0] == 0
        assert boundaries[-1][1] == len(real)
        marks = torch.tensor([-(row.max() + 1000.0 * mask.sum()).item() for row, mask in _rows(batch)])
        assert torch.equal(batch["action_log_probs"][:, 0], marks)
        if masked:
            assert batch["loss_mask"].sum() == 0
            continue
        # prompt_mean: an advantage is shared by the tokens of its prompt, and the prompts of a mini-batch count alike
        if method != "reinforce_ada":
            values = torch.tensor(group_advantages(rewards, uids, kind))[:, None] * batch["response_mask"]
            for start, end in boundaries:
                groups = set(uids[start:end])
                for uid in groups:
                    rows = [row for row in range(start, end) if uids[row] == uid]
                    share = values[rows] / (len(groups) * batch["loss_mask"][rows].sum())
                    assert torch.allclose(batch["advantages"][rows].double(), share, atol=1e-6)
    assert trained == metrics["rollouts_trained"]
    assert trainer.tracker.logged[-1]["curriculum/rollouts"] == metrics["rollouts"]
    if method == "cures":
        assert len(set(sizes.tolist())) > 1


def test_equal_groups_train_as_stock_skyrl_does(build):
    """On the same prompts and verdicts the tensors sent to the workers are SkyRL's own."""
    ours = build("uniform", steps=2, grpo_norm_by_std=False)
    asyncio.run(ours.train())
    stock = build("uniform", steps=2, cls=RayPPOTrainer, grpo_norm_by_std=False)
    stock.resume_mode = type(stock.resume_mode)("none")
    planned = [[call["trajectory_ids"][row].instance_id for row in range(0, 32, 4)] for call in ours.generator.calls]
    stock.train_dataloader = [
        stock.train_dataset.collate_fn([stock.train_dataset[int(row)] for row in rows]) for rows in planned
    ]
    stock.train_dataloader = StatelessLoader(stock.train_dataloader)
    asyncio.run(stock.train())
    for (mine, cuts), (theirs, stock_cuts) in zip(ours.dispatch.batches, stock.dispatch.batches, strict=True):
        assert cuts == stock_cuts
        for key in ("sequences", "loss_mask", "response_mask", "attention_mask"):
            assert torch.equal(mine[key], theirs[key]), key
        assert torch.allclose(mine["advantages"], theirs["advantages"], atol=1e-6)


class StatelessLoader(list):
    def state_dict(self):
        return {}


def test_a_baseline_of_the_curriculum_is_the_one_subtracted(build):
    trainer = build("reinforce_ada", steps=1)
    found = []
    advantages = trainer.compute_advantages_and_returns

    def tap(data):
        scores = data["rewards"].sum(-1)
        data = advantages(data)
        found.append((scores, data["advantages"].clone(), data["response_mask"], trainer._baselines))
        return data

    trainer.compute_advantages_and_returns = tap
    asyncio.run(trainer.train())
    scores, values, mask, baselines = found[0]
    assert any(baseline is not None for baseline in baselines)
    for row, baseline in enumerate(baselines):
        if baseline is not None:
            assert values[row][mask[row].bool()][0].item() == pytest.approx(scores[row].item() - baseline, abs=1e-6)


def test_a_resumed_run_makes_the_plans_of_an_uninterrupted_one(build):
    whole = build("speed", steps=6)
    asyncio.run(whole.train())
    resumed = build("speed", steps=6)
    resumed.resume_mode = type(resumed.resume_mode)("from_path")
    resumed.cfg.trainer.resume_path = str(Path(resumed.cfg.trainer.ckpt_path) / "global_step_3")
    half = len(whole.generator.calls) - 1
    asyncio.run(resumed.train())
    assert resumed.curriculum.step == 6
    mine = [[trajectory.instance_id for trajectory in call["trajectory_ids"]] for call in resumed.generator.calls]
    theirs = [[trajectory.instance_id for trajectory in call["trajectory_ids"]] for call in whole.generator.calls]
    first = next(index for index, call in enumerate(whole.generator.calls) if call["batch_metadata"].global_step == 4)
    assert 0 < first <= half
    assert mine[0] == theirs[first]  # later plans depend on verdicts, which this stand-in draws anew


def test_a_checkpoint_without_the_curriculum_is_refused(build):
    trainer = build("uniform", steps=3)
    asyncio.run(trainer.train())
    (Path(trainer.cfg.trainer.ckpt_path) / "global_step_3" / "curriculum.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"curriculum\.npz"):
        asyncio.run(build("uniform", steps=6).train())


def test_what_cannot_be_expressed_is_refused(build):
    with pytest.raises(ValueError, match="prompt_mean"):
        build("cures", steps=1, loss_reduction="token_mean")
    build("uniform", steps=1, loss_reduction="token_mean")
    with pytest.raises(ValueError, match="recompute_old_logprobs"):
        build("cures", steps=1, minis=2, recompute=True)
    sampling = SkyRLTrainConfig().trainer.algorithm.dynamic_sampling
    sampling.type = "filter"
    with pytest.raises(ValueError, match="dynamic_sampling"):
        build("uniform", steps=1, dynamic_sampling=sampling)


def test_the_context_length_of_the_plan_reaches_the_generator(build):
    trainer = build("uniform", steps=1, options={"context": 77})
    asyncio.run(trainer.train())
    assert [call["sampling_params"]["max_tokens"] for call in trainer.generator.calls] == [77]
