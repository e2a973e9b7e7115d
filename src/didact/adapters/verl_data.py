"""What both verl adapters read alike: the curriculum's settings in verl's configuration, the prompts in its data set.

    +data.curriculum.method=mopps        a method of `didact methods`; needed
    +data.curriculum.prompt_id=index     a key of extra_info, or a column, with unique ids
    +data.curriculum.verifier=acc        a score of the reward function that is the evidence; else the summed reward
    +data.curriculum.run=FOLDER          journal, metrics and prompts for `didact inspect`, `report` and `replay`
    +data.curriculum.NAME=VALUE          any option of the method

Imports nothing of verl, so that it reads alike with every version of it.
"""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from didact.curriculum import Curriculum
from didact.files import write_whole
from didact.journal import Journal, RecordedCurriculum, read_journal
from didact.methods import make
from didact.prompts import PromptPool


@dataclass(frozen=True)
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
        ValueError: no method. TypeError: `data.curriculum` is no mapping.
    """
    from omegaconf import OmegaConf

    given = data_config.get("curriculum")
    given = OmegaConf.to_container(given, resolve=True) if OmegaConf.is_config(given) else given
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"data.curriculum must hold options by name, got {given!r}; write data.curriculum.method=NAME")
    options = dict(given or {})
    own = {name: options.pop(name) for name in ("method", "prompt_id", "verifier", "run") if name in options}
    if not own.get("method"):
        raise ValueError("no curriculum was chosen: add +data.curriculum.method=NAME; `didact methods` lists the names")
    return Settings(**own, options=options)


def rollouts_per_prompt(data_config: Any) -> int:
    """`actor_rollout_ref.rollout.n` of the configuration that `data_config` is a part of.

    Raises:
        ValueError: it is not part of a whole configuration.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import ConfigKeyError

    key, num = "actor_rollout_ref.rollout.n", None
    with suppress(ConfigKeyError):  # where `data_config` stands alone
        num = OmegaConf.select(data_config, f"..{key}")
    if num is None:
        raise ValueError(f"{key} is not to be found from config.data: hand over the node of verl's whole configuration")
    return int(num)


def prompt_id_of(row: Mapping[str, Any], key: str) -> str:
    """The id of a data set's row: `data_source/index` by default, else what `key` names in `extra_info` or the row.

    Raises:
        ValueError: the row has no such entry.
    """
    info = row.get("extra_info") or {}
    value = info[key] if key in info else row.get(key)
    if value is None:
        known = ", ".join(map(str, info)) or "nothing"
        raise ValueError(
            f"no prompt id: neither extra_info (which holds {known}) nor a column has {key!r}; "
            "name one that does by +data.curriculum.prompt_id=KEY"
        )
    return f"{row.get('data_source', '')}/{value}" if key == "index" else str(value)


def pool_of(dataset: Any, key: str) -> PromptPool:
    """The prompts of verl's RLHFDataset, in its own order.

    `source` is the column data_source; difficulty, prompt_tokens and features are taken from columns or from keys of
    extra_info where every prompt has them.

    Raises:
        TypeError: a data set without a table. ValueError: ids that are missing or not unique.
    """
    table: Any = getattr(dataset, "dataframe", None)
    if not hasattr(table, "column_names"):
        raise TypeError(f"a curriculum needs verl's RLHFDataset or a subclass of it, got {type(dataset).__name__}")
    size, names = len(table), set(table.column_names)
    infos = [info or {} for info in table["extra_info"]] if "extra_info" in names else [{}] * size
    sources = list(table["data_source"]) if "data_source" in names else [""] * size
    own = table[key] if key in names else [None] * size
    rows = zip(sources, infos, own, strict=True)
    ids = [prompt_id_of({"data_source": source, "extra_info": info, key: value}, key) for source, info, value in rows]
    columns: dict[str, Any] = {"source": sources}
    for name in ("difficulty", "prompt_tokens", "features"):
        values = list(table[name]) if name in names else [info.get(name) for info in infos]
        if all(value is not None for value in values):
            columns[name] = values
    try:
        return PromptPool(ids, **columns)
    except ValueError as error:
        raise ValueError(
            f"the data set's prompts: {error}; +data.curriculum.prompt_id=KEY names a key of extra_info that is unique"
        ) from error


def curriculum_of(settings: Settings, pool: PromptPool, **usual: Any) -> Curriculum:
    """The curriculum that the settings name; `usual` are default options. Raises what `make` raises."""
    return make(settings.method, pool, **{**usual, **settings.options})


def recorded(curriculum: Curriculum, run: str) -> RecordedCurriculum:
    """The curriculum with its journal, metrics and prompts in a run folder.

    Raises:
        ValueError: the folder holds a run with other prompts, or a damaged journal.
    """
    folder = Path(run)
    folder.mkdir(parents=True, exist_ok=True)
    _write_prompts(folder / "prompts.jsonl", curriculum.pool)
    journal = Journal(folder / "journal.jsonl")
    if len(read_journal(journal.path)) < 2:  # a run that planned nothing, perhaps with another method
        journal.rewind(0)
    return RecordedCurriculum(curriculum, journal, Journal(folder / "metrics.jsonl"))


def scores_of(non_tensor_batch: Mapping[str, Any], totals: Any, verifier: str | None) -> np.ndarray:
    """The evidence, shape (rows,): the reward function's score called `verifier`, or the summed reward.

    Raises:
        ValueError: the reward function returned no such score.
    """
    if verifier is None:
        return np.asarray(totals, dtype=np.float64)
    if verifier not in non_tensor_batch:
        raise ValueError(
            f"data.curriculum.verifier={verifier}: the reward function returned no such score; "
            f"the batch has {', '.join(sorted(non_tensor_batch))}"
        )
    return np.array([math.nan if score is None else float(score) for score in non_tensor_batch[verifier]])


def _write_prompts(path: Path, pool: PromptPool) -> None:
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
