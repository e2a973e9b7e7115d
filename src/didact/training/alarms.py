"""What is said aloud, or stops a run, when rollouts are paid for and nothing can be learnt from them."""

from collections.abc import Sequence
from typing import Final

from didact.tasks.verifier import Score
from didact.training.config import TrainConfig
from didact.training.display import Display

#: Verdicts in a row, in steps' worth of rollouts, that are all errors before a run stops.
ERROR_STEPS: Final = 3
#: Steps in a row without a group with signal that trains before it is said; then again at 10, 20, 40, ...
SILENT_STEPS: Final = 5
_FIGURES: Final = (
    *("rollouts", "rollouts_errored", "rollouts_truncated"),
    *("groups", "groups_trained", "groups_with_signal", "groups_all_pass", "groups_all_fail"),
)


class VerifierFailedError(RuntimeError):
    """The verifier judged nothing; it has to be mended before the run can go on."""


class Alarms:
    """Watches the verdicts and the figures of a run. It has no state that outlives the process."""

    def __init__(self, config: TrainConfig, display: Display) -> None:
        self._config, self._display = config, display
        self._limit = self._next = ERROR_STEPS * config.rollouts_per_step
        self._verdicts = self._errors = self._in_a_row = self._silent = 0
        self._since = dict.fromkeys(_FIGURES, 0.0)  # at the latest step that trained on signal

    def judged(self, scores: Sequence[Score]) -> None:
        """Take in the verdicts on rollouts, in order.

        Raises:
            VerifierFailedError: the latest `ERROR_STEPS` steps' worth of them are all errors.
        """
        detail = ""
        for score in scores:
            self._in_a_row = self._in_a_row + 1 if score.errored else 0
            detail = score.detail or detail
        self._verdicts += len(scores)
        self._errors += sum(score.errored for score in scores)
        if self._in_a_row >= self._limit:
            raise VerifierFailedError(
                f"every verdict on the last {self._in_a_row:,} rollouts ({ERROR_STEPS} steps' worth) was an error of "
                f"the verifier {self._config.task!r}: {detail}; nothing can be learnt from them; mend it first"
            )
        if self._verdicts >= self._next and 2 * self._errors > self._verdicts:
            self._next = 2 * self._verdicts
            self._display.note(
                f"WARNING: {self._errors:,} of {self._verdicts:,} verdicts are errors of the verifier ({detail}): "
                "these rollouts teach nothing, and the others are a selection; stop with Ctrl-C and mend it"
            )

    def stepped(self, metrics: dict[str, float]) -> None:
        """Take in the curriculum's figures after a step."""
        new = {name: metrics[name] - self._since[name] for name in _FIGURES}
        if new["groups_with_signal"] and new["groups_trained"]:
            self._since, self._silent = {name: metrics[name] for name in _FIGURES}, 0
            return
        self._silent += 1
        if self._silent % SILENT_STEPS == 0 and (self._silent // SILENT_STEPS).bit_count() == 1:
            self._display.note(
                f"WARNING: nothing to learn from in the last {self._silent:,} steps and {new['rollouts']:,.0f} "
                f"rollouts: {_reason(new, self._config)}"
            )


def nothing_learnt(metrics: dict[str, float]) -> str | None:
    """What to say of a run in which no group had signal at all; None of any other."""
    if not metrics["rollouts"] or metrics["groups_with_signal"]:
        return None
    return (
        f"none of the {metrics['groups']:,.0f} groups had signal: in each, all rollouts passed, all failed or none "
        "could be judged, so the model has learnt nothing"
    )


def _reason(new: dict[str, float], config: TrainConfig) -> str:
    """The likely reason for groups without signal, and what to do about it."""
    rollouts, groups = max(new["rollouts"], 1), max(new["groups"], 1)
    if new["rollouts_errored"] >= 0.9 * rollouts:
        return "the verifier failed on nearly all of them; mend it"
    if new["rollouts_errored"] + new["rollouts_truncated"] >= 0.9 * rollouts:
        return (
            f"{new['rollouts_truncated']:,.0f} were cut off by the context length; raise max_completion_length "
            f"(now {config.max_completion_length:,})"
        )
    if new["groups_with_signal"]:
        return f"{new['groups_with_signal']:,.0f} groups had signal and none was admitted; see the option admission"
    if new["groups_all_pass"] >= 0.9 * groups:
        return "nearly all groups passed as a whole; give harder prompts"
    if new["groups_all_fail"] >= 0.9 * groups:
        return (
            "nearly all groups failed as a whole; give easier prompts, or see whether the verifier finds the answers: "
            "--trl log_completions=true prints responses"
        )
    return (
        f"{new['groups_all_pass']:,.0f} groups passed and {new['groups_all_fail']:,.0f} failed as a whole; roll out "
        "more for each prompt (rollouts_per_step / prompts_per_step), or give other prompts"
    )
