"""`didact explain RUN --step N`: why these prompts, why so many rollouts, why not that one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from didact.cli.tables import Column, table

EPILOG = """\b
Examples:
  didact explain runs/first                               the last step
  didact explain runs/first --step 40 --top 20
  didact explain runs/first --step 40 --prompt gsm8k-17   what became of this prompt there
  didact explain runs/mine --method my_project.curriculum:Frontier
  didact explain runs/first --json | jq '.rounds[].groups[].prompt_id'
"""

_PATIENCE = 2.0  # seconds of a replay before it says how far it is
_WIDE = 100  # characters of a terminal that takes all columns


@click.command("explain", epilog=EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--step", type=click.IntRange(min=0), help="Step to explain.  [default: the last one]")
@click.option("--prompt", metavar="ID", help="Say what became of this prompt, planned or not.")
@click.option("--method", metavar="module:NAME", help="Where the run's method lies, if it is none of didact's.")
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="Prompts per table.")
@click.option("--json", "as_json", is_flag=True, help="Print all of it as one JSON object.")
def explain_command(
    run: Path, step: int | None, prompt: str | None, method: str | None, top: int, as_json: bool
) -> None:
    """Say why a step of a run rolled out these prompts, so often, and not others.

    RUN is the folder that training wrote: journal.jsonl, and prompts.jsonl beside it. Its plans are made again from the
    outcomes in the journal, so figures are those of the moment. Which prompts were looked at and left, a method may
    say (`didact` does); of any other, what was planned and what was believed. Nothing in the folder is changed.

    Columns: n, rollouts planned; believed, pass rate and its deviation; above, the share of the pool believed to pass
    less often; own, its rollouts so far; then what the method compared. Without a rank, it was not compared.
    """
    from didact.cli.terminal import Terminal
    from didact.report.explanation import explain

    began = time.monotonic()
    with Terminal() as terminal:

        def tell(done: int, total: int) -> None:
            if time.monotonic() - began > _PATIENCE:
                terminal.stage("replaying", done, total)

        found = explain(run, step=step, prompt=prompt, method=method, tell=tell)
    if as_json:
        click.echo(json.dumps(found, allow_nan=False))
    elif prompt is not None:
        _print_prompt(found)
    else:
        _print_step(found, top)


def _print_prompt(found: dict[str, Any]) -> None:
    """Of a step with many rounds, those at which it was planned or looked at; of others, the last."""
    rounds = [each for each in found["rounds"] if each["prompt"]["fate"] in ("planned", "left")] or found["rounds"][-1:]
    prompt = rounds[-1]["prompt"]
    click.echo(f"{_head(found)}, prompt {prompt['prompt_id']}" + f": {prompt['prompt']}" * bool(prompt["prompt"]))
    for each in rounds:
        first, *rest = each["prompt"]["said"]
        click.echo(f"\n{_round_name(found, each)}{first}")
        for sentence in [*rest, *_overall(each)]:
            click.echo(f"  {sentence}")


def _print_step(found: dict[str, Any], top: int) -> None:
    rounds = found["rounds"]
    groups, rollouts = sum(len(each["groups"]) for each in rounds), sum(each["num_rollouts"] for each in rounds)
    click.echo(f"{_head(found)}: {groups:,} groups, {rollouts:,} rollouts. {found['method']}: {found['about']}.")
    for each in rounds:
        _print_round(found, each, top)


def _print_round(found: dict[str, Any], each: dict[str, Any], top: int) -> None:
    from rich.console import Console

    by, groups, left = each["by"], each["groups"], each["left"]
    columns = _columns(groups + left, by, wide=Console().width >= _WIDE)
    planned: list[Column] = [("n", lambda p: f"{p['planned']:,}")]
    if by is None and len({group["reason"] for group in groups}) > 1:
        planned.append(("reason", lambda p: p["reason"]))
    sizes = sorted({group["planned"] for group in groups})
    about = f"{len(groups):,} groups of {sizes[0]:,}" + f" to {sizes[-1]:,}" * (len(sizes) > 1) + " rollouts"
    if each["rule"] is None:
        about += "; which prompts it looked at, this method does not say"
    else:
        about += f"; looked at {each['looked_at']:,} prompts: {each['rule']}"
    best = sorted(groups, key=lambda group: group["rank"] or len(groups) + len(left))
    table(
        f"{_round_name(found, each)}planned".capitalize() + f", {top:,} of {len(groups):,}" * (len(groups) > top),
        "\n".join([about, *_overall(each)]),
        _named(best[:top]),
        [*planned, *columns],
        answers=False,
    )
    table(
        "Looked at and left" + f", {top:,} of {len(left):,}" * (len(left) > top),
        f"best {by} first; the last one taken has {each['last_taken']:.4g}" if each["last_taken"] is not None else "",
        _named(left[:top]),
        columns,
        answers=False,
    )


def _head(found: dict[str, Any]) -> str:
    return f"Step {found['step']:,} of 0 to {found['last_step']:,}"


def _round_name(found: dict[str, Any], each: dict[str, Any]) -> str:
    return f"Round {each['round']}: " if len(found["rounds"]) > 1 else ""


def _overall(each: dict[str, Any]) -> list[str]:
    """Figures of the whole draft."""
    known = {name: "-" if value is None else f"{value:.3g}" for name, value in each["overall"].items()}
    return ["; ".join(f"{name.replace('_', ' ')} {value}" for name, value in known.items())] if known else []


def _named(prompts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the id before the text, since --prompt takes it."""
    return [{**each, "prompt": f"{each['prompt_id']}  {each['prompt']}".rstrip()} for each in prompts]


def _columns(prompts: list[dict[str, Any]], by: str | None, *, wide: bool) -> list[Column]:
    """Belief, own rollouts, and what the method compared, the figure that decided last."""
    names = sorted({name for prompt in prompts for name in prompt["figures"]}, key=lambda name: (name == by, name))
    columns: list[Column] = [
        ("believed", lambda p: f"{p['believed']:.2f} ±{p['deviation']:.2f}"),
        ("above", lambda p: f"{p['quantile']:.0%}"),
        ("own", lambda p: f"{p['rollouts']:,}"),
    ]
    if wide:
        columns.append(("last seen", lambda p: "-" if p["last_seen"] is None else f"{p['last_seen']:,}"))
    columns += [(name, _figure(name)) for name in names]
    return [*columns, ("rank", lambda p: "-" if p["rank"] is None else f"{p['rank']:,}")] if by else columns


def _figure(name: str) -> Any:
    def value(prompt: dict[str, Any]) -> str:
        figure = prompt["figures"].get(name)
        return "-" if figure is None else f"{figure:.3g}"

    return value
