"""Didact in Unsloth: the TRL adapter's mixin in front of Unsloth's GRPOTrainer.

    import unsloth_recipe                     # first of all: it imports unsloth, which rewrites TRL's trainers
    model, tokenizer = unsloth_recipe.FastLanguageModel.from_pretrained(...)
    trainer = unsloth_recipe.CurriculumTrainer(..., curriculum="cures")   # all else as with Unsloth's GRPOTrainer

All that docs/trl.md says holds. Written against unsloth 2026.10.9 with TRL 1.14.0 (Unsloth takes TRL up to 1.15.0, the
adapter takes 1.9 to 1.16 without 1.15.0).

Cannot be expressed: Unsloth's own reckoning by groups of num_generations neighbours, which must stay off because
groups may differ in size: the prefix grouper (one forward pass for a prompt shared by its completions: this file turns
it off), UNSLOTH_GRPO_ZERO_VARIANCE_EXCLUDE and UNSLOTH_GRPO_LOSS_AGGREGATION (refused).
"""

import os
import sys
from typing import Any

if "unsloth" in sys.modules:
    raise ImportError("import this file before unsloth: it sets what unsloth reads when it is imported")
_BY_NEIGHBOURS = ("UNSLOTH_GRPO_ZERO_VARIANCE_EXCLUDE", "UNSLOTH_GRPO_LOSS_AGGREGATION")
if _SET := [name for name in _BY_NEIGHBOURS if os.environ.get(name, "0") not in ("", "0")]:
    raise ValueError(f"{_SET[0]} takes groups to be num_generations neighbouring rows: unset it to use a curriculum")
os.environ["UNSLOTH_GRPO_PREFIX_GROUPER"] = "0"  # read when unsloth is imported

from unsloth import FastLanguageModel  # noqa: E402, I001  (before trl)
import unsloth.models.rl  # noqa: E402, F401  (rewrites TRL's trainers where there is no GPU, too)
from trl import GRPOTrainer  # noqa: E402

from didact.adapters.trl import CurriculumMixin  # noqa: E402

__all__ = ["CurriculumTrainer", "FastLanguageModel"]


class _Unsloth(GRPOTrainer):  # type: ignore[misc]
    """Unsloth's trainer; its wrapper takes any arguments, and the adapter checks names."""

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        return dict(super()._generate_and_score_completions(inputs))


class CurriculumTrainer(CurriculumMixin, _Unsloth):
    """Unsloth's GRPOTrainer with a curriculum; `CurriculumMixin` says what arguments it adds."""
