"""Didact: the curriculum engine for RL post-training of reasoning language models.

From the outcomes of rollouts it keeps a belief about how often the current policy passes each prompt, and plans what
comes next: which prompts, how many rollouts each, how long a context, and which groups to train on. It trains nothing
itself.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from didact.curriculum import Curriculum
    from didact.desk import Assignment, Dispatcher, Receipt
    from didact.method import Draft, Method, Turn, Verdict, option
    from didact.methods import METHODS, make
    from didact.outcomes import GroupOutcome
    from didact.pass_rates import PassRates
    from didact.plan import AdmittedGroup, Plan, PlannedGroup
    from didact.prompts import PromptPool

__version__ = "0.1.0"

__all__ = [
    "METHODS",
    "AdmittedGroup",
    "Assignment",
    "Curriculum",
    "Dispatcher",
    "Draft",
    "GroupOutcome",
    "Method",
    "PassRates",
    "Plan",
    "PlannedGroup",
    "PromptPool",
    "Receipt",
    "Turn",
    "Verdict",
    "make",
    "option",
]

_MODULES = {
    "curriculum": ("Curriculum",),
    "desk": ("Assignment", "Dispatcher", "Receipt"),
    "method": ("Draft", "Method", "Turn", "Verdict", "option"),
    "methods": ("METHODS", "make"),
    "outcomes": ("GroupOutcome",),
    "pass_rates": ("PassRates",),
    "plan": ("AdmittedGroup", "Plan", "PlannedGroup"),
    "prompts": ("PromptPool",),
}

if not TYPE_CHECKING:

    def __getattr__(name):
        """Load a name when it is asked for: the command line is there, and can be interrupted, before numpy is."""
        from importlib import import_module

        for module, names in _MODULES.items():
            if name in names:
                return getattr(import_module(f"didact.{module}"), name)
        raise AttributeError(f"module 'didact' has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})
