"""The recipe for tinker-cookbook, driven through the installed cookbook; only the sampling service is a stand-in."""

import asyncio
import importlib.util
import inspect
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("tinker_cookbook", reason="pip install tinker-cookbook")

import tinker
from tinker_cookbook.checkpoint_utils import CheckpointManager
from tinker_cookbook.completers import TokenCompleter, TokensWithLogprobs
from tinker_cookbook.rl import train
from tinker_cookbook.rl.data_processing import assemble_training_data, compute_advantages, remove_constant_reward_groups
from tinker_cookbook.rl.dataset_utils import EpochCycledRLDataset
from tinker_cookbook.rl.rollout_limits import RolloutLimits
from tinker_cookbook.rl.rollout_runner import run_rollout
from tinker_cookbook.rl.rollout_strategy import RetryOnFailure
from tinker_cookbook.rl.rollouts import do_group_rollout, do_group_rollout_and_filter_constant_reward
from tinker_cookbook.rl.types import Env, EnvGroupBuilder, RLDataset, RLDatasetBuilder, StepResult
from tinker_cookbook.utils import ml_log

from didact import PromptPool, make
from didact.admission import AdmitWithSignal
from didact.advantage import group_advantages

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("tinker_recipe", ROOT / "examples" / "trainers" / "tinker_recipe.py")
_RECIPE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_RECIPE)
CurriculumDataset = _RECIPE.CurriculumDataset

RATES = {f"prompt-{number}": (number + 1) / 25 for number in range(24)}


class Question(Env):
    """Right if the first token is below the prompt's pass rate; a token below 0 breaks the environment."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    async def initial_observation(self):
        return tinker.ModelInput.from_ints([1, 2, 3]), [0]

    async def step(self, action, *, extra=None):
        if action[0] < 0:
            raise RuntimeError("sandbox lost")
        reward = float(action[0] < 1000 * self.rate)
        return StepResult(reward, True, tinker.ModelInput.empty(), [0])


class Questions(EnvGroupBuilder):
    def __init__(self, prompt_id: str, size: int) -> None:
        self.rate, self.size = RATES[prompt_id], size

    async def make_envs(self):
        return [Question(self.rate) for _ in range(self.size)]


class Policy(TokenCompleter):
    """Stands for the sampling service, which is a remote one."""

    def __init__(self, seed: int = 0, broken: float = 0.0) -> None:
        self.random, self.broken, self.asked = random.Random(seed), broken, []

    async def __call__(self, model_input, stop, *, max_tokens=None):
        self.asked.append(max_tokens)
        first = -1 if self.random.random() < self.broken else self.random.randrange(1000)
        length = min(self.random.randint(1, 8), max_tokens or 8)
        why = "length" if length == max_tokens else "stop"
        return TokensWithLogprobs([first] + [5] * (length - 1), [-0.5] * length, why)


def dataset(tmp_path, method="cures", **options):
    options = {"prompts_per_step": 6, "rollouts_per_step": 48, "seed": 3} | options
    if method == "cures":
        options |= {"train_on_pilot": True, "reset": False}
    curriculum = make(method, PromptPool(RATES), **options)
    return CurriculumDataset(curriculum, Questions, num_batches=20, folder=tmp_path, save_every=4)


def roll_out(builders, policy, strategy=None):
    async def all_of_them():
        return await asyncio.gather(*(do_group_rollout(builder, policy, strategy) for builder in builders))

    return asyncio.run(all_of_them())


def test_the_hooks_are_still_there():
    assert issubclass(CurriculumDataset, RLDataset)
    assert list(inspect.signature(RLDataset.get_batch).parameters) == ["self", "index"]
    asked = list(inspect.signature(EnvGroupBuilder.compute_group_rewards).parameters)
    assert asked == ["self", "trajectory_group", "env_group"]
    assert 'getattr(env, "rollout_limits", None)' in inspect.getsource(run_rollout)
    assert "max_sampled_tokens" in inspect.signature(RolloutLimits).parameters
    # The state of batch i is what was known when its checkpoint was made: the batch is drawn after it.
    loop = inspect.getsource(train.do_sync_training)
    assert loop.index("save_checkpoint_and_get_sampling_client") < loop.index("dataset.get_batch(i_batch)")
    assert inspect.getsource(compute_advantages).count("rewards_G - rewards_G.mean()") == 1


@pytest.mark.parametrize(
    ("method", "options"),
    [("cures", {}), ("cures", {"with_replacement": True}), ("uniform", {}), ("mopps", {}), ("knapsack", {})],
)
def test_uneven_groups_reach_the_trainer_with_the_curriculums_advantages(tmp_path, method, options):
    data, policy, weighs = dataset(tmp_path, method, **options), Policy(), set()
    sizes, told = set(), 0
    for step in range(12):
        builders = data.get_batch(step)
        groups = roll_out(builders, policy)
        told += sum(len(group.trajectories_G) for group in groups)
        weights = {group.group_id: group.weight for group in data.curriculum.admitted(step)}
        weighs.update(weights.values())
        for builder, group, found in zip(builders, groups, compute_advantages(groups), strict=True):
            planned = builder.group
            assert len(group.trajectories_G) == planned.num_rollouts
            raw = [trajectory.transitions[0].reward for trajectory in group.trajectories_G]
            wanted = group_advantages(raw, [0] * len(raw), data.curriculum.advantage, singleton="zero")
            if data.curriculum.loss_weighting == "prompt":
                wanted *= weights[planned.group_id] * 48 / 6 / len(raw)
            np.testing.assert_allclose(found.numpy(), wanted, atol=1e-5)
            assert np.mean(group.get_total_rewards()) == pytest.approx(np.mean(raw))  # what is logged stays true
            sizes.add(planned.num_rollouts)
        rows, _ = assemble_training_data(groups, compute_advantages(groups))
        assert len(rows) == sum(len(group.trajectories_G) for group in groups)
    metrics = data.curriculum.metrics()
    assert metrics["rollouts"] == metrics["rollouts_planned"] == told == 12 * 48
    assert metrics["outcomes_duplicate"] == metrics["rollouts_missing"] == 0
    assert (len(sizes) > 1) == data.curriculum.uneven
    assert (max(weighs) > 1) == data.curriculum.weighs_groups
    seen = data.curriculum.pass_rates()
    believed = dict(zip(seen.ids, seen.mean, strict=True))
    assert np.corrcoef([believed[name] for name in RATES], list(RATES.values()))[0, 1] > 0.6


def test_a_method_of_several_rounds_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'dapo' wants a further round at step 0"):
        dataset(tmp_path, "dapo").get_batch(0)


def test_groups_without_signal_are_dropped_by_the_trainer(tmp_path):
    data = dataset(tmp_path, "uniform", prompts_per_step=24, admission=AdmitWithSignal())
    groups = roll_out(data.get_batch(0), Policy())
    kept = remove_constant_reward_groups(groups)
    admitted = data.curriculum.admitted(0)
    assert 0 < len(kept) < len(groups)
    assert len(kept) == len(admitted)


def test_the_context_length_limits_the_rollouts_and_what_is_cut_off_is_said(tmp_path):
    data, policy = dataset(tmp_path, "uniform", context=4), Policy()
    roll_out(data.get_batch(0), policy)
    assert set(policy.asked) == {4}
    metrics = data.curriculum.metrics()
    assert 0 < metrics["rollouts_truncated"] < 48
    assert 48 < metrics["response_tokens"] <= 4 * 48


def test_a_failed_rollout_is_an_error_and_not_a_wrong_answer(tmp_path):
    data, policy = dataset(tmp_path, "uniform"), Policy(broken=0.2)
    rollouts = 0
    for builder in data.get_batch(0):
        done = asyncio.run(
            do_group_rollout_and_filter_constant_reward(
                None, builder, 8, 1.0, do_remove_constant_reward_groups=False, strategy=Catching(policy)
            )
        )
        rollouts += 0 if done is None else len(done.trajectories_G)
    metrics = data.curriculum.metrics()
    assert metrics["rollouts"] == 48
    assert 0 < metrics["rollouts_errored"] == 48 - rollouts


class Catching(RetryOnFailure):
    """The cookbook's own strategy with our policy in the place of the service's; a group that fails is skipped."""

    def __new__(cls, policy):
        return super().__new__(cls)

    def __init__(self, policy):
        super().__init__(max_retries=1)
        object.__setattr__(self, "policy", policy)

    async def execute(self, env_group_builder, policy):
        return await super().execute(env_group_builder, self.policy)


def test_a_resumed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    plans = {}
    for first in (0, 8):
        data = dataset(tmp_path)
        for step in range(first, 12):
            builders = data.get_batch(step)
            plans[first, step] = [builder.group for builder in builders]
            roll_out(builders, Policy(seed=step))
    assert [plans[8, step] for step in range(8, 12)] == [plans[0, step] for step in range(8, 12)]
    with pytest.raises(FileNotFoundError, match="curriculum_000009"):
        dataset(tmp_path).get_batch(9)


class Service:
    """Stands for the Tinker service: samples at random, and takes every gradient."""

    def __init__(self) -> None:
        self.policy, self.trained, self.saved = Policy(), [], []

    def forward_backward(self, data, loss_fn, loss_fn_config=None):
        assert loss_fn == "importance_sampling"
        self.trained.append([datum.loss_fn_inputs["advantages"].to_torch() for datum in data])
        return given(loss_fn_outputs=[{"logprobs": datum.loss_fn_inputs["logprobs"]} for datum in data])

    def optim_step(self, adam_params):
        return given(metrics={})

    def save_state(self, name, ttl_seconds=None):
        self.saved.append(name)
        return given(path=f"state/{name}")

    def save_weights_for_sampler(self, name, ttl_seconds=None):
        return given(path=f"sampler/{name}")

    async def save_weights_and_get_sampling_client(self, record_stability_info=False):
        return self

    def create_sampling_client(self, path, record_stability_info=False):
        return SimpleNamespace(result=lambda: self)

    async def sample(self, prompt, num_samples, sampling_params):
        done = await self.policy(prompt, sampling_params.stop, max_tokens=sampling_params.max_tokens)
        sequence = SimpleNamespace(
            tokens=done.tokens, logprobs=done.logprobs, stop_reason=done.stop_reason, sequence_id=None
        )
        return SimpleNamespace(sequences=[sequence], prompt_cache_hit_tokens=0)


async def given(**fields):
    return SimpleNamespace(**fields)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_cookbooks_own_training_loop_trains_on_the_plans(tmp_path, asynchronous):
    service, data = Service(), dataset(tmp_path)
    config = train.Config(
        learning_rate=1e-4,
        dataset_builder=RLDatasetBuilder(),
        model_name="none",
        recipe_name="didact",
        max_tokens=8,
        log_path=str(tmp_path),
        remove_constant_reward_groups=True,
        num_groups_to_log=0,
        async_config=train.AsyncConfig(max_steps_off_policy=1, groups_per_batch=3, loss_fn="importance_sampling")
        if asynchronous
        else None,
    )
    logger = ml_log.setup_logging(str(tmp_path))
    asyncio.run(
        (train.do_async_training if asynchronous else train.do_sync_training)(
            start_batch=0,
            end_batch=6,
            num_batches=6,
            config=config,
            training_client=service,
            kl_reference_client=None,
            evaluators=[],
            dataset=EpochCycledRLDataset(data, 1),
            ml_logger=logger,
            tokenizer=SimpleNamespace(decode=str),
            strategy=config.effective_rollout_strategy(),
            checkpoint_mgr=CheckpointManager(service, None, str(tmp_path), save_every=4, store=logger.store),
        )
    )
    metrics = data.curriculum.metrics()
    assert len(service.trained) == 6
    if asynchronous:  # a step trains three groups, whichever came first; the last rollouts are never trained on
        assert data.curriculum.step >= 4
        assert metrics["outcomes"] >= 18
        assert metrics["rollouts"] <= metrics["rollouts_planned"]
    else:
        assert metrics["rollouts"] == metrics["rollouts_planned"] == 6 * 48
        assert service.saved == ["000004"]
    signal = sum(bool(row.abs().max() > 1e-4) for step in service.trained for row in step)
    assert signal > 0.5 * sum(map(len, service.trained))
    again = dataset(tmp_path)
    assert again.get_batch(4)
    assert again.curriculum.step == 4
