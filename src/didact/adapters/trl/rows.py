"""The rows of a step in TRL, from the process that rolled them out to the one that trains them.

Every process knows each row's group, rewards, length and where it lies. The token columns stay where they were made;
rows that train move once, so that every process gets equally many. What is discarded never moves.
"""

from typing import Any

import numpy as np
import torch
from torch.distributed import all_to_all_single

LEFT_OUT = ("num_items_in_batch", "advantages")  # made anew for the rows that train


class Rows:
    """What a step has rolled out so far, row by row. A row is a number, the same on every process.

    Args:
        accelerator: accelerate's Accelerator, of whose processes row n lies on `homes[n]`.
        pad: the token that fills up ids.
    """

    def __init__(self, accelerator: Any, pad: int) -> None:
        self.outputs: list[dict[str, torch.Tensor]] = []  # the columns of this process's own rows, call by call
        self.groups: dict[int, list[int]] = {}  # rows of each group, in the order observed
        self.rewards = np.zeros((0, 0))  # (rows, reward functions)
        self.lengths: list[int] = []  # response tokens of each row
        self.homes = np.zeros(0, dtype=np.int64)  # the process that holds each row
        self.waited = 0  # so many rows, the first, are from earlier steps
        self._accelerator = accelerator
        self._pad = pad

    @property
    def size(self) -> int:
        return len(self.lengths)

    def add(self, output: dict[str, Any], rewards: np.ndarray, lengths: list[int]) -> None:
        """Take in one call of TRL: its output on this process; rewards and lengths of all, in the order of ranks."""
        columns = {name: column for name, column in output.items() if name not in LEFT_OUT}
        self.outputs.append(columns)
        self.rewards = np.concatenate([self.rewards.reshape(-1, rewards.shape[1]), rewards])
        self.lengths += lengths
        num = self._accelerator.num_processes
        self.homes = np.concatenate([self.homes, np.repeat(np.arange(num), len(lengths) // num)])

    def take(self, rows: np.ndarray, targets: np.ndarray) -> dict[str, torch.Tensor]:
        """The columns of those `rows` whose target is this process, in the order given; called by all processes."""
        me, num = self._accelerator.process_index, self._accelerator.num_processes
        homes = self.homes[rows]
        here = np.flatnonzero(self.homes == me)
        if (homes == targets).all():
            own = torch.from_numpy(np.searchsorted(here, rows[homes == me]))
            return {name: self.column(name)[own] for name in self.outputs[0]}
        sent, wanted = np.flatnonzero(homes == me), np.flatnonzero(targets == me)
        sent = sent[np.argsort(targets[sent], kind="stable")]
        order = torch.from_numpy(np.argsort(np.argsort(homes[wanted], kind="stable")))  # from order of arrival
        leaving = np.bincount(targets[sent], minlength=num).tolist()
        arriving = np.bincount(homes[wanted], minlength=num).tolist()
        own = torch.from_numpy(np.searchsorted(here, rows[sent]))
        columns = {name: self.column(name)[own] for name in self.outputs[0]}
        own_widths = torch.tensor([[column.shape[-1] for column in columns.values()]], device=self._accelerator.device)
        widths = self._accelerator.gather(own_widths).max(0).values.tolist()
        for (name, column), width in zip(columns.items(), widths, strict=True):
            column = self._widen(name, column, width) if column.dim() == 2 else column
            found = column.new_empty((len(wanted), *column.shape[1:]))
            all_to_all_single(found, column.contiguous(), arriving, leaving)
            columns[name] = found[order.to(found.device)]
        return columns

    def column(self, name: str) -> torch.Tensor:
        """One column of this process's rows, padded to one width: prompts on the left, the rest on the right."""
        parts = [output[name] for output in self.outputs]
        if parts[0].dim() == 2:
            width = max(part.shape[1] for part in parts)
            parts = [self._widen(name, part, width) for part in parts]
        return torch.cat(parts)

    def only(self, group_ids: list[int]) -> "Rows":
        """The rows of some groups, for a later step."""
        kept = Rows(self._accelerator, self._pad)
        chosen = np.array([row for group_id in group_ids for row in self.groups[group_id]], dtype=np.int64)
        if not len(chosen):
            return kept
        kept.outputs, kept.homes = [self.take(chosen, self.homes[chosen])], self.homes[chosen]
        kept.rewards, kept.lengths = self.rewards[chosen], [self.lengths[row] for row in chosen]
        kept._count([(group_id, len(self.groups[group_id])) for group_id in group_ids])
        return kept

    def state_dict(self) -> dict[str, Any]:
        """All rows, for a checkpoint; called by all processes, whole on the main one."""
        rows = np.arange(self.size)
        columns = self.take(rows, np.zeros_like(rows)) if self.size else {}
        return {
            "columns": {name: (column.float() if column.dtype == torch.bfloat16 else column).cpu().numpy()
                        for name, column in columns.items()},
            "kinds": {name: str(column.dtype).removeprefix("torch.") for name, column in columns.items()},
            "rewards": self.rewards,
            "lengths": self.lengths,
            "groups": [[group_id, len(rows)] for group_id, rows in self.groups.items()],
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take in rows that waited at a checkpoint, shared out over the processes of now."""
        if not state["lengths"]:
            return
        device, kinds = self._accelerator.device, state["kinds"]
        shares = np.array_split(np.arange(len(state["lengths"])), self._accelerator.num_processes)
        self.homes = np.repeat(np.arange(len(shares)), [len(share) for share in shares])
        own = shares[self._accelerator.process_index]
        columns = {name: np.array(column)[own] for name, column in state["columns"].items() if name not in LEFT_OUT}
        self.outputs = [
            {name: torch.from_numpy(column).to(device, getattr(torch, kinds[name])) for name, column in columns.items()}
        ]
        self.rewards, self.lengths = np.array(state["rewards"]), [int(length) for length in state["lengths"]]
        self._count([(int(group_id), num) for group_id, num in state["groups"]])

    def _count(self, sizes: list[tuple[int, int]]) -> None:
        """Groups that wait lie one behind the other."""
        start = 0
        for group_id, num in sizes:
            self.groups[group_id] = list(range(start, start + num))
            start += num
        self.waited = start

    def _widen(self, name: str, column: torch.Tensor, width: int) -> torch.Tensor:
        room = width - column.shape[1]
        sides = (room, 0) if name.startswith("prompt_") else (0, room)
        value = self._pad if name.endswith("_ids") else float(name == "tool_mask")
        return torch.nn.functional.pad(column, sides, value=value)
