"""verl's own trainer, queue and workers on a local Ray cluster; see `harness` for the half that is replaced."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from transformers import AutoModelForCausalLM

from didact.advantage import group_advantages, loss_weights
from didact.journal import read_journal
from didact.report.history import RunHistory
from tests.adapters.verl import task
from tests.adapters.verl.harness import ON, Cluster, Colocated, Separate, logged

pytestmark = pytest.mark.slow
GRPO = [*ON[:-1], "algorithm.adv_estimator=grpo"]


@pytest.fixture(scope="module")
def cluster(folder):
    shared = Cluster(folder)
    yield shared
    shared.close()


@pytest.fixture
def fit(cluster, tmp_path):
    """Runs a method; gives the trainer and what verl logged."""

    def run(method, *overrides, steps, on=ON, **options):
        log = tmp_path / "log.jsonl"
        chosen = [f"+data.curriculum.{name}={value}" for name, value in {"method": method, **options}.items()]
        trainer = cluster.fit(*on, *chosen, *overrides, steps=steps, log=log)
        return trainer, logged(log)

    return run


def mean_pass_rate(model, trainer):
    return float(np.mean(task.pass_rates(model, trainer.tokenizer)))


def groups_of(batch):
    """Rows of an update by uid, without verl's padding."""
    rows = defaultdict(list)
    for row, uid in enumerate(batch["uid"]):
        if not batch["padding"][row]:
            rows[uid].append(row)
    return rows


def records(run, kind):
    return [record for record in read_journal(run / "journal.jsonl") if record["kind"] == kind]


def _unordered(column):
    """Which of a prompt's rollouts comes first is chance."""
    return [sorted(entry) if isinstance(entry, list) else entry for entry in column]


def test_a_model_learns_and_one_that_is_not_updated_does_not(fit, folder):
    before = AutoModelForCausalLM.from_pretrained(folder / "model").double()
    trainer, log = fit("uniform", "trainer.test_freq=10", steps=20)
    start, end = mean_pass_rate(before, trainer), mean_pass_rate(trainer.actor_rollout_wg.model, trainer)
    assert end > start + 0.25, (start, end)  # 0.34 to about 0.75; a run that learnt nothing would stay at 0.34
    late = np.mean([step["curriculum/pass_rate"] for step in log[-4:]])
    assert late > np.mean([step["curriculum/pass_rate"] for step in log[:4]]) + 0.25
    assert [step["curriculum/rollouts"] for step in log] == [32.0 * step for step in range(1, 21)]
    assert log[9]["val-core/words/reward/mean@1"] >= 0  # validation went its own way, with verl's own data set
    control, _ = fit("uniform", "actor_rollout_ref.actor.optim.lr=0", steps=2)
    assert mean_pass_rate(control.actor_rollout_wg.model, control) == pytest.approx(start, abs=1e-6)


def test_cures_has_pilots_and_uneven_groups_and_a_run_folder(fit, tmp_path):
    run = tmp_path / "run"
    trainer, log = fit("cures", "data.gen_batch_size=1", steps=4, steps_per_iteration=2, run=run)
    sizes = [sorted(map(len, groups_of(batch).values())) for batch in trainer.actor_rollout_wg.batches]
    assert all(sum(each) == 32 for each in sizes)
    assert any(len(set(each)) > 1 for each in sizes)
    assert log[-1]["curriculum/rollouts_pilot"] == 64
    assert log[-1]["curriculum/rollouts"] == 4 * 32 + 64
    for batch in trainer.actor_rollout_wg.batches:
        uids, rewards = np.array(batch["uid"]), np.array(batch["reward"])
        expected = group_advantages(rewards, uids, "rloo", singleton="zero") * loss_weights(uids) * len(uids)
        assert batch["advantage"] == pytest.approx(expected, abs=1e-5)
    history = RunHistory.load(run)
    assert history.num_steps == 4
    assert len(history.rollouts) == 4 * 32 + 64
    assert [step["reasons"][0] for step in records(run, "plan")].count("pilot") == 2


def test_a_prompt_drawn_twice_weighs_twice(fit, tmp_path):
    """CurES, eq. 16: a mean over draws; verl adds up tokens and divides by the number of its rows."""
    run = tmp_path / "run"
    options = {"steps_per_iteration": 3, "with_replacement": "true"}
    trainer, _ = fit("cures", "data.gen_batch_size=1", steps=3, run=run, **options)
    seen = set()
    for batch, record in zip(trainer.actor_rollout_wg.batches, records(run, "admitted"), strict=True):
        draws = dict(zip(record["groups"], record["weights"], strict=True))
        ids, rewards = np.array(batch["group"]), np.array(batch["reward"])
        share = np.array([draws[group] / sum(draws.values()) / (ids == group).sum() for group in ids])
        expected = group_advantages(rewards, ids, "rloo", singleton="zero") * share * len(ids)
        assert batch["advantage"] == pytest.approx(expected, abs=1e-5)
        seen.update(draws.values())
    assert seen >= {1.0, 2.0}


def test_speed_screens_and_continues_in_one_group(fit, tmp_path):
    run = tmp_path / "run"
    trainer, log = fit("speed", steps=4, on=GRPO, run=run)
    reasons = Counter(reason for plan in records(run, "plan") for reason in plan["reasons"])
    assert reasons["screen"] > reasons["continue"] > 0
    assert max(step["curriculum/rounds"] for step in log) > 1
    assert any(step["curriculum/rollouts_held"] > 0 for step in log)
    for batch in trainer.actor_rollout_wg.batches:
        for uid, rows in groups_of(batch).items():
            assert len(rows) == 8, uid  # 4 that screened, 4 that continued: one uid, one group to verl
            assert len({batch["group"][row] for row in rows}) == 1
            rewards = np.array([batch["reward"][row] for row in rows])
            assert 0 < rewards.mean() < 1
            expected = (rewards - rewards.mean()) / (rewards.std(ddof=1) + 1e-6)  # verl's own GRPO
            assert [batch["advantage"][row] for row in rows] == pytest.approx(expected, abs=1e-5)


def test_dapo_trains_on_signal_and_leaves_nothing_behind(fit, cluster):
    trainer, log = fit("dapo", steps=3)
    for batch in trainer.actor_rollout_wg.batches:
        for rows in groups_of(batch).values():
            assert len({batch["reward"][row] for row in rows}) > 1
    assert log[-1]["curriculum/rollouts_discarded"] > 0
    assert log[-1]["curriculum/rollouts"] == log[-1]["curriculum/rollouts_planned"]
    assert not cluster.entries()


def test_responses_keep_to_the_context_of_their_row(fit, cluster):
    import ray

    ray.get(cluster.server.used_limits.remote())
    trainer, log = fit("uniform", steps=3, context="[[2,3],[9,5]]", verifier="double", pass_above=1.5)
    lengths = [max(batch["length"]) for batch in trainer.actor_rollout_wg.batches]
    assert max(lengths[:2]) == 3  # prompts with two or more dots want more
    assert 3 < lengths[2] <= 5
    assert Counter(ray.get(cluster.server.used_limits.remote())) == {3: 64, 5: 32}
    assert log[1]["curriculum/rollouts_truncated"] > 0
    assert log[2]["curriculum/context_length"] == 5
    rewards = sum(sum(batch["reward"]) for batch in trainer.actor_rollout_wg.batches[2:])
    assert log[2]["curriculum/pass_rate"] == rewards / 32  # a score of 2 passes, and 0 does not
    fast, _ = fit("fastcurl", steps=4, max_context=8, total_steps=4)
    used = [set(batch["context"]) for batch in fast.actor_rollout_wg.batches]
    assert all(len(each) == 1 for each in used)
    assert len(set.union(*used)) > 1
    for batch, each in zip(fast.actor_rollout_wg.batches, used, strict=True):
        assert max(batch["length"]) <= max(each)


def test_a_resumed_run_makes_the_plans_of_one_that_was_not_interrupted(fit, tmp_path):
    """With groups that wait for a later step: verl's queue is empty after a restart, and they train all the same."""
    saved = f"trainer.default_local_dir={tmp_path}/checkpoints"
    whole, _ = fit("speed", steps=6, run=tmp_path / "whole")
    fit("speed", saved, "trainer.save_freq=3", steps=5, run=tmp_path / "parts")
    assert records(tmp_path / "parts", "plan")[-1]["step"] == 4
    resumed, _ = fit(
        "speed",
        "trainer.resume_mode=resume_path",
        f"trainer.resume_from_path={tmp_path}/checkpoints/global_step_3",
        steps=6,
        run=tmp_path / "parts",
    )
    assert len(resumed.actor_rollout_wg.batches) == 3
    for kind, column in {"plan": "prompts", "outcomes": "rewards", "admitted": "groups"}.items():
        each = [
            [_unordered(record[column]) for record in records(tmp_path / name, kind)] for name in ("parts", "whole")
        ]
        assert each[0] == each[1], kind
    held = {group for batch in whole.actor_rollout_wg.batches[:3] for group in batch["group"]}
    later = {group for batch in resumed.actor_rollout_wg.batches for group in batch["group"]}
    rolled_out = {group for plan in records(tmp_path / "whole", "plan") if plan["step"] < 3 for group in plan["groups"]}
    assert later & (rolled_out - held)  # groups of before the checkpoint trained after it
    with pytest.raises(ValueError, match="another run's, and verl loaded no checkpoint"):
        fit("speed", steps=1, run=tmp_path / "parts")


def test_a_crashing_verifier_is_no_wrong_answer(fit, folder):
    broken = folder / "broken.parquet"
    task.write_rows(broken, task.rows(broken=tuple(range(0, 16, 2))))
    trainer, log = fit("uniform", f"data.train_files={broken}", steps=4)
    errored = log[-1]["curriculum/rollouts_errored"]
    assert 0 < errored < 128
    assert log[-1]["curriculum/rollouts"] == 128
    belief = trainer.train_dataset.run.session.curriculum.pass_rates()
    assert all(rate > 0.5 for name, rate in zip(belief.ids, belief.mean, strict=True) if name == "names/4")
    short = trainer.actor_rollout_wg.batches[0]
    assert sum(short["padding"]) == len(short["uid"]) - sum(map(len, groups_of(short).values())) > 0
    uids, real = np.array(short["uid"]), ~np.array(short["padding"])
    advantages = np.array(short["advantage"])
    assert not advantages[~real].any()
    expected = group_advantages(np.array(short["reward"])[real], uids[real], "rloo", singleton="zero")
    expected = expected * loss_weights(uids[real]) * real.sum()  # prompts alike, and verl divides by all 32 rows
    assert advantages[real] == pytest.approx(expected * len(real) / real.sum(), abs=1e-5)


def test_right_or_wrong_is_acc_where_the_scorer_says_so(fit, folder):
    signed = folder / "signed.parquet"
    rows = task.rows()
    task.write_rows(signed, [{**row, "extra_info": {**row["extra_info"], "signed": True}} for row in rows])
    trainer, log = fit("uniform", f"data.train_files={signed}", steps=1)
    rewards = np.array(trainer.actor_rollout_wg.batches[0]["reward"])
    assert set(rewards) == {-1.5, 0.5}
    assert log[0]["curriculum/pass_rate"] == (rewards > 0).mean()
    with pytest.raises(ValueError, match=r"outside \[0, 1\] \(from -1.5 to 0.5\).*\+data.curriculum.pass_above=NUMBER"):
        fit("uniform", f"data.train_files={signed}", steps=1, verifier="score")


def test_a_hopeless_pool_does_not_end_a_run(fit, folder):
    hopeless = folder / "hopeless.parquet"
    rows = [{**row, "reward_model": {"style": "rule", "ground_truth": "no"}} for row in task.rows()]
    task.write_rows(hopeless, rows)
    before = AutoModelForCausalLM.from_pretrained(folder / "model").double()
    trainer, log = fit("dapo", f"data.train_files={hopeless}", steps=2, max_rounds=2)
    assert log[-1]["curriculum/rollouts"] == 2 * 64
    assert log[-1]["curriculum/rollouts_trained"] == 0
    assert mean_pass_rate(trainer.actor_rollout_wg.model, trainer) == pytest.approx(mean_pass_rate(before, trainer))
    silent = folder / "silent.parquet"
    broken = [{**row, "extra_info": {**row["extra_info"], "broken": True}} for row in rows]
    task.write_rows(silent, broken)
    with pytest.raises(RuntimeError, match="all rollouts failed; see the logs of the agent-loop workers"):
        fit("uniform", f"data.train_files={silent}", steps=1)


def test_reinforce_ada_brings_its_own_baselines(fit):
    trainer, log = fit("reinforce_ada", steps=2)
    assert max(step["curriculum/rounds"] for step in log) > 1
    mixed = 0
    for batch in trainer.actor_rollout_wg.batches:
        for rows in groups_of(batch).values():
            advantages = {batch["reward"][row]: batch["advantage"][row] for row in rows}
            if set(advantages) == {0.0, 1.0}:
                mixed += 1
                assert advantages[1.0] > 0 > advantages[0.0]
    assert mixed


def test_the_default_compares_with_what_was_believed(fit):
    """After a first step in groups of 8, groups of 2; where both rollouts fail or pass there is an advantage, too."""
    trainer, _ = fit("didact", "+data.curriculum.leave_below=0.0", steps=4)
    batches = [list(groups_of(batch).items()) for batch in trainer.actor_rollout_wg.batches]
    sizes = [{len(rows) for _, rows in groups} for groups in batches]
    assert sizes == [{8}, {2}, {2}, {2}]
    silent = [
        batch["advantage"][rows[0]]
        for batch, groups in zip(trainer.actor_rollout_wg.batches[2:], batches[2:], strict=True)
        for _, rows in groups
        if len({batch["reward"][row] for row in rows}) == 1
    ]
    assert any(advantage != 0 for advantage in silent)


COLOCATED = ["trainer.v1.trainer_mode=colocate_async"]


@pytest.mark.parametrize(
    ("kind", "settings", "method"),
    [(Colocated, COLOCATED, "uniform"), (Colocated, COLOCATED, "cures"), (Separate, Separate.SETTINGS, "mopps")],
)
def test_an_asynchronous_trainer(cluster, tmp_path, kind, settings, method):
    """Prompts of later steps are out while a step trains, and a checkpoint holds them."""
    log, run = tmp_path / "log.jsonl", tmp_path / "run"
    on = [*ON, *settings, f"+data.curriculum.method={method}", f"+data.curriculum.run={run}"]
    saved = [f"trainer.default_local_dir={tmp_path}/checkpoints", "trainer.save_freq=3"]
    trainer = cluster.fit(*on, *saved, steps=5, kind=kind, log=log)
    figures, updates = logged(log), trainer.parameter_sync_step
    assert [step["curriculum/batch_groups"] for step in figures] == [4 / updates] * 5
    outcomes = [len(rewards) for record in records(run, "outcomes") for rewards in record["rewards"]]
    assert sum(outcomes) == trainer.train_dataset.run.session.curriculum.metrics()["rollouts"]
    assert max(step["curriculum/lag"] for step in figures) > 0
    trained = [group for batch in trainer.actor_rollout_wg.batches for group in set(batch["group"])]
    assert len(trained) == len(set(trained)) == 20  # no group trains twice
    checkpoint = f"trainer.resume_from_path={tmp_path}/checkpoints/global_step_3"
    again = cluster.fit(*on, "trainer.resume_mode=resume_path", checkpoint, steps=5, kind=kind, log=log)
    assert len(logged(log)) == 2
    first = {group for batch in trainer.actor_rollout_wg.batches[: 3 * updates] for group in batch["group"]}
    after = {group for batch in again.actor_rollout_wg.batches for group in batch["group"]}
    assert not first & after
    planned = [group for plan in records(run, "plan") for group in plan["groups"]]
    assert len(planned) == len(set(planned))
