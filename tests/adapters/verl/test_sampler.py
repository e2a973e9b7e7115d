"""The sampler inside the real `fit` of verl 0.5 to 0.7.1: configuration, data set, loader, advantages, checkpoints.

Only the accelerator half is replaced: worker groups whose rollouts come from a table of pass rates. With other versions
of verl: the refusal. To run it, put an unpacked wheel of an old verl in front of the path; see docs/verl-sampler.md.
"""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from packaging.version import Version

from didact import Curriculum
from didact.journal import read_journal

verl = pytest.importorskip("verl")
release = Version(Version(verl.__version__).base_version)
supported = pytest.mark.skipif(
    not Version("0.5") <= release < Version("0.8"), reason=f"verl {verl.__version__} has no curriculum sampler"
)
BATCH, NUM, PROMPTS, WIDTH = 4, 4, 20, 6
MOPPS = ["+data.curriculum.method=mopps"]


@pytest.mark.skipif(release < Version("0.8"), reason="a version that is supported")
def test_other_versions_are_refused_with_what_to_do_instead():
    with pytest.raises(ImportError) as refused:
        __import__("didact.adapters.verl.sampler")
    message = str(refused.value)
    assert verl.__version__ in message
    assert "didact.adapters.verl" in message.replace("didact.adapters.verl.sampler", "")
    if release < Version("0.9"):
        assert "no hook for a curriculum" in message
        assert "upgrade to 0.9.1" in message
        assert "stay on 0.7.1" in message
    else:
        assert "no hook" not in message


# The harness ----------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """A parquet file in verl's format and a tokenizer with a chat template."""
    from datasets import Dataset

    rows = [
        {
            "data_source": "toy",
            "prompt": [{"role": "user", "content": f"{row} + 1 ="}],
            "reward_model": {"style": "rule", "ground_truth": str(row + 1)},
            "extra_info": {
                "index": row,
                "difficulty": float(row),
                "prompt_tokens": 3 + row % 2,
                "name": f"prompt-{row}",
            },
            "column": f"column-{row}",
        }
        for row in range(PROMPTS)
    ]
    path = tmp_path / "train.parquet"
    Dataset.from_list(rows).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", "+", "=", *map(str, range(PROMPTS + 1))]
    inner = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", unk_token="<pad>")
    made.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return made


def configuration(files, *overrides):
    """verl's own configuration, composed by hydra, so that a key it does not know is an error here too."""
    from hydra import compose, initialize_config_dir

    folder = os.path.join(os.path.dirname(verl.__file__), "trainer", "config")
    usual = [
        f"data.train_files={files}",
        f"data.val_files={files}",
        f"data.train_batch_size={BATCH}",
        f"data.max_response_length={WIDTH}",
        "data.max_prompt_length=8",
        "data.filter_overlong_prompts=False",
        "data.dataloader_num_workers=0",
        "data.sampler.class_path=pkg://didact.adapters.verl.sampler",
        "data.sampler.class_name=CurriculumSampler",
        f"actor_rollout_ref.rollout.n={NUM}",
        "algorithm.adv_estimator=grpo",
        "actor_rollout_ref.actor.ppo_mini_batch_size=4",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",  # verl 0.5 checks these when the trainer is built
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=4",
        "trainer.logger=[console]",
        "trainer.val_before_train=False",
        "trainer.test_freq=-1",
        f"trainer.default_local_dir={files.parent / 'checkpoints'}",
    ]
    with initialize_config_dir(config_dir=folder, version_base=None):
        return compose("ppo_trainer", overrides=[*usual, *overrides])


class Workers:
    """Stands for worker groups, rollout servers and checkpoint engine: rollouts by a table, no weights."""

    world_size, _dispatch_info = 2, {"actor": [0, 1]}  # with two ranks verl reorders the rows of a batch by length

    def __init__(self, calls):
        self.calls = calls
        self.told = []  # one dict a step: prompt -> list of (reward, tokens, cut off)

    def generate_sequences(self, prompts):
        from verl import DataProto

        num = len(prompts)
        infos = prompts.non_tensor_batch.get("extra_info")
        if (
            infos is None
        ):  # verl 0.5 hands over tokens and leaves extra_info behind: the prompt's first token is its row
            tokens = prompts.batch["input_ids"]
            first = [
                int(row[mask.bool()][0]) for row, mask in zip(tokens, prompts.batch["attention_mask"], strict=True)
            ]
            rows = [token - 4 for token in first]
        else:
            rows = [int(info["index"]) for info in infos]
        step = int(prompts.meta_info["global_steps"])
        self.calls.append(("generate", step))
        dice = np.random.default_rng(step)
        passed = np.array([dice.random() < rate(row) for row in rows])
        lengths = dice.integers(1, WIDTH + 1, num)
        ends = dice.random(num) < 0.5
        responses, mask = np.zeros((num, WIDTH), np.int64), np.zeros((num, WIDTH), np.int64)
        for row, (length, end) in enumerate(zip(lengths, ends, strict=True)):
            responses[row, :length], mask[row, :length] = 5, 1
            if end or length < WIDTH:
                responses[row, length - 1] = 1
        told = {}
        for row, reward, length, end in zip(rows, passed, lengths, ends, strict=True):
            told.setdefault(f"toy/{row}", []).append((float(reward), int(length), bool(length == WIDTH and not end)))
        self.told.append(told)
        asked = torch.ones((num, 3), dtype=torch.long)
        scores = torch.zeros((num, WIDTH))
        scores[torch.arange(num), torch.tensor(lengths - 1)] = torch.tensor(passed, dtype=torch.float32)
        attention = torch.cat([asked, torch.tensor(mask)], 1)
        return DataProto.from_dict(
            tensors={
                "prompts": asked,
                "responses": torch.tensor(responses),
                "input_ids": torch.cat([asked, torch.tensor(responses)], 1),
                "attention_mask": attention,
                "position_ids": attention.cumsum(1) - 1,
                "rm_scores": scores,
            },
            non_tensors={
                "multi_modal_inputs": np.array([{} for _ in rows], dtype=object),
                "flipped": np.array([1 - reward for reward in passed], dtype=object),
            },
            meta_info={"timing": {}, "reward_extra_keys": ["flipped"]},
        )

    def compute_log_prob(self, batch):
        from verl import DataProto

        zeros = torch.zeros_like(batch.batch["responses"], dtype=torch.float32)
        return DataProto.from_dict(tensors={"old_log_probs": zeros, "entropys": zeros})

    def update_actor(self, batch):
        from verl import DataProto

        # What stands between rollouts and loss is verl's own: advantages sum to 0 in every group.
        totals, ids = batch.batch["advantages"][:, 0].numpy(), batch.non_tensor_batch["uid"]
        assert [abs(totals[ids == each].sum()) < 1e-4 for each in set(ids)] == [True] * BATCH
        return DataProto.from_single_dict({}, meta_info={"metrics": {}})

    def save_checkpoint(self, *_, **__):
        self.calls.append(("save", len(self.told)))

    def __getattr__(self, name):
        if name in ("load_checkpoint", "update_weights", "sleep_replicas", "start_profile", "stop_profile"):
            return lambda *_, **__: None
        raise AttributeError(name)


def rate(row):
    """A quarter of the prompts always pass, half never, the rest every second time."""
    return (1.0, 0.5, 0.0, 0.0)[row % 4]


def build(files, tokenizer, *overrides, calls=None):
    from verl.trainer.ppo.ray_trainer import RayPPOTrainer, Role

    config = configuration(files, *overrides)
    more = {} if release >= Version("0.7.1") else {"reward_fn": reward, "val_reward_fn": None}
    trainer = RayPPOTrainer(
        config=config,
        tokenizer=tokenizer,
        role_worker_mapping={Role.ActorRollout: None},
        resource_pool_manager=SimpleNamespace(get_n_gpus=lambda: 2),
        device_name="cpu",
        **more,
    )
    workers = Workers([] if calls is None else calls)
    trainer.actor_rollout_wg = trainer.async_rollout_manager = trainer.checkpoint_manager = workers
    trainer.async_rollout_mode = release >= Version("0.7")
    return trainer


def reward(batch, return_dict=False):
    scores = batch.batch["rm_scores"]
    extra = {"flipped": list(batch.non_tensor_batch["flipped"])}
    return {"reward_tensor": scores, "reward_extra_info": extra} if return_dict else scores


def run(files, tokenizer, *overrides, steps=7, calls=None):
    trainer = build(files, tokenizer, f"trainer.total_training_steps={steps}", *overrides, calls=calls)
    trainer.fit()
    return trainer, trainer.train_dataloader.sampler.curriculum


def outcomes(folder):
    return [record for record in read_journal(folder / "journal.jsonl") if record["kind"] == "outcomes"]


# What is told ---------------------------------------------------------------------------------------------------


@supported
def test_every_plan_knows_the_outcomes_of_the_step_before(files, tokenizer, monkeypatch):
    """verl's loader does not read ahead: plan, generate, observe, over the end of an epoch (5 batches)."""
    calls = []
    for name in ("plan", "observe"):
        real = getattr(Curriculum, name)

        def spy(self, given, name=name, real=real):
            result = real(self, given)
            if name == "observe" or result:
                calls.append((name, self.step))
            return result

        monkeypatch.setattr(Curriculum, name, spy)
    trainer = build(
        files, tokenizer, "+data.curriculum.method=mopps", "trainer.total_training_steps=7", "trainer.total_epochs=2",
        calls=calls,
    )  # fmt: skip
    calls.clear()  # of the rehearsal
    trainer.fit()
    assert calls == [
        call for step in range(7) for call in (("plan", step), ("generate", step + 1), ("observe", step))
    ]  # fmt: skip


@supported
def test_outcomes_are_those_of_the_workers_although_verl_reorders_rows(files, tokenizer, tmp_path):
    trainer, curriculum = run(
        files, tokenizer, "+data.curriculum.method=uniform", f"+data.curriculum.run={tmp_path / 'run'}",
        "trainer.total_epochs=2", "trainer.balance_batch=True",
    )  # fmt: skip
    records, told = outcomes(tmp_path / "run"), trainer.actor_rollout_wg.told
    assert len(records) == len(told) == 7
    for record, truth in zip(records, told, strict=True):
        columns = [record[name] for name in ("rewards", "num_tokens", "truncated")]
        heard = {
            prompt: sorted(zip(*values, strict=True))
            for prompt, *values in zip(record["prompts"], *columns, strict=True)
        }
        assert heard == {prompt: sorted(rollouts) for prompt, rollouts in truth.items()}
        assert record["prompt_tokens"] == [3] * BATCH
    assert any(cut for record in records for row in record["truncated"] for cut in row)
    metrics = curriculum.metrics()
    assert metrics["rollouts"] == metrics["rollouts_trained"] == 7 * BATCH * NUM
    assert metrics["lag"] == 0
    assert [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").open()] == list(range(7))


@supported
def test_a_named_score_is_the_evidence(files, tokenizer, tmp_path):
    for name, verifier in {"sum": [], "flipped": ["+data.curriculum.verifier=flipped"]}.items():
        run(
            files, tokenizer, "+data.curriculum.method=uniform", f"+data.curriculum.run={tmp_path / name}",
            *verifier, steps=2,
        )  # fmt: skip
    plain, other = outcomes(tmp_path / "sum"), outcomes(tmp_path / "flipped")
    flipped = [[[1 - reward for reward in group] for group in record["rewards"]] for record in plain]
    assert [record["rewards"] for record in other] == flipped
    with pytest.raises(ValueError, match=r"verifier=score.*no such score.*flipped"):
        run(files, tokenizer, "+data.curriculum.method=uniform", "+data.curriculum.verifier=score", steps=1)


@supported
def test_the_plan_follows_the_outcomes(files, tokenizer, tmp_path):
    """Of the prompts, a quarter have signal. Uniform gives them a quarter of the rollouts, MoPPS soon most."""
    share = {}
    for method in ("uniform", "mopps"):
        folder = tmp_path / method
        run(
            files, tokenizer, f"+data.curriculum.method={method}", f"+data.curriculum.run={folder}",
            "trainer.total_epochs=6", steps=30,
        )  # fmt: skip
        late = [prompt for record in outcomes(folder)[10:] for prompt in record["prompts"]]
        share[method] = np.mean([int(prompt.split("/")[1]) % 4 == 1 for prompt in late])
    assert share["uniform"] == 0.25
    assert share["mopps"] > 0.4


# Checkpoints ----------------------------------------------------------------------------------------------------


@supported
@pytest.mark.parametrize("stop", [3, 5])  # within an epoch, and at the end of one
def test_a_resumed_run_is_the_uninterrupted_one(files, tokenizer, tmp_path, stop):
    """verl writes data.pt before it tells the outcome of that step; the journal has it."""
    options = ["+data.curriculum.method=mopps", "trainer.total_epochs=2", "trainer.save_freq=1"]
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    straight, _ = run(
        files, tokenizer, *options, f"+data.curriculum.run={whole}", "trainer.resume_mode=disable",
        f"trainer.default_local_dir={tmp_path / 'elsewhere'}", steps=8,
    )  # fmt: skip
    calls = []
    run(files, tokenizer, *options, f"+data.curriculum.run={halves}", steps=stop, calls=calls)
    assert calls[-1] == ("save", stop)
    resumed, curriculum = run(files, tokenizer, *options, f"+data.curriculum.run={halves}", steps=8)
    assert resumed.actor_rollout_wg.told == straight.actor_rollout_wg.told[stop:]
    for name in ("journal.jsonl", "metrics.jsonl", "prompts.jsonl"):
        assert (halves / name).read_bytes() == (whole / name).read_bytes()
    assert curriculum.metrics()["rollouts_missing"] == curriculum.metrics()["rollouts_lost"] == 0


@supported
@pytest.mark.parametrize("journal", ["none", "cut"])
def test_without_the_journal_the_outcome_of_the_checkpoints_step_is_lost_and_said_so(
    files, tokenizer, tmp_path, caplog, journal
):
    """`cut`: the process died after the checkpoint, before verl called `update`."""
    options = ["+data.curriculum.method=mopps", "trainer.total_epochs=2", "trainer.save_freq=1"]
    if journal == "cut":
        options.append(f"+data.curriculum.run={tmp_path / 'run'}")
    run(files, tokenizer, *options, steps=3)
    if journal == "cut":
        path = tmp_path / "run" / "journal.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        last = max(index for index, line in enumerate(lines) if b'"kind":"plan"' in line)
        path.write_bytes(b"".join(lines[: last + 1]))
    _, curriculum = run(files, tokenizer, *options, steps=5)
    assert "step 2: verl wrote the checkpoint before its outcome was known" in caplog.text
    assert "without these 4 groups" in caplog.text
    assert curriculum.metrics()["rollouts_lost"] == BATCH * NUM
    assert curriculum.metrics()["rollouts_missing"] == 0
    assert curriculum.metrics()["rollouts"] == 4 * BATCH * NUM


@supported
def test_a_new_run_does_not_write_into_the_journal_of_another(files, tokenizer, tmp_path):
    options = ["+data.curriculum.method=uniform", f"+data.curriculum.run={tmp_path / 'run'}"]
    run(files, tokenizer, *options, steps=1)
    before = (tmp_path / "run" / "journal.jsonl").read_bytes()
    with pytest.raises(ValueError, match="another run's, and verl loaded no checkpoint: name another folder"):
        run(files, tokenizer, *options, "trainer.resume_mode=disable", steps=1)
    assert (tmp_path / "run" / "journal.jsonl").read_bytes() == before


# Refusals -------------------------------------------------------------------------------------------------------


@supported
@pytest.mark.parametrize(
    ("method", "needs"),
    [
        ("cures", ["groups of unequal sizes", "several rounds in a step"]),
        ("speed", ["several rounds in a step"]),
        ("pilot_commit", ["several rounds in a step"]),
        ("dapo", ["several rounds in a step", "a choice of which rollouts train"]),
        ("greso", ["several rounds in a step", "a choice of which rollouts train"]),
        ("reinforce_ada", ["several rounds in a step"]),
        ("gvm", ["groups of unequal sizes"]),
        ("hora", ["groups of unequal sizes", "several rounds in a step"]),
        ("knapsack", ["groups of unequal sizes"]),
        ("fastcurl", ["a context length other than data.max_response_length=6"]),
        ("uniform +data.curriculum.context=5", ["a context length other than"]),
        ("uniform +data.curriculum.context=[[2,3],[2,6]]", ["a context length other than"]),
        ("uniform +data.curriculum.admission=signal", ["a choice of which rollouts train"]),
        ("uniform +data.curriculum.admission=[0.2,0.8]", ["a choice of which rollouts train"]),
        ("uniform +data.curriculum.rollouts_per_step=17", ["groups of unequal sizes"]),
        ("uniform +data.curriculum.rollouts_per_step=32", ["other groups than rollout.n for each prompt"]),
        ("uniform +data.curriculum.prompts_per_step=2", ["other groups than rollout.n for each prompt"]),
    ],
)
def test_what_cannot_be_expressed_is_refused_before_training(files, tokenizer, method, needs):
    with pytest.raises(ValueError) as refused:
        build(files, tokenizer, *f"+data.curriculum.method={method}".split(" "))
    for need in [*needs, f"method {method.split(' ')[0]!r} needs", verl.__version__, "didact.adapters.verl"]:
        assert need in str(refused.value)


@supported
@pytest.mark.parametrize(
    "method", ["uniform", "mopps", "bots", "adarft", "uniform +data.curriculum.context=6 +data.curriculum.seed=3"]
)
def test_methods_that_choose_prompts_only_run(files, tokenizer, method):
    _, curriculum = run(files, tokenizer, *f"+data.curriculum.method={method}".split(" "), steps=2)
    assert curriculum.metrics()["rollouts_trained"] == 2 * BATCH * NUM


@supported
@pytest.mark.parametrize(
    ("overrides", "error", "words"),
    [
        ([], ValueError, r"no curriculum was chosen: add \+data.curriculum.method=NAME"),
        (["+data.curriculum=mopps"], TypeError, "data.curriculum must hold options by name, got 'mopps'"),
        (["+data.curriculum.method=mops"], ValueError, "did you mean 'mopps'"),
        (
            [*MOPPS, "+data.curriculum.candidates=3"],
            TypeError,
            "mean 'candidate_ratio'",
        ),
        ([*MOPPS, "+data.curriculum.admission=some"], TypeError, "a band .low, high."),
        (
            [*MOPPS, "+data.curriculum.prompt_id=id"],
            ValueError,
            "which holds .*index.* has 'id'",
        ),
        (
            [*MOPPS, "+data.curriculum.prompt_id=column"],
            ValueError,
            "must be a key of extra_info",
        ),
        ([*MOPPS, "data.train_batch_size=32"], ValueError, "20 prompts, fewer than .* 32"),
        ([*MOPPS, "actor_rollout_ref.rollout.n=1"], ValueError, "a group of one has no adv"),
        ([*MOPPS, "data.dataloader_num_workers=2"], AssertionError, "num_workers must be 0"),
        ([*MOPPS, "data.datagen.path=pkg://x"], ValueError, "data.datagen.path"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_settings_that_are_wrong_are_said_to_be(files, tokenizer, overrides, error, words):
    from verl.trainer.main_ppo import create_rl_sampler
    from verl.utils.dataset.rl_dataset import RLHFDataset

    config = configuration(files, *overrides)
    dataset = RLHFDataset(str(files), tokenizer, config.data)
    with pytest.raises(error, match=words):
        create_rl_sampler(config.data, dataset)


@supported
def test_prompt_ids_may_be_another_key_and_must_be_unique(files, tokenizer):
    from datasets import Dataset, concatenate_datasets

    _, curriculum = run(files, tokenizer, "+data.curriculum.method=uniform", "+data.curriculum.prompt_id=name", steps=1)
    assert curriculum.pool.ids[3] == "prompt-3"
    assert curriculum.pool.difficulty[3] == 3
    rows = Dataset.from_parquet(str(files))
    double = files.with_name("double.parquet")
    concatenate_datasets([rows, rows]).to_parquet(double)
    with pytest.raises(ValueError, match=r"'toy/\d+' is that of 2 rows, with one and the same prompt"):
        build(double, tokenizer, "+data.curriculum.method=uniform")


@supported
def test_a_loop_that_reads_ahead_or_trains_on_something_else_is_stopped(files, tokenizer):
    trainer = build(files, tokenizer, "+data.curriculum.method=uniform")
    batches = iter(trainer.train_dataloader)
    from verl import DataProto

    batch = DataProto.from_single_dict(next(batches))
    batch.non_tensor_batch["uid"] = np.arange(BATCH).astype(object)
    with pytest.raises(RuntimeError, match=r"before it told the outcome of step 0.*reads ahead"):
        next(batches)
    answered = batch.repeat(NUM - 1, interleave=True)
    with pytest.raises(ValueError, match="trained on 4 prompts and 12 rollouts, not on the 4 prompts with 4"):
        trainer.train_dataloader.sampler.update(answered)


@supported
def test_a_config_without_its_root_is_refused(files, tokenizer):
    from omegaconf import OmegaConf
    from verl.utils.dataset.rl_dataset import RLHFDataset

    from didact.adapters.verl.sampler import CurriculumSampler

    config = configuration(files, "+data.curriculum.method=uniform")
    alone = OmegaConf.create(OmegaConf.to_container(config.data))
    with pytest.raises(ValueError, match=r"actor_rollout_ref.rollout.n is not to be found"):
        CurriculumSampler(RLHFDataset(str(files), tokenizer, config.data), alone)


@supported
def test_the_earlier_path_leads_here():
    from didact.adapters import verl_sampler
    from didact.adapters.verl.sampler import CurriculumSampler

    assert verl_sampler.CurriculumSampler is CurriculumSampler
