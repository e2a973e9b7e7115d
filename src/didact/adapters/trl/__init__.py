"""TRL: GRPO on stock TRL, with the curriculum deciding what is rolled out and what trains.

    from didact.adapters.trl import CurriculumGRPOTrainer
    trainer = CurriculumGRPOTrainer(..., train_dataset=dataset, curriculum="cures")     # all else as with GRPOTrainer

`CurriculumMixin` goes in front of any subclass of `GRPOTrainer`. TRL's loader reads one batch ahead, so it is fed
placeholders; the plan is made when completions are generated, from everything observed until then. Groups may have any
sizes, a step may take several rounds, the context length may change, and the curriculum's state lies in TRL's own
checkpoints, each with a manifest of digests that is checked on resumption. With the method `uniform`, advantages and
loss are those of stock TRL.

With several processes the curriculum, its journal and its state live on the main one; plans and decisions are sent to
the others. Each rolls out an equally long part of a plan and trains equally many rows.

`train` and five methods of the trainer are extended, none is copied, and `SEAMS` is checked against the installed TRL
when a trainer is built. Refused by name: streaming data sets, images, saving inside a generation window, settings that
the curriculum would override.
"""

from didact.adapters.trl.checkpoints import STATE_FILE
from didact.adapters.trl.checks import SEAMS, SUPPORTED
from didact.adapters.trl.trainer import CurriculumGRPOTrainer, CurriculumMixin

__all__ = ["SEAMS", "STATE_FILE", "SUPPORTED", "CurriculumGRPOTrainer", "CurriculumMixin"]
