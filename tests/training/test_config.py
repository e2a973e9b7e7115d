import json
import math
from contextlib import suppress

import pytest

from didact.training.config import TrainConfig, config_from, read_config, write_config


def test_defaults_are_resolved():
    config = TrainConfig()
    assert config.method == "didact"
    assert (config.task, config.model, config.max_completion_length, config.lr_schedule) == (
        "arithmetic",
        None,
        19,
        "linear",
    )
    other = TrainConfig(model="a/model", task="gsm8k")
    assert (other.max_completion_length, other.learning_rate, other.lr_schedule) == (512, 1e-6, "constant_with_warmup")


def test_what_is_written_is_read_again():
    config = config_from({"steps": 5, "learning_rate": 1, "chat": False, "model": "m", "method_options": {"a": [1]}})
    assert config.learning_rate == 1.0
    assert config_from(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stpes": 3}, "unknown setting 'stpes' of a run; did you mean 'steps'?"),
        ({"qqq": 3}, "unknown setting 'qqq' of a run; choose from answer_column, "),
        ({"steps": "3"}, "'steps' of a run must be int, got '3'"),
        ({"steps": 1.5}, "'steps' of a run must be int, got 1.5"),
        ({"steps": True}, "'steps' of a run must be int, got True"),
        ({"chat": 1}, "'chat' of a run must be bool or nothing, got 1"),
        ({"learning_rate": "fast"}, "'learning_rate' of a run must be float or nothing"),
        ({"method_options": 3}, "'method_options' of a run must be dict, got 3"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"threads": -1}, "threads must be at least 1, got -1"),
        ({"num_prompts": 0}, "num_prompts must be at least 1, got 0"),
        ({"warmup_steps": -1}, "warmup_steps must be at least 0"),
        ({"learning_rate": math.nan}, "learning_rate must be a positive number, got nan"),
        ({"learning_rate": math.inf}, "learning_rate must be a positive number"),
        ({"verifier_timeout": 0.0}, "verifier_timeout must be a positive number"),
        ({"device": "tpu"}, "unknown device 'tpu'; did you mean 'cpu'?"),
        ({"loss_type": "dr_gpo"}, "unknown loss_type 'dr_gpo'; did you mean 'dr_grpo'?"),
        ({"task": "gsm9k"}, "no task 'gsm9k'; did you mean 'gsm8k'?"),
        ({"task": "gsm8k"}, "needs a model"),
        ({"task": "reasonin_gym:chain_sum", "model": "m"}, "did you mean 'reasoning_gym'?"),
        (
            {"task": "my.module:verify", "model": "m", "prompts": "a.jsonl"},
            "needs prompts, and eval_prompts, eval_fraction, eval_on_train or eval=false",
        ),
        ({"prompts_per_step": 3}, "prompts_per_step=3 does not divide rollouts_per_step=64"),
        ({"micro_batch_size": 5}, "micro_batch_size=5 does not divide rollouts_per_step=64"),
        ({"prompts_per_step": 10**8}, "prompts_per_step must be at most 1,000,000, got 100000000"),
        ({"rollouts_per_step": 2**31}, "rollouts_per_step must be at most 1,000,000, got 2147483648"),
        ({"micro_batch_size": 2**63}, "micro_batch_size must be at most 1,000,000"),
        ({"steps": 10**12}, "steps must be at most 1,000,000,000"),
        ({"save_every": 10**12}, "save_every must be at most 1,000,000,000"),
        ({"warmup_steps": 10**12}, "warmup_steps must be at most 1,000,000,000"),
        ({"num_prompts": 10**10}, "num_prompts must be at most 10,000,000"),
        ({"max_completion_length": 10**8}, "max_completion_length must be at most 10,000,000"),
        ({"threads": 100_000}, "threads must be at most 4,096, got 100000"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seed": 2**32}, "seed must be at most 4,294,967,295"),
        ({"warm_start_seed": -1}, "warm_start_seed must be at least 0"),
        ({"learning_rate": 10**400}, "'learning_rate' of a run is a number beyond all bounds"),
        ({"verifier_timeout": math.nan}, "verifier_timeout must be a positive number"),
        ({"verifier_timeout": 1e300}, "verifier_timeout must be at most 1,000,000"),
        ({"trl": {"trust_remote_code": True}}, "[trl] cannot set 'trust_remote_code'"),
        ({"trl": {"max_steps": 3}}, "[trl] cannot set 'max_steps': it follows from the setting 'steps'"),
        ({"verifier_options": {"netwrk": True}}, "[verifier_options] has no 'netwrk'; did you mean 'network'?"),
        ({"verifier_options": {"network": True}}, "network is for a function of your own; 'arithmetic' does without"),
        ({"prompts": 3}, "'prompts' of a run must be str or a list of str or nothing, got 3"),
        ({"prompts": ["a.jsonl", 3]}, "an entry of 'prompts' of a run must be str, got 3"),
        ({"prompts": []}, "prompts is empty; leave it out for the task's own"),
        ({"prompts": ["a.jsonl", ""]}, "prompts is empty"),
        ({"eval_fraction": 0.1}, "eval_fraction holds out some of your prompts; the task's own have a test split"),
        ({"eval_fraction": 1.5, "prompts": "a.jsonl"}, "eval_fraction must be between 0 and 1, got 1.5"),
        ({"eval_fraction": 0.1, "eval": False}, "eval_fraction and eval=false exclude each other: choose one"),
        ({"eval_on_train": True, "eval_prompts": "b"}, "eval_prompts and eval_on_train exclude each other"),
        ({"prompt_column": "q"}, "prompt_column is for files of your own; give prompts or eval_prompts"),
        ({"task_options": {"levels": [1]}, "prompts": "a", "eval": False}, "none of them are used"),
        ({"max_prompt_tokens": 0}, "max_prompt_tokens must be at least 1, got 0"),
        ([], "the settings of a run must be a table of names and values, got []"),
    ],
)
def test_bad_settings(values, message):
    with pytest.raises(ValueError) as raised:
        config_from(values)
    assert message in str(raised.value)


def test_several_files_and_one():
    several = config_from({"prompts": ["a.jsonl", "b.jsonl"], "eval_prompts": "c.jsonl"})
    assert (several.prompts, several.eval_prompts) == (["a.jsonl", "b.jsonl"], "c.jsonl")
    assert config_from(json.loads(json.dumps(several.to_dict()))) == several


def test_the_settings_of_an_older_run(tmp_path):
    """Without the keys that came later."""
    older = {name: value for name, value in TrainConfig(prompts="a.jsonl", eval_prompts="b.jsonl").to_dict().items()
             if not name.endswith("_column") and name not in ("eval", "eval_fraction", "eval_on_train", "instruction",
                                                              "system_prompt", "max_prompt_tokens")}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(older))
    assert read_config(tmp_path / "config.json") == TrainConfig(prompts="a.jsonl", eval_prompts="b.jsonl")


def test_a_verifier_of_one_s_own():
    config = TrainConfig(task="my.module:verify", model="m", prompts="a.jsonl", eval_prompts="b.jsonl")
    assert config.own_verifier
    for instead in ({"eval": False}, {"eval_on_train": True}, {"eval_fraction": 0.5}):
        assert TrainConfig(task="my.module:verify", model="m", prompts="a.jsonl", **instead).own_verifier
    assert not TrainConfig(task="reasoning_gym:chain_sum", model="m").own_verifier


def test_a_written_config_that_was_changed_is_refused(tmp_path):
    config, path = config_from({"steps": 5, "method_options": {"temperature": 0.05}}), tmp_path / "config.json"
    write_config(path, config)
    assert read_config(path) == config
    text = path.read_text()
    for end in range(0, len(text) - 1, 3):
        path.write_text(text[:end])
        with pytest.raises(ValueError, match=r"config.json is not JSON"):
            read_config(path)
    for old, new in (('"steps": 5', '"steps": 7'), ("0.05", "0.5"), ('  "steps": 5,\n', "")):
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        with pytest.raises(ValueError, match="was changed after it was written"):
            read_config(path)
    values = {name: value for name, value in json.loads(text).items() if name != "digest"}
    path.write_text(json.dumps({**values, "steps": 7}))  # changed on purpose
    assert read_config(path).steps == 7


def test_every_flipped_bit_of_a_written_config_is_found_or_means_nothing(tmp_path):
    config, path = config_from({"steps": 5}), tmp_path / "config.json"
    write_config(path, config)
    data = path.read_bytes()
    for bit in range(0, 8 * len(data), 11):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with suppress(ValueError):
            assert read_config(path) == config  # between the words
