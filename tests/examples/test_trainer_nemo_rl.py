"""The NeMo-RL recipe with NeMo-RL's own collation, rollout code, advantage estimator and a Ray environment.

NeMo-RL is not on the package index: put its source on PYTHONPATH. Its trainer needs Python 3.12 and a GPU and was only
read; the policy here is a stand-in that draws tokens.
"""

import importlib.util
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from didact.advantage import group_advantages

ROOT = Path(__file__).resolve().parents[2]

ray = pytest.importorskip("ray")
pytest.importorskip("nemo_rl")
try:
    from nemo_rl.algorithms.advantage_estimator import GRPOAdvantageEstimator
    from nemo_rl.data.llm_message_utils import batched_message_log_to_flat_message
    from nemo_rl.distributed.batched_data_dict import BatchedDataDict
    from nemo_rl.environments.interfaces import EnvironmentReturn
    from nemo_rl.experience.rollouts import run_multi_turn_rollout
except Exception as error:  # parts that NeMo-RL needs are missing
    pytest.skip(f"this NeMo-RL cannot be imported here: {error!r:.80}", allow_module_level=True)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recipe():
    where = ROOT / "examples" / "trainers" / "nemo_rl_recipe.py"
    spec = importlib.util.spec_from_file_location("nemo_rl_recipe", where)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=16, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False)
    yield
    ray.shutdown()


class Tokenizer:
    pad_token_id = 0

    def batch_decode(self, rows, **_):
        return [" ".join(str(int(token)) for token in row) for row in rows]

    def __call__(self, text, **_):
        return SimpleNamespace(input_ids=torch.zeros((1, 0), dtype=torch.long))


class Policy:
    """Draws one token per rollout: 1 passes, 2 does not; prompt `row` passes with a rate of its own."""

    def __init__(self):
        self.count = {}

    def generate(self, data, greedy=False):
        ids, lengths = data["input_ids"], data["input_lengths"]
        output = torch.cat([ids, torch.zeros((len(ids), 1), dtype=torch.long)], dim=1)
        for index, length in enumerate(lengths.tolist()):
            row = int(ids[index, length - 1]) - 10
            self.count[row] = self.count.get(row, 0) + 1
            draw = zlib.crc32(f"{row}/{self.count[row]}".encode())
            output[index, length] = 1 if draw % 40 < row else 2
        ones = torch.ones(len(ids), dtype=torch.long)
        return BatchedDataDict(
            output_ids=output,
            generation_lengths=ones,
            unpadded_sequence_lengths=lengths + 1,
            logprobs=torch.zeros_like(output, dtype=torch.float32),
        )


def math_environment():
    @ray.remote(num_cpus=0)
    class Judge:
        def step(self, message_log_batch, metadata):
            passed = [float(log[-1]["content"].strip() == "1") for log in message_log_batch]
            return EnvironmentReturn(
                observations=[{"role": "environment", "content": ""}] * len(passed),
                metadata=[{"ground_truth": row["ground_truth"]} for row in metadata],
                next_stop_strings=[None] * len(passed),
                rewards=torch.tensor(passed),
                terminateds=torch.ones(len(passed)),
                answers=None,
            )

        def shutdown(self):
            return True

    return Judge.remote()


def rows(count=40):
    return [
        {
            "message_log": [{"role": "user", "content": f"p{row}", "token_ids": torch.tensor([5, 10 + row])}],
            "length": 2,
            "extra_env_info": {"ground_truth": "1"},
            "loss_multiplier": 1.0,
            "idx": row,
            "task_name": "math",
        }
        for row in range(count)
    ]


class Checkpointer:
    def __init__(self, folder=None):
        self.folder = folder

    def get_latest_checkpoint_path(self):
        return self.folder


def begin(recipe, method="mopps", folder=None, **options):
    config = SimpleNamespace(grpo=SimpleNamespace(num_prompts_per_step=32, seed=0))
    return recipe.with_curriculum(
        rows(), {"math": math_environment()}, Checkpointer(folder), config, method, prompts=8, **options
    )


def roll_out(policy, batch, environments):
    """What grpo_train does with a batch, up to the advantages."""
    repeated = batch.repeat_interleave(1)
    done, _ = run_multi_turn_rollout(policy, repeated, Tokenizer(), environments, max_seq_len=16, max_rollout_turns=1)
    prompts, _ = batched_message_log_to_flat_message(
        [log[:1] for log in done["message_log"]], pad_value_dict={"token_ids": 0}
    )
    settings = SimpleNamespace(use_leave_one_out_baseline=True, normalize_rewards=False)
    advantages = GRPOAdvantageEstimator(settings, None).compute_advantage(
        prompts["token_ids"], done["total_reward"], torch.ones((len(done["idx"]), 1))
    )
    return done, advantages[:, 0]


@pytest.mark.parametrize("method", ["uniform", "mopps", "knapsack"])
def test_nemo_rls_rollouts_reach_the_curriculum_and_its_advantages_are_rloo(recipe, method):
    loader, environments = begin(recipe, method)
    policy, sizes, made, passed = Policy(), set(), 0, 0.0
    for _ in range(2):  # epochs
        assert len(loader) == 5
        for batch in loader:
            plan = {int(group.prompt_id): group for group in loader.plan}
            assert batch.size == 32
            done, advantages = roll_out(policy, batch, environments)
            ids = [info[recipe.KEY][0] for info in batch["extra_env_info"]]
            assert advantages.tolist() == pytest.approx(group_advantages(done["total_reward"], ids).tolist(), abs=1e-5)
            weights = np.bincount(batch["idx"], weights=batch["loss_multiplier"].tolist())
            assert weights[sorted(plan)] == pytest.approx(32 / len(plan))  # every prompt weighs the same
            counts = np.bincount(batch["idx"])[sorted(plan)].tolist()
            assert counts == [plan[row].num_rollouts for row in sorted(plan)]
            sizes |= set(counts)
            made, passed = made + batch.size, passed + done["total_reward"].sum().item()
    loader.state_dict()  # the last verdicts are taken in here
    metrics = loader.curriculum.metrics()
    assert metrics["rollouts"] == made == 320
    assert metrics["rollouts_errored"] == metrics["outcomes_late"] == 0
    assert loader.curriculum.belief.num_rollouts(np.arange(40)).sum() == made
    if method == "knapsack":
        assert len(sizes) > 1
    assert metrics["groups_all_fail"] > 0 < passed


def test_the_state_travels_in_train_dataloader_pt_without_pickle(recipe, tmp_path):
    loader, environments = begin(recipe)
    policy, batches = Policy(), iter(loader)
    for _ in range(3):
        roll_out(policy, next(batches), environments)
    torch.save(loader.state_dict(), tmp_path / "train_dataloader.pt")
    again, _ = begin(recipe, folder=str(tmp_path))
    assert next(iter(again))["idx"] == next(batches)["idx"]
    with pytest.raises(ValueError, match="method"):
        begin(recipe, "uniform", folder=str(tmp_path))


def test_several_rounds_and_a_context_are_refused(recipe):
    loader, environments = begin(recipe, "speed")
    batches, policy = iter(loader), Policy()
    roll_out(policy, next(batches), environments)
    with pytest.raises(ValueError, match="several rounds"):
        next(batches)
    with pytest.raises(ValueError, match="this plan has"):
        next(iter(begin(recipe, "hora")[0]))
    with pytest.raises(ValueError, match="generation length"):
        next(iter(begin(recipe, "uniform", context=4)[0]))


def test_rollouts_whose_verdict_is_missing_are_errors(recipe):
    loader, _ = begin(recipe, "uniform")
    batches = iter(loader)
    next(batches)
    next(batches)  # the environment saw nothing of the first batch
    assert loader.curriculum.metrics()["rollouts_errored"] == 32
