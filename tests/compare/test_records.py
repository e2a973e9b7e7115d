from __future__ import annotations

from pathlib import Path

import pytest

from didact.compare.records import read_runs, read_settings
from tests.compare.written import record, straight, three_methods, write


def test_what_was_written_is_read(tmp_path: Path) -> None:
    folder = three_methods(tmp_path, seeds=2)
    settings, runs = read_settings(folder), read_runs(folder)
    assert (settings.baseline, settings.reference, settings.gain) == ("uniform", "oracle", 0.1)
    assert settings.oracles == ["oracle"]
    assert [(run.variant, run.seed) for run in runs[:3]] == [("uniform", 0), ("oracle", 0), ("cures", 0)]
    assert runs[0].budget == 1000
    assert len(runs[0].curve["accuracy"]) == 12


def test_a_run_repeated_after_its_failure_counts_once(tmp_path: Path) -> None:
    write(tmp_path, [record("uniform", 0, None), record("uniform", 0, straight(0.2))])
    (run,) = read_runs(tmp_path)
    assert run.error is None


def test_before_the_first_run_there_are_none(tmp_path: Path) -> None:
    folder = write(tmp_path, [])
    (folder / "runs.jsonl").unlink()
    assert read_runs(folder) == []


def test_a_folder_without_a_comparison(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no .*config\.json: give the folder"):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"baseline": "unifrom"}, "did you mean 'uniform'"),
        ({"baseline": None}, "'baseline' of a comparison must be str, got None"),
        ({"oracle": "orcale"}, "did you mean 'oracle'"),
        ({"tuning": 3}, "holds no settings of a comparison: the settings of a tuning must be a table"),
        ({"targets": {"gain": 0}}, "gain must be positive"),
        ({"targets": 0.1}, "targets must be a table"),
    ],
)
def test_bad_settings(tmp_path: Path, change: dict, said: str) -> None:
    write(tmp_path, [], **change)
    with pytest.raises(ValueError, match=said):
        read_settings(tmp_path)


def test_settings_that_were_cut_off(tmp_path: Path) -> None:
    write(tmp_path, [])
    whole = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut off or is another file"):
        read_settings(tmp_path)


def test_settings_that_were_changed(tmp_path: Path) -> None:
    write(tmp_path, [])
    whole = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(whole.replace('"gain": 0.1', '"gain": 0.2'))
    with pytest.raises(ValueError, match=r"config\.json was changed after it was written"):
        read_settings(tmp_path)


def test_a_name_that_would_leave_the_folder_where_it_is_published(tmp_path: Path) -> None:
    write(tmp_path, [], name="../../x")
    with pytest.raises(ValueError, match="a comparison's name"):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("accuracy", [0.1], "one length"),
        ("accuracy", [None] * 12, "accuracy of the curve must be finite"),
        ("tokens", [10.0, 5.0] * 6, "tokens of the curve must never fall"),
        ("rollouts", [0.0] * 12, "must rise"),
    ],
)
def test_bad_curves(tmp_path: Path, column: str, values: list[float | None], said: str) -> None:
    write(tmp_path, [record("uniform", 0, {**straight(0.2), column: values})])
    with pytest.raises(ValueError, match=rf"runs\.jsonl, record 1 is no record of a run: .*{said}"):
        read_runs(tmp_path)


def test_a_record_of_another_schema(tmp_path: Path) -> None:
    write(tmp_path, [{**record("uniform", 0, None), "schema": 9}])
    with pytest.raises(ValueError, match="has schema 9"):
        read_runs(tmp_path)


def test_a_record_that_lacks_something(tmp_path: Path) -> None:
    write(tmp_path, [{"schema": 1, "status": "finished"}])
    with pytest.raises(ValueError, match="lacks 'cell'"):
        read_runs(tmp_path)
