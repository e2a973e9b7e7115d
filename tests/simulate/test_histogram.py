"""Pass rates out of files: every kind that is read, and one clear line for those that are not."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from didact.report import RunHistory
from didact.simulate import from_histogram


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def test_a_histogram_is_spread_within_its_bins(written: Callable[[str, str], Path]) -> None:
    path = written("rates.json", json.dumps({"edges": [0, 0, 0.5, 1], "counts": [700, 200, 100]}))
    rate = from_histogram(path).rate
    assert [(rate == 0).sum(), ((rate > 0) & (rate < 0.5)).sum(), (rate > 0.5).sum()] == [700, 200, 100]
    assert rate[rate > 0.5].mean() == pytest.approx(0.75, abs=0.05)
    assert (from_histogram(path, 100).rate == 0).sum() == 70


def test_the_miniature_of_cures_has_the_pilot_counts_of_its_authors() -> None:
    rate = from_histogram(Path(__file__).parents[2] / "benchmarks/pools/cures.json").rate
    assert len(rate) == 9994
    shares = [100 * np.mean(math.comb(4, k) * rate**k * (1 - rate) ** (4 - k)) for k in range(5)]
    assert shares == pytest.approx([43.6, 14.3, 15.2, 15.7, 11.2], abs=0.5)  # places within bins are random


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rates.csv", "prompt,pass_rate\na,0\nb,0.25\nc,1\n"),
        ("rates.csv", "num_passed,num_rollouts\n0,8\n2,8\n4,4\n"),
        ("rates.jsonl", '{"pass_rate": 0}\n{"pass_rate": 0.25}\n{"pass_rate": 1.0}\n'),
        ("rates.json", '[{"pass_rate": 0}, {"pass_rate": 0.25}, {"pass_rate": 1}]'),
        ("rates.json", "[0, 0.25, 1.0]"),
        ("rates.JSON", '\ufeff{"q/1": 0, "q/2": 0.25, "q/3": 1}'),
    ],
)
def test_tables(written: Callable[[str, str], Path], name: str, text: str) -> None:
    assert from_histogram(written(name, text)).rate.tolist() == [0, 0.25, 1]


def test_parquet_with_a_column_of_another_name_and_sources(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = {"solve_rate": [0.0, 0.5, 0.75], "source": ["x", "y", "x"]}
    parquet.write_table(pyarrow.table(table), tmp_path / "rates.parquet")
    initial = from_histogram(tmp_path / "rates.parquet", column="solve_rate")
    assert initial.rate.tolist() == [0.0, 0.5, 0.75]
    assert initial.names == ("x", "y")


def test_a_run_gives_the_first_group_of_each_prompt(run_dir: Path) -> None:
    groups = RunHistory.load(run_dir).groups
    first = {}
    for prompt, scored, rate in zip(groups.prompt, groups.num_scored, groups.pass_rate, strict=True):
        if scored:
            first.setdefault(int(prompt), float(rate))
    rate = from_histogram(run_dir).rate
    assert sorted(rate) == pytest.approx(sorted(first.values()))
    assert len(from_histogram(run_dir, 5000)) == 5000


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.json", '{"edges": [0, 1]}', "keys edges and counts"),
        ("a.json", '{"edges": [0, 1], "counts": [1, 2]}', "2 counts need 3 edges, got 2"),
        ("a.json", '{"edges": [0, 0.7, 0.5], "counts": [1, 2]}', "ascend"),
        ("a.json", '{"edges": [0, 100], "counts": [1]}', "ascend from 0 to 1"),
        ("a.json", '{"edges": [0, 1], "counts": [0]}', "not all 0"),
        ("a.json", '{"edges": [0, 1], "counts": [-1]}', "whole numbers"),
        ("a.json", '{"edges": [0, 1], "counts": [0.5]}', "whole numbers"),
        ("a.json", '{"edges": "none", "counts": [1]}', "edges must be a list of numbers"),
        ("a.json", '{"edges": [0, 1], "coun', "cut off"),
        ("a.json", "[0.5, null]", r"entry 2 is None; expected pass rates between 0 and 1: a list of numbers"),
        ("a.json", "[0.5, [0.5]]", r"entry 2 is \[0.5\]; expected pass rates"),
        ("a.json", '[{"pass_rate": 0.5}, 0.5]', "entry 1 is {'pass_rate': 0.5}; expected pass rates"),
        ("a.json", '{"q/1": "0.5"}', "entry 'q/1' is '0.5'; expected pass rates"),
        ("a.json", '{"q/1": true}', "entry 'q/1' is True"),
        ("a.json", '{"pass_rate": [0.5]}', r"entry 'pass_rate' is \[0.5\]; expected pass rates"),
        ("a.json", "[0.5, 50]", "entry 2 is 50; expected pass rates between 0 and 1"),
        ("a.json", "[0.5, NaN]", "entry 2 is nan; expected pass rates between 0 and 1"),
        ("a.json", "{}", "non-empty list of numbers"),
        ("a.json", "[1" + "0" * 400 + "]", "between 0 and 1"),
        ("a.csv", "", "empty"),
        ("a.csv", "prompt,rate\na,0.5\n", "no column 'pass_rate'.*columns are prompt, rate"),
        ("a.csv", "pass_rate\n50%\n", "row 1: 'pass_rate' holds '50%'"),
        ("a.csv", "pass_rate\n0.5\n\n50\n", "between 0 and 1, got 50"),
        ("a.csv", "num_passed,num_rollouts\n9,8\n", "row 1: num_passed=9 of num_rollouts=8"),
        ("a.csv", "num_passed,num_rollouts\n0,0\n", "at least 1 rollout"),
        ("a.csv", "pass_rate\nnan\n", "between 0 and 1, got nan"),
        ("a.jsonl", '{"pass_rate": null}\n', "holds None"),
        ("a.txt", "0.5\n", "ends in '.txt'"),
    ],
)
def test_bad_files_say_what_is_wrong(written: Callable[[str, str], Path], name: str, text: str, complaint: str) -> None:
    path = written(name, text)
    with pytest.raises(ValueError, match=complaint) as caught:
        from_histogram(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_that_are_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        from_histogram("nobody/nothing")
    with pytest.raises(ValueError, match="not a run folder"):
        from_histogram(tmp_path)


def test_the_draw_is_repeatable(written: Callable[[str, str], Path]) -> None:
    path = written("rates.json", json.dumps({"edges": [0, 1], "counts": [50]}))
    assert np.array_equal(from_histogram(path, 80, seed=4).rate, from_histogram(path, 80, seed=4).rate)
