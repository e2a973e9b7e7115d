"""The warm start: deterministic, cached, reused, rebuilt when damaged, and an ordinary model folder."""

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from didact.files import digest
from didact.tasks.arithmetic import vocabulary
from didact.training.small_model import SmallModelConfig, build_tokenizer
from didact.training.warm_start import UnreliableTeacher, WarmStartConfig, cache_folder, train, warm_started_model

TINY = WarmStartConfig(num_steps=3, batch_size=12, model=SmallModelConfig(hidden_size=32, intermediate_size=64))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_tokenizer_keeps_words_and_pads_on_the_left() -> None:
    tokenizer = build_tokenizer(vocabulary())
    batch = tokenizer(["a 3-5 b 2-7 =", "a 9*4 ="], padding=True)
    assert batch["attention_mask"] == [[1] * 6, [0, 0, 1, 1, 1, 1]]
    assert tokenizer.decode(batch["input_ids"][0], skip_special_tokens=True) == "a 3-5 b 2-7 ="
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "a 3-5 ="}], tokenize=True, return_dict=True)
    assert chat["input_ids"] == tokenizer("a 3-5 =")["input_ids"]


def test_the_same_seed_trains_the_same_model() -> None:
    first, _ = train(TINY)
    torch.manual_seed(99)  # the global generator plays no part
    second, _ = train(TINY)
    other, _ = train(replace(TINY, seed=1))
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_the_result_is_cached_and_reused(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    folder = warm_started_model(TINY, tmp_path, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert warm_started_model(TINY, tmp_path, progress=lambda done, total: steps.append((done, total))) == folder
    assert len(steps) == 3
    assert warm_started_model(replace(TINY, teacher_seed=5), tmp_path) != folder
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("truncate", "model.safetensors has 1,000 bytes instead of"),
        ("flip", "model.safetensors is damaged"),
        ("remove", "tokenizer.json is missing"),
        ("manifest", "warm_start.json is damaged"),
        ("other", "it is of another configuration"),
        ("code", "modeling_own.py is not in warm_start.json"),
        ("pickle", "pytorch_model.bin is no part of a model's data"),
        ("link", "model.safetensors is a link"),
        ("folder", "mine is not in warm_start.json"),
    ],
)
def test_a_damaged_cache_is_set_aside_and_built_again(
    tmp_path: Path, damage: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = warm_started_model(TINY, tmp_path)
    weights = folder / "model.safetensors"
    good = weights.read_bytes()
    if damage == "truncate":
        weights.write_bytes(good[:1000])
    elif damage == "flip":
        weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    elif damage == "remove":
        (folder / "tokenizer.json").unlink()
    elif damage == "manifest":
        (folder / "warm_start.json").write_text("[" * 100_000)
    elif damage == "other":  # whole, but of another configuration
        shutil.rmtree(folder)
        warm_started_model(replace(TINY, seed=7), tmp_path).rename(folder)
    elif damage == "code":
        (folder / "modeling_own.py").write_text("print('run')")
    elif damage == "pickle":
        _with_recorded(folder, "pytorch_model.bin")
    elif damage == "link":
        weights.rename(tmp_path / "elsewhere")
        weights.symlink_to(tmp_path / "elsewhere")
    else:
        (folder / "mine").mkdir()
        (folder / "mine" / "thesis.txt").write_text("ten years of work")
    before = {path.name for path in folder.iterdir()}
    assert warm_started_model(TINY, tmp_path) == folder
    assert f"is damaged ({said}" in caplog.text
    assert weights.read_bytes() == good
    assert not weights.is_symlink()
    assert (folder / "tokenizer.json").exists()
    (aside,) = tmp_path.glob("*.damaged/model")
    assert {path.name for path in aside.iterdir()} == before  # nothing was deleted
    assert not list(tmp_path.glob("*.partial"))


def _with_recorded(folder: Path, name: str) -> None:
    """A file more, and in the manifest too."""
    (folder / name).write_bytes(b"whatever")
    manifest = json.loads((folder / "warm_start.json").read_text())
    manifest["files"][name] = [8, digest(folder / name)]
    (folder / "warm_start.json").write_text(json.dumps(manifest))


def test_a_cache_from_before_lengths_were_recorded_serves(tmp_path: Path) -> None:
    folder = warm_started_model(TINY, tmp_path)
    manifest = json.loads((folder / "warm_start.json").read_text())
    manifest["files"] = {name: wanted for name, (_, wanted) in manifest["files"].items()}
    (folder / "warm_start.json").write_text(json.dumps(manifest))
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert warm_started_model(TINY, tmp_path) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    warm_started_model(TINY, tmp_path)
    assert (folder / "model.safetensors").read_bytes() == weights


def test_a_link_in_the_place_of_a_model_is_not_followed_when_it_is_set_aside(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("ten years of work")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / f"warm-start-{TINY.key()}").symlink_to(mine)
    assert warm_started_model(TINY, cache).is_dir()
    assert (mine / "thesis.txt").read_text() == "ten years of work"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("transformers.PreTrainedTokenizerFast.save_pretrained", full)  # the weights are written by then
        with pytest.raises(OSError, match="No space left"):
            warm_started_model(TINY, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
    assert warm_started_model(TINY, tmp_path).is_dir()


def test_a_cache_is_made_for_its_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIDACT_CACHE", str(tmp_path / "new" / "cache"))
    monkeypatch.delenv("DIDACT_CACHE_SHARED", raising=False)
    assert cache_folder().stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_cache_that_others_may_write_to_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    monkeypatch.setenv("DIDACT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DIDACT_CACHE_SHARED", raising=False)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    with pytest.raises(ValueError, match=r"can be written to by others.*DIDACT_CACHE_SHARED=1 if you trust"):
        warm_started_model(TINY)
    assert not list((tmp_path / "cache").iterdir())
    monkeypatch.setenv("DIDACT_CACHE_SHARED", "1")
    assert cache_folder() == tmp_path / "cache"


def test_the_cache_of_another_user_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIDACT_CACHE", str(tmp_path))
    monkeypatch.delenv("DIDACT_CACHE_SHARED", raising=False)
    tmp_path.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(tmp_path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ValueError, match="belongs to another user"):
        cache_folder()


def test_a_cache_that_may_only_be_read_serves_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = warm_started_model(TINY, tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("didact.training.warm_start.locked", refuse)  # the first that is written there
    assert warm_started_model(TINY, tmp_path) == folder
    with pytest.raises(PermissionError):
        warm_started_model(replace(TINY, seed=5), tmp_path)


def test_the_environment_names_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIDACT_CACHE", str(tmp_path))
    assert warm_started_model(TINY).parent == tmp_path


def test_the_folder_loads_as_any_other_model(tmp_path: Path) -> None:
    folder = warm_started_model(TINY, tmp_path)
    model, tokenizer = (AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))
    assert tokenizer.padding_side == "left"
    assert tokenizer.chat_template
    assert {tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id} == {0, 1, 2}
    inputs = tokenizer(["a 3-5 b 2-7 =", "a 9*4 ="], padding=True, return_tensors="pt", return_token_type_ids=False)
    assert model.generate(**inputs, max_new_tokens=4, do_sample=False).shape == (2, 10)


def test_left_padding_does_not_change_the_answer(tmp_path: Path) -> None:
    model, tokenizer = train(TINY)
    tokenizer.save_pretrained(tmp_path)
    alone = tokenizer(["a 9*4 ="], return_tensors="pt")
    padded = tokenizer(["a 3-5 b 2-7 =", "a 9*4 ="], padding=True, return_tensors="pt")
    with torch.no_grad():
        one = model(alone["input_ids"], attention_mask=alone["attention_mask"]).logits[0, -1]
        two = model(padded["input_ids"], attention_mask=padded["attention_mask"]).logits[1, -1]
    assert torch.allclose(one, two, atol=1e-5)


def test_teacher_habits_are_fixed_and_weak_in_the_given_share() -> None:
    config = WarmStartConfig(weak_share={"add": 0.0, "sub": 0.5, "mul": 1.0}, reliability=(0.1, 0.3))
    teacher, again = UnreliableTeacher(config), UnreliableTeacher(config)
    digits = range(10)
    sub = [teacher.habit(f"{x}-{y}") for x in digits for y in digits]
    assert sub == [again.habit(f"{x}-{y}") for x in digits for y in digits]
    assert 35 <= sum(reliability < 1 for reliability, _ in sub) <= 65
    assert all(teacher.habit(f"{x}+{y}")[0] == 1 for x in digits for y in digits)
    assert all(0.1 <= teacher.habit(f"{x}*2")[0] <= 0.3 for x in digits)
    assert teacher.solution("a 4+7 =", random.Random(0)) == "a 11 # 1 1"


def test_teacher_is_right_as_often_as_its_reliability() -> None:
    teacher = UnreliableTeacher(WarmStartConfig(weak_share={"add": 1.0, "sub": 1.0, "mul": 1.0}))
    rng = random.Random(1)
    right = sum(teacher.solution("a 7*4 =", rng) == "a 28 # 2 8" for _ in range(4000)) / 4000
    assert right == pytest.approx(teacher.habit("7*4")[0], abs=0.03)


def test_bad_configurations_are_refused() -> None:
    with pytest.raises(ValueError, match="weak_share"):
        WarmStartConfig(weak_share={"add": 0.5})
    with pytest.raises(ValueError, match="reliability"):
        WarmStartConfig(reliability=(0.5, 0.2))
    with pytest.raises(ValueError, match="max_level"):
        WarmStartConfig(max_level=0)
    with pytest.raises(ValueError, match="at least 1"):
        WarmStartConfig(num_steps=0)


def test_the_key_is_the_same_in_another_process() -> None:
    code = (
        "from didact.training.warm_start import WarmStartConfig; import sys; sys.stdout.write(WarmStartConfig().key())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == WarmStartConfig().key()
