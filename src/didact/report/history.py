"""The history of one run as tidy arrays, read from its folder.

`RunHistory.load(run_dir)` replays RUN/journal.jsonl into three tables (groups, rollouts, evaluations) and reads the
pool, the configuration, wall-clock and resumes beside it. The journal is the only file that must exist.

Counting rules. A rollout counts when its outcome is in the journal, whether it trained or not. A group may be
continued by a later plan; each rollout belongs to the planned entry it fills, in order. Where a delivery stands in its
group, and that it repeats another and is ignored, the journal says; for journals from before it did, a repetition is
the same part of a group once more, or more than was planned for it. Rollouts of repetitions are counted in
`num_surplus`. Rollouts that were lost and asked for again count as planned once more. A record that the engine could
not have written, such as an outcome of a group that was never planned, is refused.

A rollout passes when its reward is above the run's `pass_above`, and a group's pass rate is the share that passed.
Where the run has no such option, it passes at PASS_REWARD or more, and the pass rate is the mean reward.

It derives nothing and judges nothing: rates, shares and intervals are in `summary`, findings in `inspection`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.journal import outcomes_of
from didact.report.intervals import wilson
from didact.report.records import Record, is_number, is_plain, is_text, read_run

PASS_REWARD = 0.5  # for rewards that are fractions of a pass; verifiers with partial credit stay readable
UNDECIDED, DISCARDED, TRAINED = 0, 1, 2


@dataclass(frozen=True)
class Prompts:
    """The pool, in its own order; texts are empty where the run folder has no prompts.jsonl."""

    ids: list[str]
    text: list[str]
    answer: list[str]
    source: list[str | None]
    difficulty: list[Any]


@dataclass(frozen=True)
class Groups:
    """One row per group id, in the order first planned. Rates and sums leave errored rollouts out."""

    id: NDArray[np.int64]
    step: NDArray[np.int64]
    prompt: NDArray[np.int64]
    predicted: NDArray[np.float64]
    context_length: NDArray[np.float64]
    num_planned: NDArray[np.int64]
    num_rollouts: NDArray[np.int64]
    num_scored: NDArray[np.int64]
    pass_rate: NDArray[np.float64]
    mixed: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True)
class Rollouts:
    """One row per rollout with an outcome; `group` is a row of `Groups`, `fate` one of the three constants above."""

    group: NDArray[np.int64]
    reason: NDArray[np.int64]
    reward: NDArray[np.float64]
    passed: NDArray[np.bool_]
    num_tokens: NDArray[np.float64]
    truncated: NDArray[np.bool_]
    errored: NDArray[np.bool_]
    fate: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.group)


@dataclass(frozen=True)
class Evaluation:
    """One pass over the held-out prompts, of which `num_prompts` were judged; `passed` is aligned between the
    evaluations of a run, None for what was not judged."""

    step: int
    rollouts: int
    tokens: int | None
    num_prompts: int
    pass_rate: float
    low: float
    high: float
    passed: tuple[int | None, ...] | None
    errors: int | None = None  # prompts without a verdict, where the run recorded them
    by_source: dict[str, tuple[int, int]] | None = None  # passed and judged prompts


@dataclass(frozen=True)
class RunHistory:
    path: Path
    config: Record
    start: Record
    prompts: Prompts
    groups: Groups
    rollouts: Rollouts
    reasons: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    num_steps: int
    num_surplus: int
    pass_above: float | None
    pool_size: int
    pool_grew: bool  # beyond the size that the journal says: then there are at least `pool_size` prompts
    seconds: float | None
    resumes: tuple[Record, ...]

    @classmethod
    def load(cls, run_dir: str | Path) -> RunHistory:
        """Read a run folder; a run in progress or killed midway is read as far as it got.

        Raises:
            FileNotFoundError: no such folder. ValueError: no run folder, or a file of it that is damaged.
        """
        path = Path(run_dir)
        if not path.exists():
            raise FileNotFoundError(f"no run folder at {path}; give the folder that `didact train` wrote")
        if not path.is_dir() or not (path / "journal.jsonl").is_file():
            raise ValueError(f"{path} is not a run folder: expected a folder with journal.jsonl in it")
        replay = _Replay()
        replay.take_prompts(path / "prompts.jsonl")
        replay.take_journal(path / "journal.jsonl")
        timing = _numbers(path / "timing.jsonl", "seconds")
        resumes = _read_lines(path / "resumes.jsonl")
        _numbers(path / "resumes.jsonl", "dropped_rollouts")
        return replay.history(
            path=path,
            config=_read_config(path / "config.json"),
            seconds=sum(timing) if timing else None,
            resumes=tuple(resumes),
        )


def _read_config(path: Path) -> Record:
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); restore it or remove it to report without it") from None
    if type(config) is not dict:
        raise ValueError(f"{path} holds a {type(config).__name__}, expected one JSON object")
    if not is_plain(config):
        raise ValueError(f"{path} holds text that cannot be written; restore it or remove it to report without it")
    config.pop("digest", None)  # of the file, no setting
    if not isinstance(config.get("steps"), int | None):
        raise ValueError(f"{path}: steps must be a whole number, got {shortened(config['steps'])}; restore the file")
    return config


def _read_lines(path: Path) -> list[Record]:
    """Objects of a side file, none if it is missing; a last line cut off by a kill is dropped."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            if number == len(lines):
                break
            raise ValueError(f"{path} line {number} is not valid JSON; restore the file or remove that line") from None
        if type(row) is not dict:
            raise ValueError(f"{path} line {number} holds a {type(row).__name__}, expected a JSON object")
        rows.append(row)
    return rows


def _numbers(path: Path, name: str) -> list[float]:
    """One figure of each line of a side file, where the line has it."""
    values = [row[name] for row in _read_lines(path) if row.get(name) is not None]
    for value in values:
        if not is_number(value):
            raise ValueError(f"{path}: {name} must be a number, got {shortened(value)}; restore the file or remove it")
    return [float(value) for value in values]


@dataclass
class _Group:
    """A group while it is being replayed."""

    step: int
    prompt: int
    predicted: float = np.nan
    context_length: float = np.nan
    num_planned: int = 0
    entries: list[list[int]] = field(default_factory=list)  # [rollouts still expected, reason]
    rollouts: list[int] = field(default_factory=list)  # rows of the rollout table, in the order observed
    parts: set[int] = field(default_factory=set)
    admitted: bool = False

    def expect(self, num_rollouts: int, reason: int) -> None:
        """Plan further rollouts."""
        self.num_planned += num_rollouts
        self.entries.append([num_rollouts, reason])

    def place(self, num_rollouts: int, part: int | None) -> int | None:
        """Where a delivery stands of which the journal does not say so; None for a repetition."""
        here = len(self.rollouts)
        return None if part in self.parts or (here and here + num_rollouts > self.num_planned) else here

    def take(self) -> int:
        """The reason of the next rollout: that of the first planned entry with room."""
        while not self.entries[0][0]:
            del self.entries[0]
        self.entries[0][0] -= 1
        return self.entries[0][1]


class _Replay:
    """Journal records, in order, into the tables of a RunHistory."""

    def __init__(self) -> None:
        self.prompts = Prompts([], [], [], [], [])
        self.prompt_row: dict[str, int] = {}
        self.groups: dict[int, _Group] = {}
        self.reasons: dict[str, int] = {}
        self.rewards: list[float] = []
        self.num_tokens: list[float] = []
        self.truncated: list[bool] = []
        self.errored: list[bool] = []
        self.rollout_reason: list[int] = []
        self.trained: set[int] = set()
        self.evaluations: dict[int, Evaluation] = {}
        self.start: Record = {}
        self.last_admitted = -1
        self.num_surplus = 0
        self.pass_above: float | None = None
        self.pool_size = 0

    def take_prompts(self, path: Path) -> None:
        for number, row in enumerate(_read_lines(path), start=1):
            prompt_id, difficulty = row.get("prompt_id"), row.get("difficulty")
            if not isinstance(prompt_id, str) or not is_text(prompt_id):
                raise ValueError(f"{path} row {number}: prompt_id must be text, got {shortened(prompt_id)}")
            if not is_plain([row.get("source"), difficulty]):
                raise ValueError(f"{path} row {number}: source or difficulty holds text that cannot be written")
            if prompt_id in self.prompt_row:
                raise ValueError(f"{path} row {number}: prompt {shortened(prompt_id)} is there twice")
            if isinstance(difficulty, int | float) and not is_number(difficulty) and difficulty == difficulty:
                raise ValueError(f"{path} row {number}: difficulty is {shortened(difficulty)}, more than can be drawn")
            self._prompt(prompt_id, row)

    def take_journal(self, path: Path) -> None:
        verbs = {name: getattr(self, f"_on_{name}") for name in ("start", "plan", "outcomes", "admitted", "evaluation")}
        verbs["lost"] = self._on_lost
        for number, record in enumerate(read_run(path), start=1):
            # A newer journal may hold kinds this reader does not know; they cannot change the ones it does.
            if verb := verbs.get(record["kind"]):
                try:
                    verb(record)
                except (ValueError, TypeError) as error:
                    raise ValueError(f"{path}, line {number}: no run writes this record: {error}") from error
        if not self.prompts.ids:
            raise ValueError(f"{path} has no plan: nothing was planned yet; try again after the first step")

    def _prompt(self, prompt_id: str, row: Record | None = None) -> int:
        """The pool row of a prompt; one that prompts.jsonl does not list is appended."""
        if prompt_id not in self.prompt_row:
            self.prompt_row[prompt_id] = len(self.prompts.ids)
            row = row or {}
            self.prompts.ids.append(prompt_id)
            self.prompts.text.append(_text(row.get("prompt")))
            self.prompts.answer.append(_text(row.get("answer")))
            self.prompts.source.append(row.get("source"))
            self.prompts.difficulty.append(row.get("difficulty"))
        return self.prompt_row[prompt_id]

    def _group(self, group_id: int) -> _Group:
        if group_id not in self.groups:
            raise ValueError(f"group {group_id} was never planned")
        return self.groups[group_id]

    def history(self, **beside: Any) -> RunHistory:
        return RunHistory(
            start=self.start,
            prompts=self.prompts,
            groups=self._group_table(),
            rollouts=self._rollout_table(),
            reasons=tuple(self.reasons),
            evaluations=tuple(self.evaluations[step] for step in sorted(self.evaluations)),
            num_steps=self.last_admitted + 1,
            num_surplus=self.num_surplus,
            pass_above=self.pass_above,
            pool_size=max(self.pool_size, len(self.prompts.ids)),
            pool_grew=len(self.prompts.ids) > self.pool_size,
            **beside,
        )

    def _on_start(self, record: Record) -> None:
        self.start = record
        self.pool_size = record["pool"]["size"]
        self.pass_above = record["options"].get("pass_above")
        if self.pass_above is not None and not is_number(self.pass_above):
            raise ValueError(f"pass_above is {shortened(self.pass_above)}")

    def _on_plan(self, record: Record) -> None:
        count = len(record["groups"])
        self.pool_size = max(self.pool_size, record.get("pool_size") or 0)
        if len(set(record["groups"])) < count:
            raise ValueError("it plans a group twice")
        contexts = record.get("context_length") or [None] * count
        predicted = record.get("predicted") or [None] * count
        reasons = record.get("reasons") or ["train"] * count
        columns = zip(
            record["groups"], record["prompts"], record["rollouts"], contexts, predicted, reasons, strict=True
        )
        for group_id, prompt_id, num_rollouts, context, belief, reason in columns:
            group = self.groups.get(group_id)
            if group is None:
                # The belief that counts for calibration is the one held before any rollout of this group.
                group = _Group(record["step"], self._prompt(prompt_id), _number(belief))
                self.groups[group_id] = group
            self._check_prompt(group, group_id, prompt_id)
            group.context_length = _number(context)
            group.expect(num_rollouts, self.reasons.setdefault(reason, len(self.reasons)))

    def _on_outcomes(self, record: Record) -> None:
        recorded = record.get("first")
        for index, outcome in enumerate(outcomes_of(record)):
            group, size = self._group(outcome.group_id), len(outcome.rewards)
            self._check_prompt(group, outcome.group_id, outcome.prompt_id)
            first = group.place(size, outcome.part) if recorded is None else recorded[index]
            if first is None:
                self.num_surplus += size
                continue
            if first != (came := len(group.rollouts)):
                raise ValueError(f"group {outcome.group_id} goes on at {first}, and {came} rollouts came before")
            if (came := came + size) > group.num_planned:
                raise ValueError(f"group {outcome.group_id} has {came} rewards, {group.num_planned} were planned")
            if outcome.part is not None:
                group.parts.add(outcome.part)
            for position, reward in enumerate(outcome.rewards):
                failed = bool(outcome.errored and outcome.errored[position])
                self.rollout_reason.append(group.take())
                group.rollouts.append(len(self.rewards))
                self.rewards.append(np.nan if failed else reward)
                self.num_tokens.append(_number(outcome.num_tokens[position] if outcome.num_tokens else None))
                self.truncated.append(bool(outcome.truncated and outcome.truncated[position]))
                self.errored.append(failed)

    def _on_lost(self, record: Record) -> None:
        group = self._group(record["group"])
        if record["again"]:  # in their place as many are made anew, and those that were lost may come after all
            group.expect(record["rollouts"], group.entries[-1][1])

    def _on_admitted(self, record: Record) -> None:
        self.last_admitted = max(self.last_admitted, record["step"])
        for group_id, positions in zip(record["groups"], record["rollouts"], strict=True):
            group = self._group(group_id)
            if group.admitted:
                raise ValueError(f"group {group_id} was admitted before")
            if len(set(positions)) < len(positions) or max(positions, default=0) >= len(group.rollouts):
                raise ValueError(
                    f"group {group_id} trains on {shortened(positions)}, {len(group.rollouts)} rollouts came back"
                )
            group.admitted = True
            self.trained.update(group.rollouts[position] for position in positions)

    def _check_prompt(self, group: _Group, group_id: int, prompt_id: str) -> None:
        if self.prompts.ids[group.prompt] != prompt_id:
            planned = self.prompts.ids[group.prompt]
            raise ValueError(f"group {group_id} is of prompt {shortened(planned)}, not {shortened(prompt_id)}")

    def _on_evaluation(self, record: Record) -> None:
        num, rate, passed = record["num_prompts"], record["pass_rate"], record.get("passed")
        if passed is not None and len(passed) != num:
            raise ValueError(f"{len(passed)} answers for {num} held-out prompts")
        num -= record.get("errors") or 0
        if num < 1:
            raise ValueError("no held-out prompt was judged")
        low, high = wilson(rate * num, num)
        tokens, sources = record.get("tokens"), record.get("by_source")
        self.evaluations[record["step"]] = Evaluation(
            step=record["step"],
            rollouts=int(record["rollouts"]),
            tokens=None if tokens is None else int(tokens),
            num_prompts=int(num),
            pass_rate=float(rate),
            low=float(low if record.get("low") is None else record["low"]),
            high=float(high if record.get("high") is None else record["high"]),
            passed=None if passed is None else tuple(passed),
            errors=record.get("errors"),
            by_source=None if sources is None else {name: (won, num) for name, (won, num) in sources.items()},
        )

    def _group_table(self) -> Groups:
        rows = list(self.groups.values())
        rewards = np.asarray(self.rewards, dtype=float)
        scored = [values[~np.isnan(values)] for values in (rewards[group.rollouts] for group in rows)]
        verdicts = scored if self.pass_above is None else [values > self.pass_above for values in scored]
        return Groups(
            id=np.array(list(self.groups), dtype=np.int64),
            step=np.array([group.step for group in rows], dtype=np.int64),
            prompt=np.array([group.prompt for group in rows], dtype=np.int64),
            predicted=np.array([group.predicted for group in rows], dtype=float),
            context_length=np.array([group.context_length for group in rows], dtype=float),
            num_planned=np.array([group.num_planned for group in rows], dtype=np.int64),
            num_rollouts=np.array([len(group.rollouts) for group in rows], dtype=np.int64),
            num_scored=np.array([len(values) for values in scored], dtype=np.int64),
            pass_rate=np.array([values.mean() if len(values) else np.nan for values in verdicts], dtype=float),
            mixed=np.array([len(values) > 0 and np.ptp(values) > 0 for values in scored], dtype=bool),
        )

    def _rollout_table(self) -> Rollouts:
        owner = np.empty(len(self.rewards), dtype=np.int64)
        fate = np.full(len(self.rewards), DISCARDED, dtype=np.int64)
        for row, group in enumerate(self.groups.values()):
            owner[group.rollouts] = row
            if group.step > self.last_admitted:
                fate[group.rollouts] = UNDECIDED
        fate[list(self.trained)] = TRAINED
        rewards = np.array(self.rewards, dtype=float)  # nan, where errored, passes nowhere
        return Rollouts(
            group=owner,
            reason=np.array(self.rollout_reason, dtype=np.int64),
            reward=rewards,
            passed=rewards >= PASS_REWARD if self.pass_above is None else rewards > self.pass_above,
            num_tokens=np.array(self.num_tokens, dtype=float),
            truncated=np.array(self.truncated, dtype=bool),
            errored=np.array(self.errored, dtype=bool),
            fate=fate,
        )


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)


def _text(value: Any) -> str:
    """Prompts may be plain text or chat messages; messages become their contents, one per line."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, dict) and "content" in item for item in value):
        value = "\n".join(str(item["content"]) for item in value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text.encode("utf-8", "replace").decode()  # a page cannot hold half of a surrogate pair
