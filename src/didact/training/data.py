"""The prompts of a run: read, looked through before anything is spent, and kept in its folder.

Left out, counted and said: prompts whose gold answer the task cannot use (`Task.verifiable`), and prompts longer than
what the model has room for. RUN/prompts.jsonl and RUN/eval_prompts.jsonl hold what a run began with; a resumption goes
on with those prompts, in that order, and refuses texts or answers that have changed since.
"""

import inspect
import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from didact.features import WordFeatures
from didact.files import write_whole
from didact.prompts import PromptPool
from didact.tasks import Example, Split, task
from didact.tasks.files import MissingColumn, drawn, load_examples, split_off
from didact.training.config import TrainConfig
from didact.training.display import Display, Silent
from didact.training.wording import Wording

_MADE: Final = ("arithmetic", "reasoning_gym")  # tasks that make their prompts, with answers that they can read
_OTHERS: Final = ("gsm8k", "math")  # tasks that gold answers may have been meant for


@dataclass(frozen=True)
class Data:
    """What a run trains on and is evaluated on.

    Attributes:
        training: the pool, in its order.
        held_out: what accuracy is measured on; empty for a run without evaluation.
        tokens: the length of each training prompt, in tokens.
        unfit: prompts of the pool, by id, that the model has no room for. Only pools of runs that began before this was
            checked have any; they stay in their places and are never sent.
        on_training: whether `held_out` are training prompts after all, for an overfit check.
        changed: prompts, by id, whose text or answer has changed since the run began, which was accepted.
        counts: what was found, under "training" and "held_out".
    """

    training: list[Example]
    held_out: list[Example]
    tokens: list[int]
    unfit: frozenset[str]
    on_training: bool
    changed: tuple[str, ...]
    counts: dict[str, dict[str, int]]

    def pool(self, *, words: bool) -> PromptPool:
        """The pool as the curriculum takes it, with features of its prompts' words or without."""
        difficulty, rates = (
            [math.nan if (value := getattr(example, name)) is None else value for example in self.training]
            for name in ("difficulty", "pass_rate")
        )
        known = not all(map(math.isnan, rates))
        texts = [example.prompt for example in self.training]
        return PromptPool(
            [example.prompt_id for example in self.training],
            source=[example.source for example in self.training],
            difficulty=None if known and all(map(math.isnan, difficulty)) else difficulty,
            prompt_tokens=self.tokens,
            features=WordFeatures(texts).of(texts) if words else None,
            pass_rate=rates if known else None,
        )

    def write(self, folder: Path) -> None:
        """Keep the prompts in the run folder, where they are not there already or have changed."""
        pool = [{**_row(each), "prompt_tokens": num} for each, num in zip(self.training, self.tokens, strict=True)]
        files = {"prompts.jsonl": pool}
        if self.held_out and not self.on_training:
            files["eval_prompts.jsonl"] = [_row(example) for example in self.held_out]
        for name, rows in files.items():
            if self.changed or not (folder / name).exists():
                write_whole(folder / name, "".join(json.dumps(row) + "\n" for row in rows))


@dataclass
class Prompts:
    """Prompts as they were drawn, in the order that the seed gives them, and what was found among them."""

    name: str
    examples: list[Example] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def read(config: TrainConfig, display: Display) -> tuple[Prompts, Prompts]:
    """Training and held-out prompts; of the latter none where nothing is held out.

    Raises:
        FileNotFoundError, ValueError: files that are missing or no good, an unknown option of the task, or the same
            text on both sides.
    """
    training, held_out = Prompts("training prompts"), Prompts("held-out prompts")
    if config.prompts is None:
        training.examples = _own(config, "train", config.num_prompts)
    else:
        training.examples = _from_files(config, config.prompts, "train", training.counts, display)
    if config.eval_fraction is not None:
        training.examples, held_out.examples = split_off(training.examples, config.eval_fraction, config.seed)
    elif config.eval_prompts is not None:
        held_out.examples = _from_files(config, config.eval_prompts, "test", held_out.counts, display)
    elif config.own_test_split:
        held_out.examples = _own(config, "test", config.num_eval_prompts)
    if config.prompts is not None:
        training.examples = _draw(training, config.num_prompts, config.seed, display)
    if not config.own_test_split:
        held_out.examples = _draw(held_out, config.num_eval_prompts, config.seed, display)
    _refuse_overlap(training.examples, held_out.examples)
    for prompts in (training, held_out):
        prompts.counts["prompts"] = len(prompts.examples)
    return training, held_out


def settle(
    config: TrainConfig,
    folder: Path | None,
    wording: Wording,
    found: tuple[Prompts, Prompts],
    room: int | None,
    display: Display,
    accept_changes: bool = False,
) -> Data:
    """What the run goes on with: of a new one what can be used, of one that began what its folder says.

    Args:
        folder: the run folder; None for a run that has none yet.
        room: tokens of the longest prompt that the model has room for; None for any.
        accept_changes: take texts and answers as they are now where they have changed since the run began.

    Raises:
        ValueError: nothing is left, most gold answers are of no use, or the data are not those that the run began with.
    """
    sieve = _Sieve(config, wording, room)
    kept, changed = [], []
    for prompts, name in zip(found, ("prompts.jsonl", "eval_prompts.jsonl"), strict=True):
        path = None if folder is None else folder / name
        if path is None or not path.exists() or not prompts.examples:
            kept.append(sieve.sift(prompts, display))
        else:
            examples, other = _as_begun(path, prompts, sieve, display, accept_changes)
            kept.append(examples)
            changed += other
    training, held_out = kept
    unfit = frozenset(sieve.too_long(training))
    if unfit:
        display.note(
            f"{len(unfit):,} prompts of the pool are longer than {room:,} tokens, first {min(unfit)!r}: they stay in "
            "it, since the run began with them, and are never sent; their rollouts count as errors"
        )
    long = sieve.too_long(held_out)
    held_out = [example for example in held_out if example.prompt_id not in long]
    if config.eval_on_train:
        fit = [example for example in training if example.prompt_id not in unfit]
        held_out = drawn(fit, min(config.num_eval_prompts or len(fit), len(fit)), config.seed)
    tokens = wording.tokens(training)
    if folder is not None and (folder / "prompts.jsonl").exists():  # as the curriculum knew them
        before = {row["prompt_id"]: row.get("prompt_tokens") for row in _rows(folder / "prompts.jsonl")}
        tokens = [before[each.prompt_id] or num for each, num in zip(training, tokens, strict=True)]
    counts = {"training": found[0].counts, "held_out": found[1].counts}
    return Data(training, held_out, tokens, unfit, config.eval_on_train, tuple(changed), counts)


class _Sieve:
    """What can neither be trained on nor evaluated."""

    def __init__(self, config: TrainConfig, wording: Wording, room: int | None) -> None:
        self._config, self._wording, self._room = config, wording, room
        self._verdicts: dict[str, str | None] = {}  # on gold answers; many prompts share one

    def sift(self, prompts: Prompts, display: Display) -> list[Example]:
        """The prompts that can be used. The others are counted and said.

        Raises:
            ValueError: there are none, or most gold answers are of no use.
        """
        examples, num = prompts.examples, f"{len(prompts.examples):,} {prompts.name}"
        unusable = self.unusable(examples, display)
        prompts.counts["unusable_answers"] = len(unusable)
        if unusable:
            golds = [example.answer for example in examples if example.prompt_id in unusable]
            line = f"{len(unusable):,} of {num} have a gold answer that task {self._config.task!r} cannot use"
            first = f"for example {golds[0][:60]!r}: {self._verdicts[golds[0]]}{_better(self._config.task, golds)}"
            if 2 * len(unusable) > len(examples):
                raise ValueError(f"{line}, {first}")
            display.note(f"{line}; they are left out, {first}")
        rest = [example for example in examples if example.prompt_id not in unusable]
        long = self.too_long(rest)
        prompts.counts["too_long"] = len(long)
        if long:
            first, length = next(iter(long.items()))
            line = (
                f"{len(long):,} of {num} are longer than {self._room:,} tokens, for example {first!r} with {length:,}"
            )
            if len(long) == len(rest):
                raise ValueError(f"{line}: max_prompt_tokens sets the limit, a lower max_completion_length raises it")
            display.note(f"{line}; they are left out (max_prompt_tokens sets the limit)")
        return [example for example in rest if example.prompt_id not in long]

    def unusable(self, examples: Sequence[Example], display: Display) -> dict[str, str]:
        """Prompts whose gold answer the task cannot use, by id, and why."""
        config = self._config
        if not examples or config.own_verifier or config.task.partition(":")[0] in _MADE:
            return {}
        chosen = task(config.task)
        for number, example in enumerate(examples):
            if chosen.isolate and number % 16 == 0:  # those take some milliseconds each
                display.stage("checking gold answers", number, len(examples))
            if example.answer not in self._verdicts:
                self._verdicts[example.answer] = chosen.verifiable(example.answer)
        if chosen.isolate:
            display.stage("checking gold answers", len(examples), len(examples))
        return {each.prompt_id: why for each in examples if (why := self._verdicts[each.answer]) is not None}

    def too_long(self, examples: Sequence[Example]) -> dict[str, int]:
        """Prompts that the model has no room for, by id, and their tokens."""
        lengths = zip(examples, self._wording.tokens(examples), strict=True)
        return {each.prompt_id: num for each, num in lengths if self._room is not None and num > self._room}


def _better(name: str, golds: Sequence[str]) -> str:
    """The task that these gold answers may be meant for, as the end of a message."""
    tried = golds[:: max(1, len(golds) // 50)]
    for other in _OTHERS:
        with suppress(ImportError):
            usable = sum(task(other).verifiable(gold) is None for gold in tried) if other != name else 0
            if 2 * usable > len(tried):
                return f"; task {other!r} can use {usable} of {len(tried)} of these that were tried"
    return ""


def _own(config: TrainConfig, split: Split, num: int | None) -> list[Example]:
    chosen = task(config.task)
    known = list(inspect.signature(chosen.examples).parameters)[3:]
    if unknown := [name for name in config.task_options if name not in known]:
        raise ValueError(f"task {config.task!r} has no option {unknown[0]!r}; its options: {', '.join(known)}")
    try:
        return chosen.examples(split, num=num, seed=config.seed, **config.task_options)
    except FileNotFoundError as error:
        if split == "train" or config.prompts is None:
            raise
        raise FileNotFoundError(
            f"the task's own held-out prompts: {error}; give others with --eval-prompts, hold out some of the training "
            "prompts with --eval-fraction 0.1, or go without evaluation with --no-eval"
        ) from error


def _from_files(
    config: TrainConfig, paths: str | list[str], split: Split, counts: dict[str, int], display: Display
) -> list[Example]:
    columns = {f"{name}_column": getattr(config, f"{name}_column") for name in ("prompt", "answer", "source")}
    if split == "train":
        others = {f"{name}_column": getattr(config, f"{name}_column") for name in ("id", "difficulty", "pass_rate")}
        examples, report = load_examples(paths, split=split, **columns, **others)
    else:
        try:
            examples, report = load_examples(paths, split=split, **columns)
        except MissingColumn as error:  # named for the training prompts; these may be of another make
            examples, report = load_examples(paths, split=split)
            display.note(f"{error}: the held-out prompts are read by their usual columns")
    where = paths if isinstance(paths, str) else ", ".join(paths)
    if report.dropped_missing or report.dropped_duplicates:
        conflicts = f"; {report.conflicting_answers:,} of the repeats have another answer than the one that is kept"
        display.note(
            f"{where}: of {report.rows:,} rows, {report.dropped_duplicates:,} repeat a prompt and "
            f"{report.dropped_missing:,} lack a prompt or an answer; they are left out"
            f"{conflicts if report.conflicting_answers else ''}"
        )
    for note in report.notes:
        display.note(note)
    names = ("rows", "dropped_missing", "dropped_duplicates", "conflicting_answers")
    counts.update({name: getattr(report, name) for name in names})
    return examples


def _draw(prompts: Prompts, num: int | None, seed: int, display: Display) -> list[Example]:
    have = len(prompts.examples)
    if num is not None and num > have > 0:
        display.note(f"there are {have:,} {prompts.name}; all of them are used")
    return drawn(prompts.examples, None if num is None or not have else min(num, have), seed)


def _refuse_overlap(training: Sequence[Example], held_out: Sequence[Example]) -> None:
    texts = {" ".join(example.prompt.split()) for example in training}
    both = [example for example in held_out if " ".join(example.prompt.split()) in texts]
    if both:
        raise ValueError(
            f"{len(both):,} held-out prompts are also training prompts, for example {both[0].prompt[:80]!r}; hold out "
            "some with --eval-fraction, or, if it is meant to be an overfit check, give --eval-on-train in place of "
            "--eval-prompts"
        )


def _as_begun(
    path: Path, prompts: Prompts, sieve: _Sieve, display: Display, accept: bool
) -> tuple[list[Example], list[str]]:
    """The prompts that stand in the run's file, in its order, and the ids of those that have changed since."""
    rows, now = _rows(path), {example.prompt_id: example for example in prompts.examples}
    num, back = f"{len(rows):,} {prompts.name}", "put the data back as they were, or start a new run"
    if gone := [row for row in rows if row["prompt_id"] not in now]:
        raise ValueError(
            f"the run began with {num}, and {len(gone):,} of them are not there any more, first "
            f"{gone[0]['prompt_id']!r} ({str(gone[0]['prompt'])[:60]!r}): {back}"
        )
    changes = [
        (row["prompt_id"], name, before, value)
        for row in rows
        for name in ("prompt", "answer", "messages")
        if (value := _row(now[row["prompt_id"]]).get(name)) != (before := row.get(name) or None)
    ]
    changed = list(dict.fromkeys(prompt_id for prompt_id, *_ in changes))
    if changes:
        prompt_id, name, before, value = changes[0]
        line = (
            f"{len(changed):,} of the {num} that the run began with have changed, first {prompt_id!r}: its {name} was "
            f"{str(before)[:60]!r} and is {str(value)[:60]!r}"
        )
        if not accept:
            raise ValueError(f"{line}; {back}, or, if it is a correction, go on with --accept-changed-data")
        display.note(f"{line}; it goes on with what they are now, and with what was learnt about them before")
    begun = {row["prompt_id"] for row in rows}
    others = [example for example in prompts.examples if example.prompt_id not in begun]
    more = len(others) - len(sieve.unusable(others, Silent()) | sieve.too_long(others))
    if more > 0:
        display.note(f"{more:,} {prompts.name} are not among those that the run began with; they are not used")
    described = ("source", "difficulty", "pass_rate")  # as the curriculum knew them
    return [replace(now[row["prompt_id"]], **{name: row[name] for name in described if name in row}) for row in rows], (
        changed
    )


def _row(example: Example) -> dict[str, Any]:
    """An example as the run's files have it; most have neither messages nor a pass rate."""
    row = {**asdict(example), "messages": [dict(message) for message in example.messages] or None}
    return {name: value for name, value in row.items() if value is not None or name == "difficulty"}


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for row in rows:
            _ = row["prompt_id"], row["prompt"], row["answer"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}; put the original back, or start a new run") from error
    return rows
