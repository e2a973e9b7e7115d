"""Inner products of the gradients of single rollouts, for the allocation of CurES.

    gram[j, k] = <g_j, g_k>,   g_j = gradient of the summed log-probability of rollout j's completion tokens

That is all that `didact.methods.cures.gradient_moments` needs of the gradients (CurES, arXiv:2510.01037, eqs. 17-21).
Every parameter counts; the released code takes the input embedding alone, which `parameters` can ask for.

The cost is one forward and one backward pass for each rollout, more when the gradients must be computed in blocks of
parameters to stay within `max_bytes`. Sharded parameters (FSDP, ZeRO-3) are not gathered: give the whole model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


def gradient_gram(
    model: torch.nn.Module,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    completion_mask: torch.Tensor,
    parameters: Iterable[torch.nn.Parameter] | None = None,
    *,
    max_bytes: int = 2**32,
) -> NDArray[np.float64]:
    """The Gram matrix of n rollouts, shape (n, n). The model's mode and its `.grad` fields are left as they were.

    Args:
        model: a causal language model: `model(input_ids=...).logits`.
        input_ids, attention_mask, completion_mask: prompts and completions, shape (n, length), padded on either side.
        parameters: those that count; None: all that are trained.
        max_bytes: memory for the gradients, kept in float32.

    Raises:
        ValueError: masks of another shape, or no parameter.
    """
    import torch

    if not input_ids.shape == attention_mask.shape == completion_mask.shape:
        shapes = [tuple(tensor.shape) for tensor in (input_ids, attention_mask, completion_mask)]
        raise ValueError(f"input_ids, attention_mask and completion_mask must have one shape, got {shapes}")
    chosen = [p for p in (model.parameters() if parameters is None else parameters) if p.requires_grad]
    if not chosen:
        raise ValueError("there is no parameter that requires a gradient")
    num = len(input_ids)
    gram = np.zeros((num, num))
    training = model.training
    model.eval()  # dropout would make every gradient another one
    try:
        for block in _blocks(chosen, max_bytes // max(4 * num, 1)):
            rows = [
                _gradient(model, input_ids[row], attention_mask[row], completion_mask[row], block) for row in range(num)
            ]
            if rows:
                gradients = torch.stack(rows)
                gram += (gradients @ gradients.T).double().cpu().numpy()
    finally:
        model.train(training)
    return gram


def _gradient(
    model: torch.nn.Module,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    completion_mask: torch.Tensor,
    parameters: list[torch.nn.Parameter],
) -> torch.Tensor:
    """The gradient of one rollout as one float32 vector."""
    import torch

    real = attention_mask.bool()  # without its padding a rollout costs its own length and no more
    tokens, answered = input_ids[real], completion_mask[real].bool()[1:]
    with torch.enable_grad():
        logits = model(input_ids=tokens[None]).logits[0, :-1][answered]
        log_probability = -torch.nn.functional.cross_entropy(logits.float(), tokens[1:][answered], reduction="sum")
        found = torch.autograd.grad(log_probability, parameters, allow_unused=True)
    pieces = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
    return torch.cat([piece.reshape(-1).float() for piece in pieces])


def _blocks(parameters: list[torch.nn.Parameter], size: int) -> Iterator[list[torch.nn.Parameter]]:
    """Runs of parameters with at most `size` numbers, or of one that is larger."""
    block: list[torch.nn.Parameter] = []
    for parameter in parameters:
        if block and sum(p.numel() for p in block) + parameter.numel() > size:
            yield block
            block = []
        block.append(parameter)
    yield block
