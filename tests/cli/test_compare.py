"""`didact compare` and `didact simulate`: from a command line to a table, a page and a summary."""

import json
from pathlib import Path

import pytest

from didact.cli import compare as command
from tests.compare.written import record, straight, three_methods, write

SMALL = [
    "--pool-size",
    300,
    "--prompts-per-step",
    8,
    "--rollouts-per-step",
    64,
    "--rollouts",
    640,
    "--seeds",
    2,
    "--jobs",
    1,
]


def test_simulate_compares_with_uniform_and_the_oracle(didact, tmp_path):
    ended = didact("simulate", "--pool", "hard-heavy", "--methods", "dapo", "--folder", tmp_path / "c", *SMALL)
    assert ended.code == 0
    assert [name for name in ("uniform", "oracle", "dapo") if f"| {name} |" in ended.out] == [
        "uniform",
        "oracle",
        "dapo",
    ]
    assert "2 of 6 pairs needed" in ended.out  # no verdict from two seeds
    assert (tmp_path / "c" / "comparison.html").is_file()
    again = didact("compare", "--report-only", tmp_path / "c", "--json")
    summary = json.loads(again.out)
    assert summary["finished"] == summary["planned"] == 6
    assert set(summary["cells"]) == {"skills-hard-heavy"}
    assert (summary["gain_share"], "target: accuracy at the start + 90% of what uniform gains" in ended.out) == (
        0.9,
        True,
    )


def test_simulate_takes_a_histogram_of_ones_own(didact, tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps({"edges": [0, 0.5, 1], "counts": [90, 10]}))
    ended = didact(
        "simulate", "--pool", tmp_path / "mine.json", "--methods", "dapo", "--folder", tmp_path / "c", *SMALL, "--json"
    )
    (cell,) = json.loads(ended.out)["cells"].values()
    assert cell["start"] < 0.4


def test_the_same_command_goes_on_and_another_is_refused(didact, refused, tmp_path):
    command = ["simulate", "--methods", "dapo", "--folder", tmp_path / "c", *SMALL]
    first = didact(*command)
    assert didact(*command).out == first.out
    assert "a comparison with other targets" in refused(*command, "--gain", 0.2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simulate", "--methods", "curse"], "did you mean 'cures'"),
        (["simulate", "--pool", "nowhere.json"], "nowhere.json"),
        (["simulate", "--rollouts", 3], "less than one step"),
        (["simulate", "--seeds", 0], "seeds must be distinct and at least one"),
        (["simulate", "--jobs", 0], "jobs must be 1 to 256, got 0"),
        (["simulate", "--jobs", 10**6], "jobs must be 1 to 256, got 1000000"),
        (["simulate", "--pool-size", 10**10], "pool_size must be 1 to 10,000,000"),
        (["simulate", "--rollouts", 2**40], "rollouts must be 1 to 1,000,000,000"),
        (["simulate", "--seeds", 10**9], "seeds must be distinct and at least one, 10,000 at most"),
        (["simulate", "--prompts-per-step", 10**9], "prompts_per_step must be 1 to 100,000"),
        (["simulate", "--learning-rate", "nan"], "learning_rate must be above 0"),
        (["simulate", "--gain", "inf"], "gain must be positive, and 1 at most"),
        (["simulate", "--gain-share", 1.5], "gain_share must be above 0, and 1 at most, got 1.5"),
        (["simulate", "--gain", 0.1, "--gain-share", 0.5], "are two targets: give one"),
        (["compare", "--pool-size", 10**6], "pool_size of a real model must be 32,768 at most"),
        (["compare", "--pool", "soft"], "unknown pool 'soft'"),
        (["compare", "--task", "gsm8k"], "there is no warm start for task 'gsm8k'"),
        (["compare", "missing.toml"], "no config file missing.toml"),
        (["compare", "--report-only", "missing"], "config.json"),
    ],
)
def test_what_is_refused(refused, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert words in refused(*arguments)
    assert not (tmp_path / "comparisons").exists()


def test_a_file_and_flags_do_not_mix(refused, tmp_path):
    (tmp_path / "c.toml").write_text('[[cells]]\nname = "a"\nlearner = "skills"\nrollout = 3\n')
    assert "not from both" in refused("compare", tmp_path / "c.toml", "--methods", "dapo")
    assert "not from both" in refused("compare", tmp_path / "c.toml", "--gain", 0)
    assert "did you mean 'rollouts'" in refused("compare", tmp_path / "c.toml")


def test_a_comparison_of_which_nothing_ran_says_why_and_fails(didact, tmp_path, monkeypatch):
    pool = tmp_path / "rates.json"
    pool.write_text(json.dumps({"edges": [0, 1], "counts": [100]}))
    monkeypatch.setattr("didact.compare.grid.check", lambda config: pool.unlink())
    ended = didact("simulate", "--pool", pool, "--methods", "dapo", "--folder", tmp_path / "c", *SMALL)
    assert (ended.code, ended.out) == (1, "")
    assert "didact: 6 of 6 runs failed; most often: FileNotFoundError: " in ended.last_line
    assert ended.last_line.endswith(f"the records are in {tmp_path / 'c' / 'runs.jsonl'}")


def test_a_comparison_that_lacks_runs_does_not_look_complete(didact, tmp_path):
    folder = three_methods(tmp_path / "whole", seeds=2)
    assert didact("compare", "--report-only", folder).code == 0
    records = [record("uniform", 0, straight(0.2)), record("cures", 0, None), record("oracle", 1, None)]
    folder = write(tmp_path / "part", records, seeds=2)
    ended = didact("compare", "--report-only", folder)
    assert ended.code == 1
    assert "| uniform |" in ended.out
    assert ended.err.splitlines()[-1:] == [
        "didact: 2 of 6 runs failed; 3 of 6 runs are missing; most often: RuntimeError: out of <memory> (2 times); "
        f"the records are in {folder / 'runs.jsonl'}"
    ]
    as_json = didact("compare", "--report-only", folder, "--json")
    assert (as_json.code, json.loads(as_json.out)["finished"]) == (1, 1)


@pytest.mark.parametrize("damage", ["cut", "digit"])
def test_damaged_settings_are_refused_by_a_report_too(refused, tmp_path, damage):
    path = three_methods(tmp_path, seeds=2) / "config.json"
    text = path.read_text()
    path.write_text(text[:50] if damage == "cut" else text.replace('"gain": 0.1', '"gain": 0.2'))
    assert "config.json" in refused("compare", "--report-only", tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["config.json", "runs.jsonl"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "../../x"\n', "a comparison's name"),
        ("seeds = 1_000_000_000\n", "seeds must be distinct"),
        (f"gain = {'9' * 400}\n", "a number beyond all bounds"),
        ("gain = nan\n", "gain must be positive"),
        ("[tuning]\nlearning_rates = []\nseeds = [9]\n", "learning_rates of the tuning"),
        (f"x = {'[' * 5000}{']' * 5000}\n", "TOML"),
        (f"gain = {'9' * 5000}\n", "TOML"),
    ],
)
def test_a_bad_file_is_refused_and_blocks_nothing(refused, tmp_path, monkeypatch, text, words):
    monkeypatch.chdir(tmp_path)
    Path("c.toml").write_text(text + '[[cells]]\nname = "a"\nlearner = "skills"\n')
    assert words in refused("compare", "c.toml")
    assert [path.name for path in tmp_path.iterdir()] == ["c.toml"]


@pytest.mark.parametrize("stem", ["my rates", "x" * 200, "a:b", "100%", "ünï", "-"])
def test_the_folder_of_a_pool_of_ones_own_has_a_plain_name(tmp_path, monkeypatch, stem):
    monkeypatch.chdir(tmp_path)
    flags = dict.fromkeys(("methods", "seeds", "gain", "gain_share"))
    config = command._config(None, {**flags, "learner": "skills", "pool": f"{stem}.json"})
    assert config.name == config.cells[0].name
    assert len(config.name) <= 60
    (tmp_path / config.name).mkdir()
