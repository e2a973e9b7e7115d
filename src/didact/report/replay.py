"""Replay of a journal: the same method must plan the same; another method is shown what it would have asked for.

A replay sees outcomes only for prompts that the logged run rolled out, made by the policy that the logged run trained.
It compares what methods ask for; it cannot say what they would have achieved.
"""

import ast
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from didact.admission import AdmitAll, AdmitBand, AdmitWithSignal
from didact.context import StagedContext
from didact.curriculum import Curriculum
from didact.features import WordFeatures
from didact.journal import outcomes_of
from didact.method import Method
from didact.methods import METHODS, find, make
from didact.outcomes import GroupOutcome
from didact.plan import Plan, PlannedGroup
from didact.pool_columns import COLUMNS
from didact.prompts import PromptPool
from didact.report.records import Record, read_run
from didact.seeding import generator

_STAGES: dict[str, Any] = {each.__name__: each for each in (AdmitAll, AdmitBand, AdmitWithSignal, StagedContext)}
#: Options of the run that another method is replayed with.
_COMMON = ("prompts_per_step", "rollouts_per_step", "seed")


def replay(
    run: str | os.PathLike[str], method: str | None = None, options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Replay the run folder `run` through `method` (None: its own, with its own options).

    Returns:
        figures by name. For the run's own method: the number of plans and the first step at which one differs, if any.
        For another: what it asked for, the share answered from the log, and the share of answered groups with signal.

    Raises:
        FileNotFoundError, ValueError: no run, or a damaged journal. TypeError: an unknown option.
    """
    logged = Logged.read(run)
    start, own = logged.start, logged.options
    with logged.replayed():
        name = _known(start) if method is None else method
        if not options and find(name).name == start["method"]:
            return _verify(logged, logged.curriculum(name))
        common: dict[str, Any] = {each: own[each] for each in _COMMON if each in own}
        return _counterfactual(
            logged.records, make(name, logged.pool_for(find(name)), **{**common, **(options or {})}), start
        )


@dataclass(frozen=True)
class Logged:
    """A run as its folder tells of it.

    Attributes:
        records: of its journal, the start first.
        rows: of prompts.jsonl, in the order of the pool.
        options: those of its method and its curriculum that are not None.
    """

    path: Path
    records: list[Record]
    rows: list[dict[str, Any]]
    pool: PromptPool
    options: dict[str, Any]

    @classmethod
    def read(cls, run: str | os.PathLike[str]) -> Self:
        """Read a run folder.

        Raises:
            FileNotFoundError, ValueError: no run, a damaged journal, a pool that is not its own, or stages of somebody
                else.
        """
        path = Path(run)
        records = read_run(path / "journal.jsonl")
        rows, pool = _pool(path, records[0])
        options = {name: value for name, value in records[0]["options"].items() if value is not None}
        for name in ("context", "admission"):
            if isinstance(options.get(name), str):
                options[name] = _stage(name, options[name])
        return cls(path, records, rows, pool, options)

    @property
    def start(self) -> Record:
        """The first record."""
        return self.records[0]

    def curriculum(self, method: str | None = None) -> Curriculum:
        """The run's own curriculum as it was before the first record; `method` says where its method lies.

        Raises:
            ValueError: another method than the run's, one that has to be said, or options that do not make one.
        """
        name = _known(self.start) if method is None else method
        kind = find(name)
        if kind.name != self.start["method"]:
            raise ValueError(f"{self.path} was planned by {self.start['method']!r}, and {name!r} is another method")
        # None is what most options are by themselves, but not all of a method's own.
        own = [each.name for each in fields(kind)]  # type: ignore[arg-type]
        off = {each: None for each in own if each in self.start["options"]}
        return _rebuilt(name, self.pool_for(kind), {**off, **self.options})

    def pool_for(self, method: type[Method]) -> PromptPool:
        """The pool as the run gave it to such a method: with features of its prompts' words, if they were made."""
        columns = _columns(self.rows)
        texts = [row["prompt"] for row in self.rows if isinstance(row.get("prompt"), str)]
        made = method.wants_words and self.start.get("features") and "features" not in columns
        if not made or len(texts) < len(self.rows):
            return self.pool
        return PromptPool(self.pool.ids, **columns, features=WordFeatures(texts).of(texts))

    def retraced(self, curriculum: Curriculum) -> Iterator[tuple[Record, Plan | None]]:
        """Take `curriculum` through the run: each record once it has happened, for one of a plan with the plan that
        was made. Whether it `is_logged`, the caller looks."""
        for record in self.records:
            plan = None
            if record["kind"] == "plan":
                plan = curriculum.plan(record["step"])
            elif record["kind"] == "outcomes":
                curriculum.observe(outcomes_of(record))
            elif record["kind"] == "admitted":
                curriculum.admitted(record["step"], complete=record.get("complete", False))
            elif record["kind"] == "lost":
                curriculum.lost(record["group"], record["rollouts"], again=record["again"])
            elif record["kind"] == "found":
                curriculum.found(record["group"], record["rollouts"])
            yield record, plan

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """What options from elsewhere raise, as the ValueError of a run that cannot be replayed."""
        try:
            yield
        except (LookupError, AttributeError, ArithmeticError) as error:
            raise ValueError(f"{self.path} cannot be replayed with the options of its journal: {error}") from error


def is_logged(plan: Plan, record: Mapping[str, Any]) -> bool:
    """Whether a plan is that of a record: groups, prompts and rollouts."""
    made = [(group.group_id, group.prompt_id, group.num_rollouts) for group in plan]
    return made == list(zip(record["groups"], record["prompts"], record["rollouts"], strict=True))


def _known(start: Mapping[str, Any]) -> str:
    """The run's method, by a name that needs no code which a journal names and nobody asked for.

    Raises:
        ValueError: it is none of these.
    """
    made_by = str(start.get("made_by", start["method"]))
    if made_by in METHODS:
        return made_by
    raise ValueError(
        f"the run's method {start['method']!r} is none of didact's, and a journal runs no code by itself: say "
        f"--method {made_by}, or --method module:NAME if it lies elsewhere now"
    )


def _rebuilt(method: str, pool: PromptPool, options: Mapping[str, Any]) -> Curriculum:
    try:
        return make(method, pool, **{**options, "prior": tuple(options["prior"])})
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"the run's options do not make a {method!r}: {error}") from error


def _verify(logged: Logged, curriculum: Curriculum) -> dict[str, Any]:
    plans, method = 0, logged.start["method"]
    for record, plan in logged.retraced(curriculum):
        if plan is not None and not is_logged(plan, record):
            return {"method": method, "plans": plans, "first_difference": record["step"]}
        plans += plan is not None
    return {"method": method, "plans": plans, "first_difference": None}


def _counterfactual(records: list[Record], curriculum: Curriculum, start: Mapping[str, Any]) -> dict[str, Any]:
    logged: dict[str, list[tuple[int, float, int]]] = defaultdict(list)
    steps = sorted({record["step"] for record in records if record["kind"] == "outcomes"})
    for record in records:
        if record["kind"] == "outcomes":
            for outcome in outcomes_of(record):
                tokens = outcome.num_tokens or (0,) * len(outcome.rewards)
                marks = outcome.errored or (False,) * len(outcome.rewards)
                logged[outcome.prompt_id] += [
                    (record["step"], reward, count)
                    for reward, count, mark in zip(outcome.rewards, tokens, marks, strict=True)
                    if not mark
                ]
    asked = answered = 0
    for step in steps:
        while plan := curriculum.plan(step):
            outcomes = [_answer(group, logged[group.prompt_id], step, curriculum.seed) for group in plan]
            asked += plan.num_rollouts
            answered += sum(len(outcome.rewards) for outcome in outcomes)
            curriculum.observe(outcomes)
        curriculum.admitted(step)
    metrics = curriculum.metrics()
    return {
        "method": curriculum.name,
        "logged_method": start["method"],
        "steps": len(steps),
        "rollouts_asked": asked,
        "share_answered": answered / max(asked, 1),
        "share_with_signal": metrics["share_with_signal_so_far"],
        "effective_prompts": metrics["effective_prompts"],
        "note": "only prompts that the logged run rolled out can be answered; the policy does not react",
    }


def _answer(group: PlannedGroup, logged: list[tuple[int, float, int]], step: int, seed: int) -> GroupOutcome:
    """As many of the prompt's logged rollouts as were asked for: those nearest in time, equals in a seeded order."""
    order = generator(seed, "replay", group.group_id).permutation(len(logged))
    nearest = sorted(order, key=lambda index: abs(logged[index][0] - step))[: group.num_rollouts]
    rewards, tokens = [logged[index][1] for index in nearest], [logged[index][2] for index in nearest]
    return GroupOutcome(group.group_id, group.prompt_id, rewards, tokens)


def _pool(run: Path, start: Mapping[str, Any]) -> tuple[list[dict[str, Any]], PromptPool]:
    path = run / "prompts.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"no prompts.jsonl in {run}: a replay needs the pool")
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        pool = PromptPool([row["prompt_id"] for row in rows], **_columns(rows))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or no list of prompts ({type(error).__name__}: {error})") from error
    if {"size": len(pool), "fingerprint": pool.fingerprint()} != start["pool"]:
        raise ValueError(
            f"{path} is not the pool of the run's journal: {len(pool)} prompts, {start['pool']['size']} there"
        )
    return rows, pool


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """What the rows of prompts.jsonl tell of at least one prompt."""
    columns = {name: [row.get(name) for row in rows] for name in COLUMNS}
    return {name: values for name, values in columns.items() if values.count(None) < len(values)}


def _stage(name: str, said: str) -> Any:
    """The context schedule or admission rule that describes itself like this."""
    try:
        call = ast.parse(said, mode="eval").body
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args:
            return _STAGES[call.func.id](**{str(each.arg): ast.literal_eval(each.value) for each in call.keywords})
    except (SyntaxError, LookupError, TypeError, ValueError, RecursionError):
        pass
    raise ValueError(f"this run used {name}={said!r}, which is not one of Didact's own: it cannot be rebuilt by name")
