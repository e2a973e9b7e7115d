"""What both verl adapters read alike in verl's data set and batches: the prompts, and what a rollout is evidence of.

Imports nothing of verl, so that it reads alike with every version of it.
"""

import logging
import math
from collections import Counter
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np

from didact.adapters.fingerprint import difference, fingerprint, num_repeated, telling
from didact.features import WordFeatures, text_of
from didact.pool_columns import COLUMNS
from didact.prompts import PromptPool

logger = logging.getLogger(__name__)


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


def pool_of(dataset: Any, key: str, *, words: bool = False) -> PromptPool:
    """The prompts of verl's RLHFDataset, in its own order.

    `source` is the column data_source; difficulty, prompt_tokens, features and pass_rate are taken from columns or from
    keys of extra_info, None where a prompt has none. What a method makes of them is its own affair. With `words`, a
    data set without features gets those of its prompts' words.

    Raises:
        TypeError: a data set without a table. ValueError: ids that are missing or not unique.
    """
    table = table_of(dataset)
    size, names = len(table), set(table.column_names)
    infos = [info or {} for info in table["extra_info"]] if "extra_info" in names else [{}] * size
    sources = list(table["data_source"]) if "data_source" in names else [""] * size
    own = table[key] if key in names else [None] * size
    rows = zip(sources, infos, own, strict=True)
    ids = [prompt_id_of({"data_source": source, "extra_info": info, key: value}, key) for source, info, value in rows]
    if len(set(ids)) < size:
        raise ValueError(_repeated_ids(table, infos, ids, key))
    prompts = table["prompt"] if "prompt" in names else ()
    if repeated := num_repeated(prompts):
        logger.warning(
            "%d of %d prompts repeat the text of another: each has a belief of its own, which its own rollouts alone "
            "inform; keep one row of each text", repeated, size,
        )  # fmt: skip
    columns: dict[str, Any] = {"source": sources}
    for name in COLUMNS[1:]:
        values = list(table[name]) if name in names else [info.get(name) for info in infos]
        if any(value is not None for value in values):
            columns[name] = values
    if words and "features" not in columns and "prompt" in names:
        texts = list(map(text_of, prompts))
        columns["features"] = WordFeatures(texts).of(texts)
    return PromptPool(ids, **columns)


def table_of(dataset: Any) -> Any:
    """The table of verl's RLHFDataset. Raises TypeError where there is none."""
    table = getattr(dataset, "dataframe", None)
    if not hasattr(table, "column_names"):
        raise TypeError(f"a curriculum needs verl's RLHFDataset or a subclass of it, got {type(dataset).__name__}")
    return table


def mark_of(dataset: Any) -> dict[str, Any]:
    """The fingerprint of verl's RLHFDataset, by which a checkpoint knows it again."""
    table = table_of(dataset)
    return fingerprint({name: table[name] for name in telling(table.column_names)}, len(table))


def check_mark(saved: Mapping[str, Any] | None, dataset: Any) -> None:
    """Make sure that a run goes on with the data it was saved with; None is of a checkpoint that does not know.

    Raises:
        ValueError: it does not.
    """
    if saved and (what := difference(saved, mark_of(dataset))):
        raise ValueError(
            f"the checkpoint was saved with another data set: {what}, and what is believed is of those. Give "
            "data.train_files as they were then, or start anew"
        )


def evidence_of(scores: Mapping[str, Any], total: float, verifier: str | None) -> float:
    """What one rollout says of its prompt's pass rate; nan is nothing.

    Args:
        scores: what the reward function returned besides its score.
        total: the summed reward, with what verl or the reward function adds for length or format.
        verifier: which of the scores it is; None takes `acc`, verl's own name for right or wrong, and the summed reward
            where there is none.

    Raises:
        ValueError: the reward function returned no such score.
    """
    if verifier is None and scores.get("acc") is None:
        return float(total)
    name = verifier or "acc"
    if name not in scores:
        known = ", ".join(sorted(scores)) or "nothing"
        raise ValueError(f"data.curriculum.verifier={name}: the reward function returned only {known} besides")
    return math.nan if scores[name] is None else float(scores[name])


def scores_of(non_tensor_batch: Mapping[str, Any], totals: Any, verifier: str | None) -> np.ndarray:
    """The evidence of the rows of a batch, shape (rows,). See `evidence_of`."""
    columns = {name: non_tensor_batch[name] for name in {verifier or "acc"} & set(non_tensor_batch)}
    if verifier is not None and not columns:
        raise ValueError(
            f"data.curriculum.verifier={verifier}: the reward function returned no such score; "
            f"the batch has {', '.join(sorted(non_tensor_batch))}"
        )
    rows = ({name: column[row] for name, column in columns.items()} for row in range(len(totals)))
    return np.array([evidence_of(row, total, verifier) for row, total in zip(rows, totals, strict=True)])


def _repeated_ids(table: Any, infos: list[Mapping[str, Any]], ids: list[str], key: str) -> str:
    """Why ids are not unique, and what can be done about it."""
    counts = Counter(ids)
    name, num = counts.most_common(1)[0]
    rows = [row for row, each in enumerate(ids) if each == name]
    same = "prompt" in table.column_names and num_repeated(table.select(rows)["prompt"]) == num - 1
    said = f"the data set's {len(ids)} rows have {len(counts)} prompt ids: {name!r} is that of {num} rows"
    if same:
        return f"{said}, with one and the same prompt; keep one row of each prompt (a curriculum repeats them itself)"
    values: dict[str, list[Any]] = {each: [info.get(each) for info in infos] for each in dict.fromkeys(chain(*infos))}
    values |= {each: list(table[each]) for each in table.column_names if each not in values}
    usable = [
        each for each, column in values.items()
        if each != key and set(map(type, column)) <= {int, str} and len(set(map(str, column))) == len(ids)
    ]  # fmt: skip
    if usable:
        return f"{said}, with different prompts; name another key, +data.curriculum.prompt_id={' or '.join(usable)}"
    return (
        f"{said}, with different prompts, and no key of extra_info and no column is unique: add one (a row number will "
        "do) and name it by +data.curriculum.prompt_id=KEY"
    )
