"""`didact train`: RLVR with a curriculum, through TRL, in a folder that can be resumed and looked at."""

import dataclasses
import json
import shutil
import time
import tomllib
from pathlib import Path
from typing import Any

import click

from didact.cli import is_bad_input
from didact.cli.report import write_report
from didact.cli.terminal import Notes, Terminal
from didact.interrupts import leave_at_once
from didact.settings import read_toml
from didact.training.config import TrainConfig, config_from

EPILOG = """\b
Examples:
  didact train
  didact train --beside uniform                                 and uniform, on the same warm start and budget
  didact train --method uniform --steps 100 --run runs/baseline
  didact train --config run.toml -o temperature=0.05
  didact train --model Qwen/Qwen2.5-0.5B-Instruct --task gsm8k --prompts gsm8k_train.parquet \\
               --eval-prompts gsm8k_test.parquet --max-completion-length 512
  didact train --model Qwen/Qwen2.5-0.5B-Instruct --task math --prompts 'shards/*.parquet' --prompts more.jsonl \\
               --eval-fraction 0.1 --check
  didact train --resume runs/baseline
"""
_TABLES = ("method_options", "task_options", "verifier_options", "trl")


def _setting_flags(command: Any) -> Any:
    """One flag for every plain setting, so that flags and TOML keys cannot drift apart."""
    hints = {field.name: str(field.type) for field in dataclasses.fields(TrainConfig)}
    for field in reversed(dataclasses.fields(TrainConfig)):
        if field.name in _TABLES:
            continue
        hint = hints[field.name]
        several = "list" in hint
        base = bool if "bool" in hint else int if "int" in hint else float if "float" in hint else str
        flag = field.name.replace("_", "-")
        names = f"--{flag}/--no-{flag}" if base is bool else f"--{flag}"
        default = "" if field.default is None or base is bool else f"  [default: {field.default}]"
        help_text = field.metadata["help"] + default
        kind = None if base is bool else base
        command = click.option(names, field.name, type=kind, default=None, multiple=several, help=help_text)(command)
    return command


@click.command("train", epilog=EPILOG)
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="TOML file of settings; flags win over it."
)
@click.option(
    "--run", "folder", type=click.Path(path_type=Path), help="Run folder.  [default: runs/TASK-METHOD-NUMBER]"
)
@click.option(
    "--resume", type=click.Path(path_type=Path), help="Go on with an interrupted run (with --steps: further)."
)
@click.option("-o", "--option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the method; repeatable.")
@click.option(
    "-t", "--task-option", "task_options", multiple=True, metavar="KEY=VALUE", help="Option of the task; repeatable."
)
@click.option(
    "--verifier-option",
    "verifier_options",
    multiple=True,
    metavar="KEY=VALUE",
    help="What a verifier of your own may do: environment, network, writable, processes, memory; repeatable.",
)
@click.option("--trl", "trl", multiple=True, metavar="KEY=VALUE", help="Field of TRL's GRPOConfig; repeatable.")
@click.option(
    "--check",
    is_flag=True,
    help="Only read model and prompts, count what is wrong with them, and say what would be done.",
)
@click.option(
    "--accept-changed-data", is_flag=True, help="Resume although texts or answers have changed since the run began."
)
@click.option(
    "--beside",
    metavar="METHOD",
    help="Train with this method, too, from the same start, in RUN-METHOD, and show both in RUN/report.html.",
)
@click.option("--report/--no-report", default=True, help="Write RUN/report.html at the end.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object; progress goes to stderr.")
@_setting_flags
def train_command(
    config_path: Path | None,
    folder: Path | None,
    resume: Path | None,
    options: tuple[str, ...],
    task_options: tuple[str, ...],
    verifier_options: tuple[str, ...],
    trl: tuple[str, ...],
    check: bool,
    accept_changed_data: bool,
    beside: str | None,
    report: bool,
    as_json: bool,
    **flags: Any,
) -> int:
    """Train a model with a curriculum.

    Without arguments: builds a small model here, warm-starts it on column arithmetic with a deliberately unreliable
    teacher, trains it with the default method, evaluates it on held-out prompts and writes a report. No GPU, weights
    or network needed.
    """
    given = {name: _plain(value) for name, value in flags.items() if value not in (None, ())}
    if resume is None and accept_changed_data:
        raise click.UsageError("--accept-changed-data goes with --resume")
    if resume is not None:
        tables = {"-o": options, "-t": task_options, "--verifier-option": verifier_options, "--trl": trl}
        others: dict[str, Any] = {"--config": config_path, "--run": folder, "--check": check or None}
        others |= tables | given
        refused = [name for name, value in others.items() if value not in (None, ()) and name != "steps"]
        if refused:
            raise click.UsageError(
                f"--resume takes a run as it was; only --steps may go with it, not {', '.join(refused)}"
            )
    settings = read_toml(config_path) if config_path else {}
    settings.update(given)
    for table, pairs in zip(_TABLES, (options, task_options, verifier_options, trl), strict=True):
        if pairs and isinstance(settings.setdefault(table, {}), dict):
            settings[table] |= _pairs(pairs)
    config = config_from(settings)
    display = Terminal()
    if check and beside is not None:
        raise click.UsageError("--check is of one run: leave out --beside, or give --method")
    if check:
        return _check(config, folder, display, as_json)
    folder = resume or folder or _next_folder(config)
    began = time.monotonic()

    def resumable() -> str:
        also = "" if beside is None else f" --beside {beside}"
        return f"go on with: didact train --resume {folder}{also}" if (folder / "config.json").is_file() else ""

    leave_at_once(lambda: "; ".join(filter(None, ("didact: interrupted", resumable()))))
    _quieten(display)
    from didact.training.run import resume_run, start_run

    results = []
    try:
        steps = given.get("steps")
        second = None if beside is None else _second(folder, beside, None if resume else config, steps)
        with display:
            if resume is not None:
                results.append(resume_run(folder, display, steps=steps, accept_changed_data=accept_changed_data))
            else:
                results.append(start_run(config, folder, display))
            if second is not None and results[0].finished:
                other, there = second
                display.note(f"beside it, with {beside}: {there}")
                if other is None:
                    results.append(resume_run(there, display, steps=steps, accept_changed_data=accept_changed_data))
                else:
                    results.append(start_run(other, there, display))
        shown = [Path(result.folder) for result in results[1:] if result.evaluations]
        page = str(write_report(folder, beside=shown)[0]) if report else None
    except BaseException as error:
        if not is_bad_input(error) and resumable():
            if shutil.disk_usage(folder).free < 1 << 24:
                error.add_note(f"the disk of {folder} is full")
            error.add_note(resumable())
        raise
    seconds = time.monotonic() - began
    if as_json:
        told = {**dataclasses.asdict(results[0]), "seconds": seconds, "report": page}
        click.echo(json.dumps({**told, "beside": dataclasses.asdict(results[1])} if results[1:] else told))
    else:
        _say_how_it_ended(results, page, seconds, resumable())
    return 0 if all(result.finished for result in results) else 130


def _second(folder: Path, method: str, first: TrainConfig | None, steps: int | None) -> tuple[TrainConfig | None, Path]:
    """The run beside another: its settings, or None to go on with it, and its folder. It is refused before the first,
    which is new or is gone on with where `first` is None, has cost anything."""
    from didact.training.config import read_config
    from didact.training.preparation import check_method
    from didact.training.run import refuse_unless_empty

    there = folder.with_name(f"{folder.name}-{method.rpartition(':')[2]}")
    if first is None and (there / "config.json").is_file():
        return None, there
    settings = (read_config(folder / "config.json") if first is None else first).to_dict()
    settings |= {"method": method, "method_options": {}, **({} if steps is None else {"steps": steps})}
    config = config_from(settings)
    check_method(config)
    refuse_unless_empty(there)
    return config, there


def _check(config: TrainConfig, folder: Path | None, display: Terminal, as_json: bool) -> int:
    leave_at_once(lambda: "didact: interrupted")
    _quieten(display)
    from didact.training.check import check_run
    from didact.training.run import refuse_unless_empty

    if folder is not None:
        refuse_unless_empty(folder)
    with display:
        checked = check_run(config, display)
    click.echo(json.dumps(dataclasses.asdict(checked)) if as_json else "\n".join(checked.lines()))
    return 0


def _say_how_it_ended(results: list[Any], page: str | None, seconds: float, resumable: str) -> None:
    first = results[0]
    if first.finished:
        took = f", in {seconds:.0f} s"
        click.echo(f"{_gain(first)}{took if len(results) == 1 else ''}")
        for other in results[1:]:
            if other.finished:
                click.echo(f"beside it, {other.folder}: {_gain(other)}; both{took}")
        for warning in filter(None, (result.warning for result in results)):
            click.echo(f"WARNING {warning}")
        click.echo(f"model   {first.folder}/model")
    if not (last := results[-1]).finished:
        click.echo(f"interrupted at step {last.steps}; {resumable}")
    if page:
        click.echo(f"report  {page}")


def _gain(result: Any) -> str:
    """What a finished run came to."""
    if not result.evaluations:
        spent = result.metrics
        return (
            f"trained for {result.steps:,} steps with {spent['rollouts']:,.0f} rollouts and "
            f"{spent['response_tokens']:,.0f} response tokens, without evaluation"
        )
    first, last = result.evaluations[0], result.evaluations[-1]
    what = "accuracy on training prompts" if last.get("on") else "held-out accuracy"
    errors = f" ({last['errors']:,} of {last['num_prompts']:,} could not be judged)" if last.get("errors") else ""
    return (
        f"{what} {first['pass_rate']:.3f} -> {last['pass_rate']:.3f}{errors} after {last['rollouts']:,} rollouts and "
        f"{last['tokens']:,} response tokens"
    )


def _plain(value: Any) -> Any:
    """What a flag was given: one text, or a list where it was given several times."""
    return value if not isinstance(value, tuple) else value[0] if len(value) == 1 else list(value)


def _pairs(pairs: tuple[str, ...]) -> dict[str, Any]:
    values = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{pair!r} is not KEY=VALUE")
        try:
            values[key] = tomllib.loads(f"value = {text}")["value"]
            json.dumps(values[key])
        except (tomllib.TOMLDecodeError, TypeError):
            values[key] = text  # a bare word is a string, and so is a date
    return values


def _next_folder(config: TrainConfig) -> Path:
    stem = f"{config.task.replace(':', '-')}-{config.method.rpartition(':')[2]}"
    number = 1
    while (Path("runs") / f"{stem}-{number}").exists():
        number += 1
    return Path("runs") / f"{stem}-{number}"


def _quieten(display: Terminal) -> None:
    """Keep other libraries' progress bars and notices from breaking ours, and show the curriculum's own warnings and
    what it logs. Only the command line does this."""
    import logging
    import os
    import warnings

    from didact.silence import NothingLearnt

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", NothingLearnt)
    warnings.showwarning = lambda message, *_, **__: display.note(f"WARNING: {message}")
    own = logging.getLogger("didact")
    own.handlers[:] = [Notes(display)]
    own.setLevel(logging.INFO)
    for name in ("huggingface_hub", "trl", "math_verify"):  # each retry, response without a reward, switch
        logging.getLogger(name).setLevel(logging.ERROR)
    import datasets
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
