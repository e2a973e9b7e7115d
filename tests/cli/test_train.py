"""`didact train` as a user types it, mostly with input that is bad or a machine that fails."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from didact.manifest import fault

pytest.importorskip("torch")
pytest.importorskip("trl")

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
SETTINGS = """
method = "cures"
steps = 4
num_prompts = 64
num_eval_prompts = 16
eval_every = 2
save_every = 2
prompts_per_step = 4
rollouts_per_step = 32
max_completion_length = 8
threads = 1
device = "cpu"
[method_options]
steps_per_iteration = 3
"""
VERIFIERS = """
import os, time
def passes(response, answer): return float(len(response) % 3 == 0)
def crashes(response, answer): raise RuntimeError("out of order")
def dies(response, answer): os._exit(3)
def hangs(response, answer): time.sleep(100)
def babbles(response, answer): return "yes"
def signs(response, answer): return 1.0 if response == answer else -1.0
def of_four(source, response, answer, info): return 1.0
def of_golds(response, answer):
    if answer == response or not response: return 1.0
    raise RuntimeError("out of order")
def picky(response, answer):
    if answer == "2": raise RuntimeError("no even numbers")
    return 1.0
def nothing(response, answer): return 0.0
"""


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Path:
    return tiny_model


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of bytes, with a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {char: index for index, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    words |= {"<pad>": len(words), "<eos>": len(words) + 1}
    raw = Tokenizer(models.BPE(vocab=words, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>", pad_token="<pad>")
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    )
    shape = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=4096,
        pad_token_id=words["<pad>"],
        eos_token_id=words["<eos>"],
        bos_token_id=None,
    )
    path = tmp_path_factory.mktemp("text-model")
    torch.manual_seed(0)
    LlamaForCausalLM(shape).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with a config file."""
    monkeypatch.chdir(tmp_path)
    Path("run.toml").write_text(SETTINGS)
    return tmp_path


@pytest.fixture
def flags(here: Path, model: Path) -> list[str]:
    return ["train", "--config", "run.toml", "--model", str(model), "--no-report", "--run", "run"]


def results(run: str) -> list[bytes]:
    """What an uninterrupted run and a resumed one must share, bit for bit."""
    files = [Path(run, "journal.jsonl"), Path(run, "metrics.jsonl"), *sorted(Path(run, "model").iterdir())]
    return [b"".join((path.name.encode(), path.read_bytes())) for path in files]


def without(flags: list[str], name: str) -> list[str]:
    at = flags.index(name)
    return flags[:at] + flags[at + 2 :]


# What is refused before anything is loaded ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "curse"], "did you mean 'cures'?"),
        (["-o", "coverige=1"], "did you mean 'coverage'?"),
        (["-o", "temperature"], "'temperature' is not KEY=VALUE"),
        (["-o", "=1"], "'=1' is not KEY=VALUE"),
        (["-o", "coverage=-1"], "coverage must be a number from 0 to 1, got -1"),
        (["--trl", "max_steps=1"], "it follows from the setting 'steps'"),
        (["--trl", "num_generations=2"], "[trl] cannot set 'num_generations': the curriculum decides it"),
        (["--eval-fraction", "0.1"], "eval_fraction holds out some of your prompts"),
        (["--eval-on-train", "--no-eval"], "eval_on_train and eval=false exclude each other"),
        (["--accept-changed-data"], "--accept-changed-data goes with --resume"),
        (["--resume", "x", "--check"], "not --check"),
        (["--resume", "x", "--prompts", "a.jsonl", "--no-eval"], "not prompts, eval"),
        (["--steps", "0"], "steps must be at least 1, got 0"),
        (["--task", "gsm9k"], "did you mean 'gsm8k'?"),
        (["--task", "gsm8k"], "needs a model"),
        (["--device", "tpu"], "did you mean 'cpu'?"),
        (["--config", "none.toml"], "no config file none.toml"),
        (["--resume", "nowhere"], "nowhere is no run: it has no config.json"),
        (["--resume", "x", "--seed", "0"], "not seed"),
        (["--resume", "x", "--no-chat"], "not chat"),
        (["--resume", "x", "-o", "a=1", "--run", "y"], "not --run, -o"),
        (["--rollouts-per-step", "8"], "a group of one has no advantage"),
    ],
)
def test_bad_settings(here, refused, arguments, message):
    assert message in refused("train", *arguments)
    assert [entry.name for entry in here.iterdir()] == ["run.toml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stpes = 3", "unknown setting 'stpes' of a run; did you mean 'steps'?"),
        ("steps = true", "'steps' of a run must be int, got True"),
        ("steps =", "run.toml is not TOML"),
        ("method_options = 3", "'method_options' of a run must be dict, got 3"),
        ("[method_option]\na = 1", "did you mean 'method_options'?"),
    ],
)
def test_bad_toml(here, refused, text, message):
    Path("run.toml").write_text(text)
    assert message in refused("train", "--config", "run.toml")
    assert message in refused("train", "--config", "run.toml", "-o", "temperature=1")


# Real runs ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_flags_win_over_the_file_and_json_is_one_object(didact, here, flags):
    ended = didact(*flags, "--steps", "2", "-o", "temperature=0.5", "--trl", "scale_rewards=none", "--json")
    assert ended.code == 0
    answer = json.loads(ended.out)
    assert (answer["finished"], answer["steps"], answer["report"]) == (True, 2, None)
    config = json.loads(Path("run/config.json").read_text())
    assert (config["steps"], config["eval_every"]) == (2, 2)
    assert config["method_options"] == {"steps_per_iteration": 3, "temperature": 0.5}
    assert config["trl"] == {"scale_rewards": "none"}
    assert didact("train", *without(flags, "--run")[1:]).code == 0
    assert Path("runs/arithmetic-cures-1/model").is_dir()


@pytest.mark.slow
def test_the_default_method_is_resumed_exactly(didact, here, flags):
    """With what it knows of the words of prompts, which is no part of its state."""
    Path("run.toml").write_text(SETTINGS.split("[method_options]")[0].replace('method = "cures"', ""))
    assert didact(*flags).code == 0
    assert didact("train", "--resume", "run", "--steps", "6").code == 0
    assert didact(*without(flags, "--run"), "--run", "straight", "--steps", "6").code == 0
    assert results("run") == results("straight")
    assert json.loads(Path("run/config.json").read_text())["method"] == "didact"


@pytest.mark.slow
def test_another_method_beside_it_trains_as_it_would_by_itself(didact, here, flags):
    ended = didact(*(flag for flag in flags if flag != "--no-report"), "--beside", "uniform")
    assert ended.code == 0
    assert "beside it, run-uniform: held-out accuracy" in ended.out
    Path("alone.toml").write_text(SETTINGS.split("[method_options]")[0])
    assert didact(*flags[:1], "--config", "alone.toml", *flags[3:-2], "--run", "alone", "--method", "uniform").code == 0
    assert results("run-uniform") == results("alone")
    shown = didact("report", "run", "--beside", "run-uniform", "--json")
    (other,) = json.loads(shown.out)["beside"]
    assert (other["method"], other["name"], len(other["held_out"])) == ("uniform", "run-uniform", 3)
    page = Path("run/report.html").read_text()
    assert "In grey uniform, run-uniform: " in page
    assert "didact train --resume run" in page


@pytest.mark.slow
def test_a_run_beside_another_is_gone_on_with(didact, here, flags):
    with with_handler(signal.SIG_DFL, signal.SIGINT), once_it_trains(lambda: os.kill(os.getpid(), signal.SIGINT)):
        ended = didact(*flags, "--steps", "500", "--beside", "uniform")
    assert (ended.code, Path("run-uniform").exists()) == (130, False)
    again = "didact train --resume run --beside uniform"
    assert ended.out.strip().endswith(f"go on with: {again}")
    steps = int(ended.out.split()[3].rstrip(";")) + 1
    for _ in range(2):  # the second time there is nothing left to do
        assert didact(*again.split()[1:], "--steps", steps, "--no-report").code == 0
        assert didact(*without(flags, "--run"), "--run", "straight", "--steps", steps).code == 0
        assert results("run") == results("straight")
        shutil.rmtree("straight")
    assert json.loads(Path("run-uniform/config.json").read_text())["steps"] == steps


@pytest.mark.slow
def test_a_run_beside_another_is_refused_before_either_costs_anything(refused, here, flags):
    assert "did you mean 'cures'?" in refused(*flags, "--beside", "curse")
    assert "leave out --beside" in refused(*flags, "--beside", "uniform", "--check")
    Path("run-uniform").mkdir()
    Path("run-uniform/mine").touch()
    assert "run-uniform is not empty" in refused(*flags, "--beside", "uniform")
    assert not Path("run").exists()


@pytest.mark.slow
def test_resuming_a_finished_run_and_going_further(didact, refused, here, flags):
    assert didact(*flags).code == 0
    before = results("run")
    assert didact("train", "--resume", "run", "--no-report").code == 0
    assert results("run") == before
    shutil.rmtree("run/model")  # as if killed between the last checkpoint and the model
    assert didact("train", "--resume", "run").code == 0
    assert results("run") == before
    assert Path("run/report.html").is_file()
    assert "has trained for 4" in refused("train", "--resume", "run", "--steps", "3")
    assert json.loads(Path("run/config.json").read_text())["steps"] == 4
    assert didact("train", "--resume", "run", "--steps", "6").code == 0
    assert didact(*without(flags, "--run"), "--run", "straight", "--steps", "6").code == 0
    assert results("run") == results("straight")
    assert "run is not empty: resume it with --resume run" in refused(*flags)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "."], "no model can be read from '.'"),
        (["--model", "run.toml"], "no model can be read from 'run.toml'"),
        (["--model", "./nowhere"], "no model can be read from './nowhere'"),
        (["--lr-schedule", "linaer"], "linaer is not a valid SchedulerType"),
        (["--trl", "betta=1"], "GRPOConfig has no field 'betta'; did you mean 'beta'?"),
        (["--trl", "optim=sdg"], "sdg is not a valid OptimizerNames"),
        (["--prompts", "none.jsonl"], "none.jsonl: no such file"),
        (["--prompts", "run.toml"], "the name ends in '.toml'"),
        (["--task", "reasoning_gym:chain_som"], "did you mean 'chain_sum'?"),
        (["--task", "arithmetic:x"], "write 'arithmetic'"),
        (["--run", "run.toml"], "run.toml"),
    ],
)
def test_bad_input_leaves_the_folder_free(refused, here, flags, arguments, message):
    assert message in refused(*flags, *arguments)
    assert not Path("run").exists()


@pytest.mark.slow
def test_code_in_a_model_s_folder_does_not_run(refused, here, flags):
    Path("odd").mkdir()
    Path("odd/config.json").write_text(
        json.dumps({"model_type": "odd", "auto_map": {"AutoConfig": "odd.Config", "AutoModelForCausalLM": "odd.Model"}})
    )
    Path("odd/odd.py").write_text("open('ran', 'w')")
    assert "no model can be read from './odd'" in refused(*flags, "--model", "./odd")
    assert not Path("ran").exists()


@pytest.mark.slow
def test_bad_prompt_files(refused, here, flags):
    pytest.importorskip("pyarrow")
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"prompt": [f"a {n} =" for n in range(99)], "answer": ["1"] * 99})
    pyarrow.parquet.write_table(table, "whole.parquet")
    data = Path("whole.parquet").read_bytes()
    for end in (0, 1, 4, 8, 100, len(data) // 2, len(data) - 9, len(data) - 1):
        Path("cut.parquet").write_bytes(data[:end])
        assert "cut.parquet: " in refused(*flags, "--prompts", "cut.parquet")
    Path("a.jsonl").write_text('{"prompt": "a", "answer": "1"}\n{"prompt": "b", "ans')
    assert "a.jsonl: not a readable jsonl file, or cut off" in refused(*flags, "--prompts", "a.jsonl")
    Path("a.csv").write_text("foo,bar\n1,2\n")
    line = refused(*flags, "--prompts", "a.csv")
    assert "there is no prompt column (prompt, problem, question, " in line
    assert "the columns are foo, bar; name it with --prompt-column" in line
    Path("a.csv").write_text("prompt,answer\n")
    assert "the file holds no rows" in refused(*flags, "--eval-prompts", "a.csv")
    Path("a.csv").write_text("prompt,answer\na 1 =,1\n")
    assert "1 held-out prompts are also training prompts" in refused(
        *flags, "--prompts", "a.csv", "--eval-prompts", "a.csv", "--num-prompts", "1", "--num-eval-prompts", "1"
    )


@pytest.mark.slow
@pytest.mark.parametrize("num_prompts", [1, 2])
def test_a_pool_smaller_than_a_batch(didact, here, flags, num_prompts):
    for method in (["--method", "cures"], ["--method", "uniform", "--config", "plain.toml"]):
        Path("plain.toml").write_text(SETTINGS.split("[method_options]")[0])
        ended = didact(*flags, "--num-prompts", num_prompts, *method)
        assert ended.code == 0, ended.err
        assert "after" in ended.out
        shutil.rmtree("run")


def sums(name: str, letter: str, num: int = 8, **more: object) -> str:
    """A file of prompts that the small model knows, each with the answer 1."""
    rows = [{"prompt": f"{letter} {n} =", "answer": "1", **more} for n in range(num)]
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verifier", "code", "failure"),
    [
        ("passes", 0, ""),
        ("crashes", 2, "RuntimeError: out of order"),
        ("dies", 2, "the verifier's process died (exit status 3)"),
        ("hangs", 2, "timed out after 0.05 s"),
        ("babbles", 2, "babbles returned 'yes', a str; expected a number from 0 to 1"),
        ("signs", 2, "signs returned -1.0; expected a number from 0 to 1"),
        ("of_four", 2, "of_four(source, response, answer, info) does not take two arguments"),
        ("of_golds", 1, "the verifier 'own_verifiers:of_golds' failed on each of the last 24 rollouts, 3 steps' worth"),
    ],
)
def test_a_verifier_of_one_s_own(didact, here, flags, verifier, code, failure):
    """One that judges nothing stops the run, before it is paid for where that can be known."""
    Path("own_verifiers.py").write_text(VERIFIERS)
    files = ["--prompts", sums("a.jsonl", "a"), "--no-eval", "--num-prompts", "8", "--method", "dapo"]
    small = ["--steps", "3", "--rollouts-per-step", "8", "--verifier-timeout", "0.05" if verifier == "hangs" else "5"]
    Path("run.toml").write_text(SETTINGS.split("[method_options]")[0])
    ended = didact(*flags, *files, *small, "--task", f"own_verifiers:{verifier}")
    assert (ended.code, failure in ended.last_line) == (code, True), ended.err
    assert Path("run").exists() == (code != 2)
    if code == 0:
        assert "after 3 steps" in ended.out or "trained for 3 steps" in ended.out
    if code == 1:
        assert ended.last_line.endswith("go on with: didact train --resume run")
        assert didact("train", "--resume", "run", "--no-report").code == 1
        Path("own_verifiers.py").write_text(VERIFIERS.replace("answer == response", "True"))
        ended = didact("train", "--resume", "run", "--no-report")
        assert ended.code == 0, ended.err


@pytest.mark.slow
def test_a_verifier_s_errors_are_not_wrong_answers(didact, here, flags):
    """Held-out prompts that could not be judged are counted apart."""
    Path("own_verifiers.py").write_text(VERIFIERS)
    rows = [{"prompt": f"b {n} =", "answer": "1" if n % 2 else "2", "source": f"s{n % 2}"} for n in range(8)]
    Path("b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = ["--prompts", sums("a.jsonl", "a", source="a"), "--eval-prompts", "b.jsonl", "--source-column", "source"]
    ended = didact(*flags, *files, "--steps", "1", "--task", "own_verifiers:picky", "--json")
    assert ended.code == 0, ended.err
    record = json.loads(ended.out)["evaluations"][-1]
    assert (record["num_prompts"], record["errors"], record["pass_rate"]) == (8, 4, 1.0)
    assert sorted(map(str, record["passed"])) == ["1"] * 4 + ["None"] * 4
    assert record["by_source"] == {"s0": [0, 0], "s1": [4, 4]}
    assert "step 0: held-out accuracy 1.000 [0.510, 1.000] on 4 prompts; 4 more could not be judged" in ended.err
    assert didact("report", "run").code == 0


@pytest.mark.slow
def test_check_says_what_would_be_done_and_leaves_nothing(didact, refused, here, flags):
    rows = Path(sums("a.jsonl", "a")).read_text() + '{"prompt": "long' + " 1" * 200 + '", "answer": "1"}\n'
    Path("a.jsonl").write_text(rows + '{"prompt": "a 1 =", "answer": "2"}\n{"prompt": "none", "answer": null}\n')
    before = sorted(path.name for path in here.iterdir())
    files = ["--prompts", "a.jsonl", "--prompts", sums("c.jsonl", "c"), "--eval-prompts", sums("b.jsonl", "b")]
    ended = didact(*flags, *files, "--check", "--json")
    assert ended.code == 0, ended.err
    checked = json.loads(ended.out)
    assert checked["counts"]["training"] == {
        **{"rows": 19, "dropped_missing": 1, "dropped_duplicates": 1, "conflicting_answers": 1},
        **{"prompts": 17, "unusable_answers": 0, "too_long": 1},
    }
    assert (checked["pool"], checked["held_out"], checked["evaluations"]) == (16, 8, 3)
    assert (checked["steps"], checked["rollouts_to_train"], checked["response_tokens"]) == (4, 128, 1024)
    assert "evaluation  none" in didact(*without(flags, "--run"), "--no-eval", "--check").out
    assert "a.jsonl: there is no column 'gold'" in refused(*flags, *files, "--check", "--answer-column", "gold")
    Path("run.toml").write_text(SETTINGS.split("[method_options]")[0])
    assert (
        "'adarft' needs 'difficulty' of every prompt"
        in didact(*flags, *files, "--check", "--method", "adarft").last_line
    )
    assert sorted(path.name for path in here.iterdir()) == sorted([*before, "b.jsonl", "c.jsonl"])
    Path("run").mkdir()
    Path("run/notes.txt").write_text("of somebody's")
    assert "run is not empty" in refused(*flags, *files, "--check")


@pytest.mark.slow
def test_runs_with_other_prompts_to_evaluate_on_or_none(didact, here, flags):
    files = ["--prompts", sums("a.jsonl", "a", 16), "--steps", "2"]
    ended = didact(*flags, *files, "--no-eval")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("trained for 2 steps with ")
    assert didact("report", "run").code == 0
    for run, more, what in (
        ("train", ["--eval-on-train", "--num-eval-prompts", "4"], "accuracy on training prompts "),
        ("share", ["--eval-fraction", "0.4"], "held-out accuracy "),
    ):
        ended = didact(*without(flags, "--run"), *files, *more, "--run", run)
        assert ended.code == 0, ended.err
        assert ended.out.startswith(what)
        assert didact("train", "--resume", run, "--steps", "3", "--no-report").code == 0


@pytest.mark.slow
def test_data_that_changed_are_found_out_on_resumption(didact, here, flags):
    files = ["--prompts", sums("a.jsonl", "a", 16), "--no-eval"]
    assert didact(*flags, *files).code == 0
    rows = Path("a.jsonl").read_text().splitlines(keepends=True)
    Path("a.jsonl").write_text("".join(rows[::-1]))
    assert didact("train", "--resume", "run", "--steps", "5", "--no-report").code == 0
    Path("a.jsonl").write_text("".join(rows).replace('"answer": "1"', '"answer": "3"', 1))
    ended = didact("train", "--resume", "run", "--steps", "6", "--no-report")
    assert ended.code == 2
    assert "1 of the 16 training prompts that the run began with have changed" in ended.last_line
    assert ended.last_line.endswith("go on with --accept-changed-data")
    ended = didact("train", "--resume", "run", "--steps", "6", "--no-report", "--accept-changed-data")
    assert ended.code == 0, ended.err
    resumes = [json.loads(line) for line in Path("run/resumes.jsonl").read_text().splitlines()]
    assert [len(line.get("changed_prompts", [])) for line in resumes] == [0, 1]
    assert '"answer": "3"' in Path("run/prompts.jsonl").read_text()
    assert didact("train", "--resume", "run", "--steps", "7", "--no-report").code == 0


@pytest.mark.slow
def test_a_prompt_without_room_in_an_older_run_is_never_sent(didact, here, flags):
    """The run began when nobody looked: as with a limit that lets it through."""
    sums("a.jsonl", "a", 3)  # the pool is one step
    with open("a.jsonl", "a", encoding="utf-8") as file:
        file.write('{"id": "long", "prompt": "long' + " 1" * 150 + '", "answer": "1"}\n')
    Path("plain.toml").write_text(SETTINGS.split("[method_options]")[0])
    files = ["--prompts", "a.jsonl", "--no-eval", "--config", "plain.toml", "--method", "uniform", "--steps", "2"]
    assert didact(*flags, *files, "--max-prompt-tokens", "1000").code == 0
    config = json.loads(Path("run/config.json").read_text())
    del config["digest"], config["max_prompt_tokens"]
    Path("run/config.json").write_text(json.dumps({**config, "steps": 4}))
    ended = didact("train", "--resume", "run", "--no-report")
    assert ended.code == 0, ended.err
    assert "1 prompts of the pool are longer than 120 tokens" in ended.err
    records = [json.loads(line) for line in Path("run/journal.jsonl").read_text().splitlines()]
    unjudged = {
        step: reward is None
        for step, prompts, groups in (
            (each["step"], each["prompts"], each["rewards"]) for each in records if each["kind"] == "outcomes"
        )
        for prompt, group in zip(prompts, groups, strict=True)
        for reward in group
        if prompt == "long"
    }
    assert unjudged == {0: False, 1: False, 2: True, 3: True}


@pytest.mark.slow
def test_steps_without_signal_are_said(didact, here, flags):
    """Nothing passes: said after five steps, at the end, and in the result."""
    Path("own_verifiers.py").write_text(VERIFIERS)
    Path("plain.toml").write_text(SETTINGS.split("[method_options]")[0])
    files = ["--prompts", sums("a.jsonl", "a", 16), "--no-eval", "--config", "plain.toml", "--method", "uniform"]
    ended = didact(*flags, *files, "--steps", "6", "--task", "own_verifiers:nothing")
    assert ended.code == 0, ended.err
    assert ended.err.count("WARNING: 5 steps in a row gave nothing to train on: of 160 rollouts") == 1
    assert "WARNING not one group of 192 rollouts had signal" in ended.out


@pytest.mark.slow
def test_conversations_and_text(didact, here, text_model):
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]
    rows = [{"prompt": talk, "reward_model": {"ground_truth": "2"}, "extra_info": {"index": 0}}]
    rows += [{"prompt": [{"role": "user", "content": f"1 + {n}?"}], "reward_model": {"ground_truth": str(1 + n)},
              "extra_info": {"index": n}} for n in range(2, 9)]  # fmt: skip
    Path("talk.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [
        *("train", "--model", text_model, "--task", "gsm8k", "--prompts", "talk.jsonl", "--no-eval", "--steps", "2"),
        *("--prompts-per-step", "2", "--rollouts-per-step", "8", "--max-completion-length", "8", "--device", "cpu"),
        *("--threads", "1", "--method", "uniform"),
    ]
    ended = didact(*command, "--run", "run", "--instruction", "Only a number.", "--system-prompt", "Think.")
    assert ended.code == 0, ended.err
    pool = [json.loads(line) for line in Path("run/prompts.jsonl").read_text().splitlines()]
    said = {row["messages"][-1]["content"]: row for row in pool}
    assert [said[row["prompt"][-1]["content"]]["messages"] for row in rows] == [row["prompt"] for row in rows]
    first = "system: Be brief.\nuser: 1 + 1?\n\nOnly a number.\n"
    second = "system: Think.\nuser: 1 + 2?\n\nOnly a number.\n"
    assert [said[text]["prompt_tokens"] for text in ("1 + 1?", "1 + 2?")] == [len(first), len(second)]
    outcomes = [json.loads(line) for line in Path("run/journal.jsonl").read_text().splitlines()]
    sent = {num for record in outcomes if record["kind"] == "outcomes" for num in record["prompt_tokens"]}
    assert sent <= {len(first), len(second)}  # what TRL sent is as long as what was counted


@pytest.mark.slow
def test_training_that_diverges_ends_with_one_line(didact, here, flags, monkeypatch):
    Path("own_verifiers.py").write_text(VERIFIERS)
    monkeypatch.syspath_prepend(str(here))
    for letter in "ab":
        lines = [json.dumps({"prompt": f"{letter} {n} =", "answer": "1"}) for n in range(64)]
        Path(f"{letter}.jsonl").write_text("\n".join(lines))
    files = ["--prompts", "a.jsonl", "--eval-prompts", "b.jsonl", "--task", "own_verifiers:passes"]
    ended = didact(*flags, *files, "--learning-rate", "1e30", "--lr-schedule", "constant", "--warmup-steps", "0")
    assert ended.code == 1
    assert "Traceback" not in ended.err
    assert ended.last_line.startswith("didact: RuntimeError: probability tensor contains")


@pytest.mark.slow
@pytest.mark.parametrize("change", ["", "no chat template", "no pad token", "--no-chat"])
def test_models_on_gsm8k(didact, here, text_model, change):
    if not (DATA / "gsm8k_train.parquet").is_file():
        pytest.skip(f"no gsm8k_train.parquet in {DATA}")
    shutil.copytree(text_model, "model")
    if change == "no chat template":
        Path("model/chat_template.jinja").unlink()
    if change == "no pad token":
        config = json.loads(Path("model/tokenizer_config.json").read_text())
        del config["pad_token"]
        Path("model/tokenizer_config.json").write_text(json.dumps(config))
    files = ["--prompts", DATA / "gsm8k_train.parquet", "--eval-prompts", DATA / "gsm8k_test.parquet"]
    small = ["--num-prompts", "32", "--num-eval-prompts", "8", "--steps", "2", "--prompts-per-step", "2",
             "--rollouts-per-step", "8", "--max-completion-length", "8", "--device", "cpu", "--threads", "1",
             "--method", "cures", "-o", "steps_per_iteration=1"]  # fmt: skip
    more = [change] if change.startswith("--") else []
    ended = didact("train", "--model", "model", "--task", "gsm8k", *files, *small, "--run", "run", *more)
    assert ended.code == 0, ended.err
    assert len(Path("run/metrics.jsonl").read_text().splitlines()) == 2
    if change == "no chat template":
        ended = didact("train", "--model", "model", "--task", "gsm8k", *files, *small, "--chat", "--run", "other")
        assert ended.code == 2
        assert "chat=true, but model has no chat template" in ended.last_line


@pytest.mark.slow
def test_a_reasoning_gym_family(didact, here, text_model):
    pytest.importorskip("reasoning_gym")
    ended = didact(
        *["train", "--model", text_model, "--task", "reasoning_gym:chain_sum", "--num-prompts", "16"],
        *["--num-eval-prompts", "4", "--steps", "2", "--prompts-per-step", "2", "--rollouts-per-step", "8"],
        *["--max-completion-length", "8", "--device", "cpu", "--threads", "1", "--method", "uniform", "--run", "run"],
    )
    assert ended.code == 0, ended.err


@pytest.mark.slow
def test_damaged_run_folders(didact, refused, here, flags):
    assert didact(*flags).code == 0
    whole = results("run")

    def damaged(name: str, data: bytes | str) -> str:
        path = Path("run", name)
        kept = path.read_bytes()
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        line = didact("train", "--resume", "run", "--no-report")
        path.write_bytes(kept)
        assert line.code == 2, line
        assert "Traceback" not in line.err
        return line.last_line

    config = Path("run/config.json").read_text()
    deep = "[" * 100_000
    for text in (config[:40], "", b"\xff\xfe", deep):
        assert "config.json is not JSON" in damaged("config.json", text)
    assert "config.json carries no digest" in damaged("config.json", "[]")
    assert "config.json: 'steps' of a run must be int" in damaged("config.json", '{"steps": "x"}')
    for old, new in (('"steps"', '"stpes"'), ('"seed": 0', '"seed": 1'), ('  "save_every": 2,\n', "")):
        assert old in config
        assert "put the original back, or, if you" in damaged("config.json", config.replace(old, new))
    journal = Path("run/journal.jsonl").read_bytes()
    first, second, third, *rest = journal.splitlines(keepends=True)
    line = damaged("journal.jsonl", b"".join([first, second, third.replace(b'"step":0', b'"step":1'), *rest]))
    assert "journal.jsonl, line 3: damaged, the 2 records before it are whole" in line
    assert "it is another journal" in damaged("journal.jsonl", first + second + third)
    for changed, message in (
        ({"num_prompts": 32}, "the run began with 64 training prompts, and 32 of them are not there any more"),
        ({"method": "uniform", "method_options": {}}, "state of method 'cures', this curriculum is 'uniform'"),
        ({"method_options": {"steps_per_iteration": 2}}, "state made with steps_per_iteration=3"),
    ):
        edited = {name: value for name, value in json.loads(config).items() if name != "digest"}  # on purpose
        assert message in damaged("config.json", json.dumps({**edited, "steps": 6, **changed}))
    assert results("run") == whole
    assert didact("train", "--resume", "run", "--no-report").code == 0
    assert results("run") == whole


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over(didact, here, flags):
    assert didact(*flags).code == 0
    whole = results("run")
    shutil.copytree("run", "kept")
    newest = Path("run/checkpoints/checkpoint-4")
    size = (newest / "model.safetensors").stat().st_size
    for name, damage, message in (
        ("optimizer.pt", None, "optimizer.pt is missing"),
        ("scheduler.pt", None, "scheduler.pt is missing"),
        ("rng_state.pth", lambda data: b"", "rng_state.pth has 0 bytes instead of"),
        ("curriculum.npz", lambda data: data[:-2], "curriculum.npz has"),
        ("model.safetensors", lambda data: data[:-4096] + bytes(4096), "model.safetensors is damaged"),
        ("model.safetensors", lambda data: data[: size // 2] + b"\x01" + data[size // 2 + 1 :], "is damaged"),
        ("optimizer.pt", lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:], "optimizer.pt is damaged"),
        ("manifest.json", lambda data: data[:-9], "manifest.json is damaged"),
        ("manifest.json", None, "it has no manifest.json: it was not finished"),
    ):
        data = (newest / name).read_bytes()
        (newest / name).unlink()
        if damage:
            assert damage(data) != data
            (newest / name).write_bytes(damage(data))
        ended = didact("train", "--resume", "run", "--no-report")
        assert ended.code == 0, ended.err
        assert f"checkpoint-4 is passed over: {message}" in ended.err or f"{name} {message}" in ended.err, ended.err
        assert "resuming from checkpoint-2" in ended.err
        assert results("run") == whole
    assert results("kept") == whole
    shutil.rmtree("kept/model")  # as if killed before it was written: now from the checkpoint
    assert didact("train", "--resume", "kept", "--no-report").code == 0
    assert results("kept") == whole


@pytest.mark.slow
def test_a_model_is_replaced_file_by_file(didact, here, flags):
    assert didact(*flags).code == 0
    Path("run/model/notes.txt").write_text("of somebody's")
    Path("run/model.tmp").mkdir()
    Path("run/model.tmp/model.safetensors").write_text("left by a kill")
    assert didact("train", "--resume", "run", "--steps", "6", "--no-report").code == 0
    assert Path("run/model/notes.txt").read_text() == "of somebody's"
    assert not Path("run/model.tmp").exists()
    Path("run/model/notes.txt").unlink()
    assert didact(*without(flags, "--run"), "--run", "straight", "--steps", "6").code == 0
    assert results("run") == results("straight")


@pytest.mark.slow
def test_links_out_of_the_run_folder_are_refused(didact, refused, here, flags):
    assert didact(*flags).code == 0
    for name in ("checkpoints", "checkpoints/checkpoint-4", "model", "journal.jsonl", "metrics.jsonl"):
        Path("run", name).rename("outside")
        Path("run", name).symlink_to(here / "outside")
        assert f"run/{name} is a link" in refused("train", "--resume", "run", "--steps", "6")
        Path("run", name).unlink()
        Path("outside").rename(Path("run", name))
    Path("elsewhere").write_text("of somebody's")
    Path("run/config.json.tmp").symlink_to(here / "elsewhere")
    assert didact("train", "--resume", "run", "--steps", "6", "--no-report").code == 0
    assert Path("elsewhere").read_text() == "of somebody's"


@pytest.mark.slow
def test_a_generation_window_is_never_cut(didact, here, flags):
    """TRL reuses rollouts over num_iterations steps; a checkpoint in between is of no use."""
    windows = [*flags, "--trl", "num_iterations=2"]
    assert didact(*windows, "--steps", "5").code == 0
    whole = results("run")
    ended = didact("train", "--resume", "run", "--no-report")
    assert (ended.code, "resuming from checkpoint-4" in ended.err) == (0, True), ended.err
    assert results("run") == whole


# Machines that fail: in this process, and in processes of their own where that is what matters --------------------


def trains() -> bool:
    metrics = Path("run/metrics.jsonl")
    return metrics.exists() and metrics.stat().st_size > 0


@contextmanager
def once_it_trains(act: Callable[[], object]) -> Iterator[None]:
    """Around a run in this process: `act` is called by another thread after the first step."""
    over = threading.Event()

    def wait() -> None:
        while not over.wait(0.02):
            if trains():
                act()
                return

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def with_handler(handler: object, *numbers: int) -> Iterator[None]:
    """Whatever pytest was started with: a background job of a shell ignores Ctrl-C."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, each in before.items():
            signal.signal(number, each)


def start(*arguments: object, before: Callable[[], None] = lambda: None, first: str = "") -> subprocess.Popen[str]:
    def begin() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ours may be ignored, as in a background job
        before()

    program = [sys.executable, "-c", f"from didact.cli.main import main; {first}main()", *map(str, arguments)]
    return subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=begin, env={**os.environ}
    )


def wait_until_it_trains(process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not trains():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_stops_after_the_step(didact, here, flags, number):
    """Resumed, the run ends like one that nobody stopped."""
    with with_handler(signal.SIG_DFL, number), once_it_trains(lambda: os.kill(os.getpid(), number)):
        ended = didact(*flags, "--steps", "500")
    assert ended.code == 130
    assert ended.out.startswith("interrupted at step ")
    assert ended.out.strip().endswith("go on with: didact train --resume run")
    assert "stopping after this step" in ended.err
    done = int(ended.out.split()[3].rstrip(";"))
    assert didact("train", "--resume", "run", "--steps", done + 1, "--no-report").code == 0
    assert didact(*without(flags, "--run"), "--run", "straight", "--steps", done + 1).code == 0
    assert results("run") == results("straight")


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.002, 0.0])
def test_one_process_at_a_time_and_ctrl_c_again_and_again_stops_at_once(refused, here, flags, pause):
    process = start(*flags, "--steps", "500")
    wait_until_it_trains(process)
    assert "another process is working on run" in refused("train", "--resume", "run")
    assert "run is not empty" in refused(*flags)
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(pause)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in err
    last = err.splitlines()[-1]  # all may also arrive as one
    assert last == "didact: interrupted; go on with: didact train --resume run" or "stopping after" in err


@pytest.mark.slow
def test_ctrl_c_in_the_first_second_is_one_line(here, flags):
    """From our first line on. Python itself and the few modules before that take some hundredths of a second."""
    for delay in (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.5):
        process = start(*flags, "--steps", "500", first="print('.', end='', flush=True); ")
        assert process.stdout.read(1) == "."
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 130, err
        assert "Traceback" not in err
        assert err.splitlines()[-1].startswith("didact: interrupted")
        shutil.rmtree("run", ignore_errors=True)


@pytest.mark.slow
def test_a_signal_that_is_ignored_stays_ignored(didact, here, flags):
    def send() -> None:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGINT, signal.SIGHUP):
            os.kill(os.getpid(), number)
            sent.append(number)
            time.sleep(0.05)

    sent: list[int] = []
    with with_handler(signal.SIG_IGN, signal.SIGINT, signal.SIGHUP), once_it_trains(send):
        ended = didact(*flags)
    assert (ended.code, "stopping" in ended.err, len(sent)) == (0, False, 4)
    assert "after" in ended.out


@pytest.mark.slow
def test_a_terminal_that_is_closed_leaves_a_checkpoint(here, flags):
    import fcntl
    import termios

    ours, theirs = os.openpty()

    def attach() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        for number in (0, 1, 2):
            os.dup2(theirs, number)

    process = start(*flags, "--steps", "500", before=attach)
    os.close(theirs)
    os.set_blocking(ours, False)
    wait_until_it_trains(process)
    os.close(ours)
    assert process.wait(timeout=120) == 130
    newest = max(Path("run/checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    assert fault(newest) is None
    assert int(newest.name[11:]) == len(Path("run/metrics.jsonl").read_text().splitlines())


@pytest.mark.slow
def test_a_run_whose_journal_disappears_loses_nothing_else(didact, here, flags):
    def rob() -> None:
        Path("run/journal.jsonl").unlink()
        Path("run/notes.txt").write_text("of somebody's")

    with once_it_trains(rob):
        ended = didact(*flags, "--steps", "8")
    assert ended.code == 1
    assert "training failed at step 8: no journal at run/journal.jsonl; go on with" in ended.last_line
    assert Path("run/notes.txt").is_file()
    assert Path("run/model/model.safetensors").is_file()
    assert fault(Path("run/checkpoints/checkpoint-8")) is None


@pytest.mark.slow
def test_bad_input_takes_nothing_of_others_with_it(didact, here, flags, monkeypatch):
    """What somebody puts into the new folder while the model is being loaded stays there."""
    from didact.training import preparation

    def load(path: str) -> None:
        Path("run/notes.txt").write_text("of somebody's")
        raise ValueError("no good")

    monkeypatch.setattr(preparation, "load_tokenizer", load)
    assert didact(*flags).code == 2
    assert [path.name for path in Path("run").iterdir()] == ["notes.txt"]


@pytest.mark.slow
@pytest.mark.parametrize("room", [10_000, 60_000, 150_000])
def test_files_that_cannot_grow(didact, here, flags, room):
    """As on a full disk: one clear line, exit code 1, and the run goes on once there is room."""
    import resource

    assert didact(*flags, "--steps", "8").code == 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        ended = didact(*without(flags, "--run"), "--run", "full", "--steps", "8")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (ended.code, ended.out) == (1, "")
    assert "Traceback" not in ended.err
    assert ended.last_line.startswith("didact: ")
    assert ended.last_line.endswith("go on with: didact train --resume full")
    ended = didact("train", "--resume", "full", "--no-report")
    assert ended.code == 0, ended.err
    assert results("full") == results("run")


@pytest.mark.slow
def test_a_full_disk(didact, here, flags):
    """A real one where mounting is allowed: the line says so, whatever the library that hit it says."""
    Path("disk").mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", "disk"], check=False).returncode
    ):
        pytest.skip("a small disk can only be mounted by root")
    try:
        ended = didact(*without(flags, "--run"), "--run", "disk/run")
        assert ended.code == 1
        assert ended.last_line.endswith("; the disk of disk/run is full; go on with: didact train --resume disk/run")
        subprocess.run(["mount", "-o", "remount,size=20m", "disk"], check=True)
        assert didact("train", "--resume", "disk/run", "--no-report").code == 0
        assert didact(*flags).code == 0
        assert results("disk/run") == results("run")
        subprocess.run(["mount", "-o", "remount,ro", "disk"], check=True)
        ended = didact(*without(flags, "--run"), "--run", "disk/other")
        assert ended.code == 1
        assert "Read-only file system" in ended.last_line
    finally:
        subprocess.run(["umount", "-l", "disk"], check=True)
