"""What the adapter relies on in the installed verl, what it refuses, and its arithmetic. No Ray."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoTokenizer
from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage, compute_rloo_outcome_advantage
from verl.trainer.ppo.v1 import trainer_base
from verl.utils.dataset.rl_dataset import RLHFDataset

from didact.adapters import verl as adapter
from didact.adapters.verl import CurriculumDataset, CurriculumReplayBuffer, curriculum_advantages, run, seams
from didact.adapters.verl.session import TrainingGroup
from tests.adapters.verl import task
from tests.adapters.verl.harness import ON, small

UNIFORM = "+data.curriculum.method=uniform"
ASYNCHRONOUS = "trainer.v1.trainer_mode=colocate_async"
LOOP = "actor_rollout_ref.rollout.agent.default_agent_loop"


def dataset(folder, *overrides, on=ON, train=True):
    config = small(folder, *on, *overrides)
    files = config.data.train_files if train else config.data.val_files
    return CurriculumDataset(files, AutoTokenizer.from_pretrained(folder / "model"), config.data)


# The contract --------------------------------------------------------------------------------------------------------


def test_the_installed_verl_keeps_the_contract():
    seams.check_seams()


def test_the_package_has_what_a_configuration_names():
    assert [name for name in adapter.__all__ if not hasattr(adapter, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'CurriculumSampler'"):
        _ = adapter.CurriculumSampler  # of other versions, and in a module of its own


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SEAMS", [(RLHFDataset, "__getitem__", ["self", "index"])], "has parameters .*item.*, not .*index"),
        ("SEAMS", [(RLHFDataset, "gone", ["self"])], "RLHFDataset.gone has parameters None"),
        ("MENTIONS", [(trainer_base, ["__rollout_count__"])], "does not contain __rollout_count__"),
        ("OPTIONS", {"refill"}, "ReplayBuffer takes no refill"),
    ],
)
def test_a_changed_verl_is_refused(monkeypatch, name, value, message):
    monkeypatch.setattr(seams, name, value)
    with pytest.raises(TypeError, match=rf"verl 0\.9.*{message}.*tested: verl"):
        seams.check_seams()


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        ("0.5.0", "use didact.adapters.verl.sampler"),
        ("0.7.1", "use didact.adapters.verl.sampler"),
        ("0.8.0", "no hook for a curriculum; upgrade to 0.9.1, or stay on 0.7.1 with didact.adapters.verl.sampler"),
        ("0.9.0", "upgrade to 0.9.1"),
        ("0.10.0", "has not been tried"),
    ],
)
def test_other_versions_are_refused_with_advice(version, advice):
    with pytest.raises(ImportError, match=f"verl {version}: .*{advice}"):
        seams.check_version(version)
    seams.check_version("0.9.1")


# The data set --------------------------------------------------------------------------------------------------------


def test_rows_are_bound_late_whatever_index_the_loader_draws(folder):
    data = dataset(folder, UNIFORM)
    rows = [data[0] for _ in range(6)]
    assert [row["__rollout_n__"] for row in rows] == [8, 8, 8, 8, 0, 0]  # a batch, and rows that stand for nothing
    assert len({row["index"] for row in rows[:4]}) == 4
    planned = list(data.run.session.sent.values())
    for row, sent in zip(rows, planned, strict=False):
        assert sent.group.prompt_id == f"{row['data_source']}/{row['index']}"
        assert row["didact_group"] == sent.group.group_id
        assert row["agent_name"] == "single_turn_agent"  # no context length: verl's own loop


def test_a_validation_set_is_verls_own(folder):
    ours, theirs = dataset(folder, UNIFORM, train=False), None
    config = small(folder, *ON, UNIFORM)
    theirs = RLHFDataset(config.data.val_files, ours.tokenizer, config.data)
    assert [ours[row].keys() for row in range(8)] == [theirs[row].keys() for row in range(8)]
    assert [ours[row]["index"] for row in range(8)] == list(range(8))
    assert ours.state_dict() == {}


def test_the_pool_knows_what_the_rows_say(folder):
    pool = dataset(folder, UNIFORM).run.session.curriculum.pool
    assert list(pool.ids[:3]) == ["names/0", "words/1", "names/2"]
    assert list(pool.source[:2]) == ["names", "words"]
    assert list(pool.prompt_tokens[:3]) == [2, 3, 4]


def test_a_row_with_a_context_length_goes_to_a_loop_that_keeps_to_it(folder):
    row = dataset(folder, UNIFORM, "+data.curriculum.context=4")[0]
    assert (row["didact_context"], row["agent_name"]) == (4, "didact_single_turn_agent")
    assert (
        dataset(folder, UNIFORM, f"{LOOP}=tool_agent", "+data.curriculum.context=4")[0]["agent_name"]
        == "didact_tool_agent"
    )


def test_the_state_travels_in_the_dataloader(folder):
    def loader(data):
        return trainer_base.StatefulDataLoader(data, batch_size=2, num_workers=0, collate_fn=trainer_base.collate_fn)

    data = dataset(folder, "+data.curriculum.method=cures")
    first = loader(data)
    drawn = iter(first)
    next(drawn)
    saved = first.state_dict()
    expected = next(drawn)
    again = loader(dataset(folder, "+data.curriculum.method=cures"))
    again.load_state_dict(saved)
    resumed = next(iter(again))
    assert resumed["didact_group"].tolist() == expected["didact_group"].tolist()
    assert resumed["index"].tolist() == expected["index"].tolist()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+data.curriculum.method=unifrom"], "did you mean 'uniform'"),
        (["+data.curriculum.method=cures", "+data.curriculum.temprature=1"], "did you mean 'temperature'"),
        ([], "no curriculum was chosen"),
        ([UNIFORM, "data.dataloader_num_workers=8"], "each worker would have a curriculum"),
        ([UNIFORM, "trainer.v1.sampler.custom_sampler.name=null"], "nobody would tell the curriculum"),
        ([UNIFORM, "trainer.use_v1=false"], "no replay buffer"),
        ([UNIFORM, "algorithm.filter_groups.enable=true"], "admission is the curriculum's"),
        ([UNIFORM, "reward.reward_model.enable=true"], "too late for a curriculum"),
        ([UNIFORM, "skip.rollout_tq.enable=true"], "of other plans"),
        ([UNIFORM, ASYNCHRONOUS, "trainer.v1.sampler.max_off_policy_strategy=wait"], "=wait"),
        ([UNIFORM, "data.train_batch_size=32", "actor_rollout_ref.actor.ppo_mini_batch_size=32"], "no epoch"),
        ([UNIFORM, "+data.curriculum.context=9"], "exceeds the response length of 8"),
        ([UNIFORM, "+data.curriculum.context=4", f"{LOOP}=mine"], "'mine' knows no"),
        (["+data.curriculum.method=cures", "+data.curriculum.gradient_norms=true"], "gradients of single rollouts"),
        (["+data.curriculum.method=reinforce_ada", "algorithm.adv_estimator=grpo"], "adv_estimator=didact"),
        (["+data.curriculum.method=cures", "+data.curriculum.with_replacement=true", "algorithm.adv_estimator=rloo"],
         "weighs its groups in the loss: set algorithm.adv_estimator=didact"),
        (["+data.curriculum.method=reinforce_ada", "+data.curriculum.verifier=acc"], "in units of its evidence"),
    ],
)  # fmt: skip
def test_what_cannot_be_expressed_is_refused_before_training(folder, overrides, message):
    with pytest.raises((ValueError, TypeError), match=message):
        dataset(folder, *overrides)


def test_ids_must_be_unique_and_the_two_files_different(folder, tmp_path):
    twice = task.write_rows(tmp_path / "twice.parquet", [*task.rows(4), *task.rows(4)])
    with pytest.raises(
        ValueError,
        match=r"8 rows have 4 prompt ids: 'names/0' is that of 2 rows, with one and the same prompt; keep one row",
    ):
        dataset(folder, UNIFORM, f"data.train_files={twice}")
    with pytest.raises(ValueError, match=r"no prompt id: .*prompt_id=KEY"):
        dataset(folder, UNIFORM, "+data.curriculum.prompt_id=name")
    with pytest.raises(ValueError, match="are the same"):
        dataset(folder, UNIFORM, f"data.val_files={folder}/train.parquet")
    alone = OmegaConf.create(OmegaConf.to_container(small(folder, *ON, UNIFORM).data))
    with pytest.raises(ValueError, match="hand over"):
        CurriculumDataset(alone.train_files, AutoTokenizer.from_pretrained(folder / "model"), alone)


def test_options_of_the_replay_buffer_are_checked(folder):
    options = {"trainer_mode": "sync", "trainer_config": {}, "max_off_policy_threshold": 8,
               "max_off_policy_strategy": "drop", "refill_fn": print}  # fmt: skip
    assert CurriculumReplayBuffer(**options, sampler_kwargs={"poll_interval": 0.1}).poll_interval == 0.1
    with pytest.raises(ValueError, match="unknown 'pol_interval'; known: poll_interval"):
        CurriculumReplayBuffer(**options, sampler_kwargs={"pol_interval": 0.1})


def test_without_its_data_set_the_buffer_says_so(monkeypatch):
    monkeypatch.setattr(run, "running", {})
    with pytest.raises(RuntimeError, match=r"data\.custom_cls\.name=CurriculumDataset"):
        run.current_run()


# The estimator -------------------------------------------------------------------------------------------------------


def advantages(data, rewards, uids, lengths, baselines=None, padding=0, weights=None):
    """One number per row, of rows with these rewards, uids and lengths, and of padding rows after them."""
    width = max(lengths)
    mask = torch.tensor(
        [[float(position < length) for position in range(width)] for length in [*lengths] + padding * [0]]
    )
    scores = torch.zeros_like(mask)
    for row, (reward, length) in enumerate(zip(rewards, lengths, strict=True)):
        scores[row, length - 1] = reward
    groups = {uid: TrainingGroup(uid, [], (baselines or {}).get(uid), (weights or {}).get(uid, 1.0)) for uid in uids}
    data.run.training, data.run.trains = groups, True
    index = np.array([*uids] + padding * ["pad0"], dtype=object)
    result, returns = curriculum_advantages(token_level_rewards=scores, response_mask=mask, index=index, config=None)
    assert torch.equal(result, returns)
    assert torch.equal(result[mask == 0], torch.zeros(int((mask == 0).sum())))
    return result[:, 0].numpy(), scores, mask, index


def test_equal_groups_get_verls_own_advantages(folder):
    data = dataset(folder, UNIFORM)
    rewards, uids, lengths = [1, 0, 0, 1, 1, 0, 0, 0], list("aaaabbbb"), [3, 2, 4, 1, 2, 2, 3, 4]
    ours, scores, mask, index = advantages(data, rewards, uids, lengths)
    theirs, _ = compute_rloo_outcome_advantage(scores, mask, index)
    assert ours == pytest.approx(theirs[:, 0].numpy())
    data.run.session.curriculum.advantage = "grpo"
    ours, *_ = advantages(data, rewards, uids, lengths)
    theirs, _ = compute_grpo_outcome_advantage(scores, mask, index)
    assert ours == pytest.approx(theirs[:, 0].numpy(), abs=1e-5)


def test_unequal_groups_weigh_alike_and_padding_weighs_nothing(folder):
    data = dataset(folder, "+data.curriculum.method=cures")
    rewards, uids = [1, 0, 1, 0, 0, 0, 0, 0], list("aabbbbbb")
    ours, *_ = advantages(data, rewards, uids, [2] * 8, padding=8)
    assert not ours[8:].any()
    # Rows of a: (1 - 0) and (0 - 1), times 4 / 2; of b: leave-one-out, times 4 / 6; all times 16 / 8 for the padding.
    assert ours[:2] == pytest.approx([4.0, -4.0])
    assert ours[2:8] == pytest.approx([4 / 3] + [-4 / 15] * 5)
    data.run.loss_agg_mode = "token-mean"  # counts no padding
    ours, *_ = advantages(data, rewards, uids, [2] * 8, padding=8)
    assert ours[:2] == pytest.approx([2.0, -2.0])


def test_a_prompt_drawn_twice_weighs_twice(folder):
    """CurES, eq. 16: three draws, two of them of a. Token sums over 8 rows: a counts 2/3 over 2 rows, b 1/3 over 6."""
    data = dataset(folder, "+data.curriculum.method=cures", "+data.curriculum.with_replacement=true")
    data.run.loss_agg_mode = "token-mean"
    rewards, uids = [1, 0, 1, 0, 0, 0, 0, 0], list("aabbbbbb")
    ours, *_ = advantages(data, rewards, uids, [2] * 8, weights={"a": 2.0})
    assert ours[:2] == pytest.approx([8 * 2 / 3 / 2, -8 * 2 / 3 / 2])
    assert ours[2:] == pytest.approx([8 / 3 / 6] + [-8 / 3 / 6 / 5] * 5)
    data.run.session.curriculum.loss_weighting = "token"
    ours, *_ = advantages(data, rewards, uids, [2] * 8, weights={"a": 2.0})
    assert ours[:2] == pytest.approx([2 / (10 / 8), -2 / (10 / 8)])


def test_a_groups_own_baseline_takes_the_place_of_its_mean(folder):
    data = dataset(folder, "+data.curriculum.method=reinforce_ada")
    ours, *_ = advantages(data, [1, 0], ["a", "a"], [2, 2], baselines={"a": 0.25})
    assert ours == pytest.approx([0.75, -0.25])
    data.run.trains = False
    scores = torch.ones(2, 2)
    nothing, _ = curriculum_advantages(token_level_rewards=scores, response_mask=scores, index=np.array(["a", "a"]))
    assert not nothing.any()


def test_baselines_that_are_offered_are_taken_where_rewards_are_pass_rates(folder):
    data = dataset(folder, "+data.curriculum.method=didact")
    assert not data.run.session.curriculum.own_baseline
    ours, *_ = advantages(data, [1, 0], ["a", "a"], [2, 2], baselines={"a": 0.25})
    assert ours == pytest.approx([0.75, -0.25])
    ours, *_ = advantages(data, [1, -1], ["a", "a"], [2, 2], baselines={"a": 0.25})
    assert ours == pytest.approx([2.0, -2.0])  # each less the other: the group's own mean


def test_a_group_that_trains_names_its_rows():
    group = TrainingGroup("u", ["u_0_0"])
    assert group.baseline is None
