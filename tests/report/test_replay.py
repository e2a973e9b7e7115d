"""Replay: the run's own method plans the same again, another is shown what it would have asked for."""

import json
from pathlib import Path

import pytest

from didact import GroupOutcome, PromptPool, make
from didact.admission import AdmitAll
from didact.context import StagedContext
from didact.features import WordFeatures
from didact.journal import Journal, RecordedCurriculum
from didact.report.replay import replay

IDS = [f"p{number}" for number in range(12)]


def write_run(folder: Path, method: str = "cures", steps: int = 4, pool: PromptPool | None = None, **options) -> Path:
    """A run folder as training writes it; prompt k passes in k of 11 rollouts or so."""
    folder.mkdir()
    settings = {"prompts_per_step": 3, "rollouts_per_step": 12, "seed": 5, **options}
    made = make(method, PromptPool(IDS) if pool is None else pool, **settings)
    recorded = RecordedCurriculum(made, Journal(folder / "journal.jsonl"))
    for step in range(steps):
        while plan := recorded.plan(step):
            recorded.observe(
                GroupOutcome(
                    group.group_id,
                    group.prompt_id,
                    [
                        float((group.group_id + turn) % 11 < int(group.prompt_id[1:]))
                        for turn in range(group.num_rollouts)
                    ],
                )
                for group in plan
            )
        recorded.admitted(step)
    recorded.listener.close()
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt_id": each}) + "\n" for each in IDS))
    return folder


@pytest.mark.parametrize("method", ["uniform", "dapo", "cures"])
def test_the_run_s_own_method_plans_the_same(tmp_path, method):
    result = replay(write_run(tmp_path / "run", method))
    assert result["method"] == method
    assert result["plans"] >= 4
    assert result["first_difference"] is None


def test_features_that_were_made_of_the_prompts_words_are_made_again(tmp_path):
    """prompts.jsonl has the text; the journal says whether there were features."""
    texts = [f"add {'1' * (1 + number % 3)} and {number}" for number in range(12)]
    for features, made in ((WordFeatures(texts).of(texts), True), (None, False)):
        run = write_run(tmp_path / str(made), "didact", 8, PromptPool(IDS, features=features), leave_below=0.0)
        rows = [json.dumps({"prompt_id": each, "prompt": text}) for each, text in zip(IDS, texts, strict=True)]
        (run / "prompts.jsonl").write_text("\n".join(rows))
        assert ('"features":true' in (run / "journal.jsonl").read_text().splitlines()[0]) == made
        assert replay(run)["first_difference"] is None


def test_a_method_of_ones_own_is_replayed_by_its_name_and_imported_by_no_journal(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    run = write_run(tmp_path / "run", "new_method:Frontier", curiosity=0.5)
    assert '"made_by":"new_method:Frontier"' in (run / "journal.jsonl").read_text().splitlines()[0]
    with pytest.raises(ValueError, match=r"'frontier' is none of didact's, .*: say --method new_method:Frontier"):
        replay(run)
    result = replay(run, "new_method:Frontier")
    assert (result["method"], result["plans"], result["first_difference"]) == ("frontier", 4, None)


def test_a_method_of_ones_own_that_is_called_like_a_published_one_is_not_taken_for_it(tmp_path, monkeypatch):
    (tmp_path / "namesakes.py").write_text(NAMESAKE)
    monkeypatch.syspath_prepend(tmp_path)
    run = write_run(tmp_path / "run", "namesakes:Namesake")
    with pytest.raises(ValueError, match=r"'uniform' is none of didact's, .*: say --method namesakes:Namesake"):
        replay(run)
    assert replay(run, "namesakes:Namesake")["first_difference"] is None


NAMESAKE = """
from dataclasses import dataclass
from didact import Method

@dataclass(frozen=True, kw_only=True)
class Namesake(Method):
    name = "uniform"

    def draft(self, turn, memory):
        return turn.equal(turn.walk(turn.batch), then="none")
"""


def test_a_wrapped_method_is_replayed_as_it_was_wrapped(tmp_path):
    run = write_run(tmp_path / "run", "dapo", uniform_share=0.5)
    assert "made_by" not in json.loads((run / "journal.jsonl").read_text().splitlines()[0])
    assert replay(run)["first_difference"] is None


def test_a_run_with_options_of_its_own(tmp_path):
    options = {"temperature": 0.3, "prior": (2.0, 1.0), "context": 64, "steps_per_iteration": 2}
    assert replay(write_run(tmp_path / "run", **options))["first_difference"] is None


def test_an_option_that_was_switched_off_stays_off(tmp_path):
    run = write_run(tmp_path / "run", "didact", group_size=None, prompts_per_step=2)  # 4 by default
    assert '"group_size":null' in (run / "journal.jsonl").read_text()
    assert replay(run)["first_difference"] is None


def test_a_journal_that_is_not_what_the_method_planned_is_found_out(tmp_path):
    run = write_run(tmp_path / "run", "uniform")
    other = write_run(tmp_path / "other", "uniform", seed=6)
    lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    foreign = (other / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run / "journal.jsonl").write_bytes(b"".join(lines[:4] + foreign[4:]))  # whole lines of another run
    assert replay(run) == {"method": "uniform", "plans": 1, "first_difference": 1}


def test_another_method_is_answered_from_the_log(tmp_path):
    run = write_run(tmp_path / "run", "uniform")
    result = replay(run, "dapo")
    assert (result["method"], result["logged_method"], result["steps"]) == ("dapo", "uniform", 4)
    assert result["rollouts_asked"] >= 4 * 12
    assert 0 < result["share_answered"] <= 1
    assert 0 <= result["share_with_signal"] <= 1
    same = replay(run, "uniform", {"seed": 5})
    assert same["share_answered"] == 1.0
    assert replay(run, "dapo") == result


def test_an_unfinished_run_is_replayed_as_far_as_it_got(tmp_path):
    run = write_run(tmp_path / "run")
    data = (run / "journal.jsonl").read_bytes()
    for end in range(len(data) // 2, len(data), 97):
        (run / "journal.jsonl").write_bytes(data[:end])
        assert replay(run)["first_difference"] is None
        replay(run, "uniform")


def test_bad_input(tmp_path):
    run = write_run(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="no journal"):
        replay(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="did you mean 'cures'"):
        replay(run, "curse")
    with pytest.raises(TypeError, match="did you mean 'temperature'"):
        replay(run, "cures", {"temprature": 1.0})
    (run / "prompts.jsonl").rename(run / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"no prompts.jsonl"):
        replay(run)
    (run / "prompts.jsonl").write_text('{"prompt_id": "p0"}\n{"prom')
    with pytest.raises(ValueError, match=r"prompts.jsonl"):
        replay(run)
    (run / "prompts.jsonl").write_text('{"prompt": "p0"}\n')
    with pytest.raises(ValueError, match=r"prompts.jsonl"):
        replay(run)
    (run / "prompts.jsonl").write_text('{"prompt_id": "q0"}\n')
    with pytest.raises(ValueError, match=r"not the pool"):
        replay(run)
    (run / "journal.jsonl").write_bytes(b"")
    with pytest.raises(ValueError, match="is empty: nothing was planned yet"):
        replay(run)


@pytest.mark.parametrize(
    "options",
    [{"context": StagedContext([(8, 2), (16, 2)])}, {"admission": AdmitAll()}, {"admission": [-0.5, 0.8]}],
    ids=["context", "admission", "band"],
)
def test_didact_s_own_stages_are_rebuilt(tmp_path, options):
    run = write_run(tmp_path / "run", "dapo", **options)
    assert replay(run)["first_difference"] is None


class Often:
    """A rule of somebody else's."""

    def admits(self, rewards):
        return True

    def __repr__(self):
        return self.said


@pytest.mark.parametrize(
    "said", ["Often", "Often(how=1)", "AdmitBand(low=-inf, high=1)", "AdmitBand(", "AdmitAll(x=1)", "1"]
)
def test_stages_of_somebody_else_are_refused(tmp_path, said):
    rule = Often()
    rule.said = said
    run = write_run(tmp_path / "run", "dapo", admission=rule)
    with pytest.raises(ValueError, match="cannot be rebuilt by name"):
        replay(run)


def test_a_pool_with_columns_is_rebuilt(tmp_path):
    rows = [{"prompt_id": each, "pass_rate": row / 12 if row % 3 else None} for row, each in enumerate(IDS)]
    pool = PromptPool(IDS, pass_rate=[row["pass_rate"] for row in rows])
    run = write_run(tmp_path / "run", "mopps", pool=pool, max_rollouts_per_step=24)
    (run / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert replay(run)["first_difference"] is None
    (run / "prompts.jsonl").write_text("".join(json.dumps({"prompt_id": each}) + "\n" for each in IDS))
    with pytest.raises(ValueError, match="not the pool of the run's journal"):
        replay(run)
