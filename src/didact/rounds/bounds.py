"""Bounds on the rollouts of a prompt, checked against the budget before a run."""

from didact.method import Run


def check_bounds(run: Run, least: int, most: int | None) -> None:
    """Refuse bounds that no allocation of the budget can keep.

    Raises:
        ValueError: says which, and what the budget is.
    """
    prompts, budget = run.prompts_per_step, run.rollouts_per_step
    if least * min(prompts, len(run.pool)) > budget:
        raise ValueError(f"min_rollouts={least} for {prompts} prompts does not fit rollouts_per_step={budget}")
    if most is not None and most * prompts < budget:
        raise ValueError(f"max_rollouts={most} for {prompts} prompts cannot use up rollouts_per_step={budget}")
    if most is not None and most < least:
        raise ValueError(f"max_rollouts={most} is less than min_rollouts={least}")
