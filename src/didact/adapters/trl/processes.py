"""What several processes do as one: the main one decides, and gradients are dealt out.

The curriculum, its journal and its state live on the main process; plans and decisions are sent to the others.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate.utils import broadcast_object_list, gather_object

from didact.adapters.gradients import gradient_gram
from didact.adapters.trl.rows import Rows

T = TypeVar("T")


class Elsewhere:
    """Stands for the curriculum on all processes but the main one."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"curriculum.{name}: it lives on the main process: ask there, `if trainer.is_world_process_zero()`"
        )


def on_main(accelerator: Any, work: Callable[[], T]) -> T:
    """What `work` gives on the main process, on every process; where it fails, all stop with its message."""
    if accelerator.num_processes == 1:
        return work()
    sent: list[Any] = [None, None]
    failure: Exception | None = None
    if accelerator.is_main_process:
        try:
            sent[0] = work()
        except Exception as error:
            failure, sent[1] = error, f"{type(error).__name__}: {error}"
    broadcast_object_list(sent)
    if failure is not None:
        raise failure
    if sent[1] is not None:
        raise RuntimeError(f"the main process stopped with {sent[1]}")
    result: T = sent[0]
    return result


def gradient_grams(accelerator: Any, model: Any, groups: list[list[int]], batch: Rows) -> list[np.ndarray]:
    """The Gram matrix of each group's rollouts, on every process. The groups are dealt out to the processes, whole.

    Args:
        groups: the rows of `batch` that each group has.
    """
    if not groups:
        return []
    num, me = accelerator.num_processes, accelerator.process_index
    dealt = np.repeat(np.arange(len(groups)) % num, [len(group) for group in groups])
    columns = batch.take(np.concatenate(groups), dealt)
    own = [index for index in range(len(groups)) if index % num == me]
    model = accelerator.unwrap_model(model)
    found, start = [], 0
    for index in own:
        part = slice(start, start + len(groups[index]))
        start = part.stop
        mask, answered = columns["prompt_mask"][part], columns["completion_mask"][part]
        ids = torch.cat([columns["prompt_ids"][part], columns["completion_ids"][part]], 1)
        completion = torch.cat([torch.zeros_like(mask), answered], 1)
        found.append((index, gradient_gram(model, ids, torch.cat([mask, answered], 1), completion)))
    return [gram for _, gram in sorted(gather_object(found), key=lambda pair: pair[0])]
