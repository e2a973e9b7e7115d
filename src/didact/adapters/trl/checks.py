"""What the TRL adapter settles or refuses before training starts, and in which words.

Whatever TRL's configuration asks for is done, or it is refused here: nothing is overridden in silence.
"""

import inspect
from importlib.metadata import version
from typing import Any

import numpy as np
from accelerate.utils import gather_object
from datasets import IterableDataset
from packaging.specifiers import SpecifierSet

from didact.journal import Recorder
from didact.prompts import as_id

SUPPORTED = SpecifierSet(">=1.9,<1.17,!=1.15.0")
SEAMS = {
    "_get_train_sampler": ["self", "dataset"],
    "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    "_generate_and_score_completions": ["self", "inputs"],
    "_save_checkpoint": ["self", "model", "trial"],
    "_load_optimizer_and_scheduler": ["self", "checkpoint"],
}
#: Keys of `generation_kwargs` that set what the curriculum or the adapter sets, and where it belongs.
LENGTHS = ("max_new_tokens", "max_tokens", "max_length", "max_time")
COUNTS = ("n", "num_return_sequences")
#: What an estimator of a method's own does in place of `scale_rewards`.
SCALES = {"grpo": "group", "rloo": "none", "dr_grpo": "none", "reinforce_pp": "batch", "reinforce_pp_baseline": "batch"}


def check_seams(trainer: type, mixin: type) -> None:
    """Make sure that what `mixin` extends in `trainer` is there as it was when this was written.

    Raises:
        TypeError: it is not, or this TRL was not tried.
    """
    installed = version("trl")
    if not SUPPORTED.contains(installed, prereleases=True):
        raise TypeError(f"TRL {installed} is outside the tested range; install 'trl{SUPPORTED}'")
    for name, expected in SEAMS.items():
        method = getattr(super(mixin, trainer), name, None)
        found = None if method is None else list(inspect.signature(inspect.unwrap(method)).parameters)
        if found != expected:
            raise TypeError(f"TRL {installed}: {name} has parameters {found}, not {expected}; install 'trl{SUPPORTED}'")


def ids_of(data: Any, column: str | None) -> list[str]:
    """The prompt ids of a data set, whole numbers as text."""
    if column is not None and column not in data.column_names:
        raise ValueError(
            f"prompt_id={column!r} names no column of the data set, which has {', '.join(data.column_names)}; leave it "
            "out to go by row numbers"
        )
    column = column or "prompt_id"
    if column not in data.column_names:
        return [str(row) for row in range(len(data))]
    return [as_id(each) for each in data[column]]


def evidence_of(trainer: Any, curriculum: Any, verifier: str | None) -> int | None:
    """The reward function that says whether a response is right; None where the weighted sum does, by `pass_above`."""
    names = trainer.reward_func_names
    if verifier is not None and names.count(verifier) != 1:
        found = "several" if verifier in names else "none"
        raise ValueError(f"verifier {verifier!r} is {found} of the reward functions {names}")
    counting = [index for index, weight in enumerate(trainer.reward_weights.tolist()) if weight]
    if verifier is not None:
        if curriculum.own_baseline and counting != [names.index(verifier)]:
            raise ValueError(
                f"method {curriculum.name!r} has baselines of its own, in units of the evidence: leave verifier out, "
                "so that the evidence is the reward that trains, and let curriculum_options={'pass_above': NUMBER} say "
                "from where on the weighted sum is a pass"
            )
        return None if curriculum.own_baseline else int(names.index(verifier))
    if len(counting) == 1:
        return None if curriculum.own_baseline else counting[0]
    if curriculum.options.get("pass_above") is None:
        choice = (
            "" if curriculum.own_baseline else "name it by verifier='NAME' (it changes nothing of what trains), or "
        )
        raise ValueError(
            f"several reward functions train ({', '.join(names)}), and nothing says which of them tells a right "
            f"response from a wrong one, so that a bonus for format would count as a pass: {choice}let "
            "curriculum_options={'pass_above': NUMBER} say from where on their weighted sum is a pass"
        )
    return None


def own_estimator(curriculum: Any) -> bool:
    """Whether advantages are those of the method's own estimator, and not those of TRL's configuration."""
    return curriculum.uneven or curriculum.own_baseline or curriculum.advantage not in ("rloo", "grpo")


def check_estimator(trainer: Any, curriculum: Any) -> None:
    if not own_estimator(curriculum):
        return
    own = f"method {curriculum.name!r} (groups of unequal sizes, or baselines of its own) brings its own estimator, "
    own += repr(curriculum.advantage)
    if trainer.multi_objective_aggregation != "sum_then_normalize":
        raise ValueError(
            f"{own}, of the weighted sum of rewards: multi_objective_aggregation="
            f"{trainer.multi_objective_aggregation!r} cannot be done; leave it out, or take a method of equal groups"
        )
    if trainer.scale_rewards not in ("group", scale := SCALES[curriculum.advantage]):
        raise ValueError(
            f"{own}, which scales rewards by {scale!r}: scale_rewards={trainer.scale_rewards!r} cannot be done; leave "
            "it out, or take a method of equal groups"
        )


def refuse(trainer: Any, data: Any, curriculum: Any = None) -> None:
    """Say now what would otherwise go wrong in silence."""
    if data is None or isinstance(data, IterableDataset):
        raise ValueError("a curriculum needs a train_dataset that can be indexed, not a streaming one")
    sizes = gather_object([len(data)])
    if len(set(sizes)) > 1:
        raise ValueError(
            f"the processes loaded data sets of {sizes} rows: a plan names rows, so all must load the same"
        )
    opened = gather_object([isinstance(getattr(curriculum, "listener", None), Recorder)])
    if any(opened[1:]):
        raise ValueError(
            f"{sum(opened)} processes opened a journal, and only the main one keeps it: delete the file and give "
            "`curriculum` a function that makes the curriculum of the pool; it is called on the main process only"
        )
    if images := {"image", "images"} & set(data.column_names):
        raise ValueError(f"data set column {images.pop()!r}: prompts with images cannot be regrouped")
    given = trainer.args.generation_kwargs or {}
    for keys, instead in ((LENGTHS, "length of responses, by max_completion_length or its context"),
                          (COUNTS, "number of rollouts, on average num_generations")):  # fmt: skip
        if found := sorted(set(keys) & set(given)):
            raise ValueError(f"generation_kwargs sets {found[0]}, and the curriculum sets the {instead}: leave it out")
    args, window = trainer.args, trainer.args.steps_per_generation * trainer.num_iterations
    if args.save_strategy == "steps" and (
        args.save_steps < 1 or args.save_steps * args.gradient_accumulation_steps % window
    ):
        raise ValueError(
            f"save_steps={args.save_steps} would save inside a generation window, from which no run can be resumed "
            f"exactly; make it a multiple of {window // np.gcd(window, args.gradient_accumulation_steps)}"
        )
