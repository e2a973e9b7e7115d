"""`didact compare` and `didact simulate`: from a command line to a table, a page and a summary."""

import json

import pytest

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
    assert "did you mean 'rollouts'" in refused("compare", tmp_path / "c.toml")
