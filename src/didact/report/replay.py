"""Replay of a journal: the same method must plan the same; another method is shown what it would have asked for.

A replay sees outcomes only for prompts that the logged run rolled out, made by the policy that the logged run trained.
It compares what methods ask for; it cannot say what they would have achieved.
"""

import ast
import json
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from didact.admission import AdmitAll, AdmitBand, AdmitWithSignal
from didact.context import StagedContext
from didact.curriculum import Curriculum
from didact.journal import outcomes_of
from didact.methods import METHODS, find, make
from didact.outcomes import GroupOutcome
from didact.plan import PlannedGroup
from didact.pool_columns import COLUMNS
from didact.prompts import PromptPool
from didact.report.records import read_run
from didact.seeding import generator

_STAGES: dict[str, Any] = {each.__name__: each for each in (AdmitAll, AdmitBand, AdmitWithSignal, StagedContext)}


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
    records = read_run(Path(run) / "journal.jsonl")
    start = records[0]
    pool = _pool(Path(run), start)
    own = {name: value for name, value in start["options"].items() if value is not None}
    for name in ("context", "admission"):
        if isinstance(own.get(name), str):
            own[name] = _stage(name, own[name])
    common = {name: own[name] for name in ("prompts_per_step", "rollouts_per_step", "seed") if name in own}
    try:
        name = _known(start) if method is None else method
        if not options and find(name).name == start["method"]:
            return _verify(records, _rebuilt(name, pool, own), start)
        return _counterfactual(records, make(name, pool, **{**common, **(options or {})}), start)
    except (LookupError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{run} cannot be replayed with the options of its journal: {error}") from error


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


def _verify(records: list[dict[str, Any]], curriculum: Curriculum, start: Mapping[str, Any]) -> dict[str, Any]:
    plans = 0
    for record in records:
        if record["kind"] == "plan":
            plan = curriculum.plan(record["step"])
            made = [(group.group_id, group.prompt_id, group.num_rollouts) for group in plan]
            logged = list(zip(record["groups"], record["prompts"], record["rollouts"], strict=True))
            if made != logged:
                return {"method": start["method"], "plans": plans, "first_difference": record["step"]}
            plans += 1
        elif record["kind"] == "outcomes":
            curriculum.observe(outcomes_of(record))
        elif record["kind"] == "admitted":
            curriculum.admitted(record["step"], complete=record.get("complete", False))
        elif record["kind"] == "lost":
            curriculum.lost(record["group"], record["rollouts"], again=record["again"])
        elif record["kind"] == "found":
            curriculum.found(record["group"], record["rollouts"])
    return {"method": start["method"], "plans": plans, "first_difference": None}


def _counterfactual(records: list[dict[str, Any]], curriculum: Curriculum, start: Mapping[str, Any]) -> dict[str, Any]:
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


def _pool(run: Path, start: Mapping[str, Any]) -> PromptPool:
    path = run / "prompts.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"no prompts.jsonl in {run}: a replay needs the pool")
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        columns = {name: [row.get(name) for row in rows] for name in COLUMNS}
        known = {name: values for name, values in columns.items() if values.count(None) < len(values)}
        pool = PromptPool([row["prompt_id"] for row in rows], **known)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or no list of prompts ({type(error).__name__}: {error})") from error
    if {"size": len(pool), "fingerprint": pool.fingerprint()} != start["pool"]:
        raise ValueError(
            f"{path} is not the pool of the run's journal: {len(pool)} prompts, {start['pool']['size']} there"
        )
    return pool


def _stage(name: str, said: str) -> Any:
    """The context schedule or admission rule that describes itself like this."""
    try:
        call = ast.parse(said, mode="eval").body
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args:
            return _STAGES[call.func.id](**{str(each.arg): ast.literal_eval(each.value) for each in call.keywords})
    except (SyntaxError, LookupError, TypeError, ValueError, RecursionError):
        pass
    raise ValueError(f"this run used {name}={said!r}, which is not one of Didact's own: it cannot be rebuilt by name")
