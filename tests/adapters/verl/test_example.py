"""examples/verl: its configuration against the installed verl, its data through verl's data set, its reward."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from transformers import AutoTokenizer
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config

from didact.adapters.verl import CurriculumDataset
from tests.adapters.verl.harness import composed

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "verl"
OWN = ("data.curriculum.", "trainer.v1.sampler.sampler_kwargs.")  # keys that verl does not have


def leaves(node, prefix=""):
    for name, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def overrides(settings):
    listed = {name: value for name, value in leaves(settings) if name != "defaults"}
    return [
        f"{'+' * name.startswith(OWN)}{name}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}"
        for name, value in listed.items()
    ]


@pytest.fixture(scope="module")
def settings():
    return yaml.safe_load((EXAMPLE / "cures.yaml").read_text())


@pytest.fixture(scope="module")
def as_run():
    """The configuration as verl itself composes it, by the command of the example."""
    command = [sys.executable, "-m", "verl.trainer.main_ppo", "--config-dir", EXAMPLE, "--config-name", "cures"]
    shown = subprocess.run([*command, "--cfg", "job"], check=True, capture_output=True, text=True, cwd=EXAMPLE)
    text = shown.stdout[shown.stdout.index("actor_rollout_ref:") :]
    return lambda: OmegaConf.create(text)


def test_every_key_exists_in_the_installed_verl(settings):
    config = composed(*overrides(settings))  # struct mode: an unknown key raises
    for name, value in leaves(settings):
        if name != "defaults":
            found = OmegaConf.select(config, name)
            found = OmegaConf.to_container(found) if OmegaConf.is_config(found) else found
            assert found == (float(value) if isinstance(found, float) else value), name


def test_verl_validates_it(as_run):
    config = as_run()
    OmegaConf.resolve(config)
    validate_config(config, need_reference_policy(config), need_critic(config))
    assert (
        config.data.max_prompt_length + config.data.max_response_length
        == config.actor_rollout_ref.rollout.max_model_len
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("example")
    source = ROOT.parent / "shared" / "data"
    if not (source / "deepscaler.parquet").exists():
        pytest.skip("needs deepscaler.parquet and math500.parquet in ../shared/data")
    command = [sys.executable, EXAMPLE / "prepare.py", "--out", folder, "--limit", "300"]
    files = ["--train", source / "deepscaler.parquet", "--test", source / "math500.parquet"]
    subprocess.run([*command, *files], check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    return folder


@pytest.mark.parametrize(("method", "lines"), [("cures", {"temperature": 0.1}), ("speed", {"num_screen": 4})])
def test_the_data_pass_through_verls_data_set(data, folder, as_run, method, lines):
    """With the two lines that make it SPEED, too."""
    config = as_run()
    config.data.train_files, config.data.val_files = f"{data}/train.parquet", f"{data}/test.parquet"
    config.data.filter_overlong_prompts_workers = 1
    config.data.curriculum = {"method": method, **lines}
    OmegaConf.resolve(config)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")  # stands in for Qwen's, which is on the hub
    rows = CurriculumDataset(config.data.train_files, tokenizer, config.data)
    row = rows[0]
    assert row["prompt"][0]["content"].endswith("\\boxed{}.")
    assert row["__rollout_n__"] == 4
    assert row["reward_model"]["ground_truth"]
    assert rows.run.session.curriculum.name == method
    validation = CurriculumDataset(config.data.val_files, tokenizer, config.data)
    assert len(validation) == len({row["index"] for row in (validation[i] for i in range(len(validation)))})


@pytest.mark.slow
def test_the_reward_is_the_verifiers_and_a_crash_is_an_error():
    pytest.importorskip("math_verify")
    spec = importlib.util.spec_from_file_location("example_reward", EXAMPLE / "reward.py")
    reward = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reward)
    try:
        assert reward.compute_score("deepscaler", "so \\boxed{\\frac{14}{3}}", "\\frac{28}{6}") == {
            "score": 1.0,
            "acc": 1.0,
        }
        assert reward.compute_score("deepscaler", "so \\boxed{5}", "4")["score"] == 0.0
        reward._verifier()._timeout = 1.0
        with pytest.raises(RuntimeError, match="no verdict"):
            reward.compute_score("deepscaler", "so \\boxed{9^{9^{9^{9}}}}", "4")
    finally:
        reward._verifier().close()
