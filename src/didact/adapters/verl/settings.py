"""The curriculum's settings in verl's configuration, which both verl adapters read alike.

    +data.curriculum.method=mopps        a method of `didact methods`; needed
    +data.curriculum.prompt_id=index     a key of extra_info, or a column, with unique ids
    +data.curriculum.verifier=acc        a score of the reward function that is the evidence; else its `acc`, or the
                                         summed reward where it gives none
    +data.curriculum.run=FOLDER          journal, metrics and prompts for `didact inspect`, `report` and `replay`
    +data.curriculum.NAME=VALUE          any option of the method

Imports nothing of verl, so that it reads alike with every version of it.
"""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from didact.curriculum import Curriculum
from didact.files import write_whole
from didact.journal import Journal, read_journal, record
from didact.methods import make
from didact.pool import Pool
from didact.prompts import PromptPool
from didact.settings import from_table

#: How a user says what a pass is.
PASS_ABOVE = "+data.curriculum.pass_above=NUMBER"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`data.curriculum` of verl's configuration; `options` are the method's own."""

    method: str
    prompt_id: str = "index"
    verifier: str | None = None
    run: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


def settings_of(data_config: Mapping[str, Any]) -> Settings:
    """Read `data.curriculum`; options are the method's, which takes lists and words as a configuration has them.

    Raises:
        ValueError: no method, or a setting of the wrong type. TypeError: `data.curriculum` is no mapping.
    """
    given = _resolved(data_config.get("curriculum"))
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"data.curriculum must hold options by name, got {given!r}; write data.curriculum.method=NAME")
    options = dict(given or {})
    names = [each.name for each in fields(Settings) if each.name != "options"]
    own = {name: options.pop(name) for name in names if name in options}
    if not own.get("method"):
        raise ValueError("no curriculum was chosen: add +data.curriculum.method=NAME; `didact methods` lists the names")
    return from_table(Settings, {**own, "options": options}, "curriculum")


def setting(data_config: Any, name: str, *, needed: bool = True) -> Any:
    """A setting of the whole configuration that `data_config`, its node data, is a part of; None if it is not set.

    Raises:
        ValueError: it is needed and not to be found, perhaps since `data_config` stands alone.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import ConfigKeyError

    value = None
    with suppress(ConfigKeyError):  # where `data_config` stands alone
        value = OmegaConf.select(data_config, f"..{name}")
    if value is None and needed:
        raise ValueError(f"{name} is not to be found from config.data: hand over a node of verl's whole configuration")
    return value


def rollouts_per_prompt(data_config: Any) -> int:
    """`actor_rollout_ref.rollout.n` of the configuration that `data_config` is a part of. Raises as `setting`."""
    return int(setting(data_config, "actor_rollout_ref.rollout.n"))


def curriculum_of(settings: Settings, pool: PromptPool, **usual: Any) -> Curriculum:
    """The curriculum that the settings name; `usual` are default options. Raises what `make` raises."""
    return make(settings.method, pool, **{**usual, **settings.options})


def record_run(curriculum: Curriculum, run: str) -> Path:
    """Have the curriculum's journal, metrics and prompts kept in a run folder; gives the path of the journal.

    Raises:
        ValueError: the folder holds a run with other prompts, or a damaged journal.
    """
    folder = Path(run)
    folder.mkdir(parents=True, exist_ok=True)
    _write_prompts(folder / "prompts.jsonl", curriculum.pool)
    with Journal(folder / "journal.jsonl") as journal:
        if len(read_journal(journal.path)) < 2:  # a run that planned nothing, perhaps with another method
            journal.rewind(0)
    record(curriculum, folder)
    return journal.path


def _resolved(config: Any) -> Any:
    """A configuration of omegaconf's as plain values; anything else as it is."""
    try:
        from omegaconf import OmegaConf
    except ImportError:  # then it is none of omegaconf's
        return config
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config


def _write_prompts(path: Path, pool: Pool) -> None:
    given = {name: pool.given(name) for name in ("source", "difficulty", "prompt_tokens", "pass_rate")}
    names = [name for name, column in given.items() if column is not None]
    columns = [pool.ids.tolist(), *(column.tolist() for column in given.values() if column is not None)]
    rows = (dict(zip(["prompt_id", *names], values, strict=True)) for values in zip(*columns, strict=True))
    text = "".join(json.dumps({name: _plain(value) for name, value in row.items()}, default=str) + "\n" for row in rows)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ValueError(f"{path} lists other prompts: data.curriculum.run holds another run; name another folder")
    write_whole(path, text)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
