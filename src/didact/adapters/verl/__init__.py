"""verl 0.9.1 and later: a curriculum for its V1 trainer, switched on by configuration keys alone.

    data.custom_cls.path=pkg://didact.adapters.verl                    data.custom_cls.name=CurriculumDataset
    trainer.v1.sampler.custom_sampler.path=pkg://didact.adapters.verl  ...custom_sampler.name=CurriculumReplayBuffer
    data.dataloader_num_workers=0        +data.curriculum.method=cures       algorithm.adv_estimator=didact

The data set binds late: the row is chosen when verl asks for it, whatever index its sampler drew, and says how often
it is rolled out (`__rollout_n__`; 0 for a row that stands for nothing). The replay buffer, from which verl draws its
batch, waits for a round, tells the curriculum, has verl roll out the next one, and returns what trains. Rows carry a
context length to an agent loop that keeps to it, and `didact` is an advantage estimator for groups of unequal sizes.

verl keeps rollouts in its TransferQueue by key and groups them by the stored field `uid`; rollouts that continue a
group are given the uid of its first ones. What is not admitted is cleared there; groups that wait for a later step stay
there and, as a checkpoint of a synchronous run does not hold the queue, are saved with the curriculum, in `data.pt`.

What this rests on without being verl's documented interface is in `seams`, and is checked before anything else; what is
refused by name is in `checks`. Use `pkg://` paths: by a file's path verl would load this twice, and the data set would
not find the replay buffer's curriculum. `didact.adapters.verl.sampler` is for verl 0.5 to 0.7.1.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from didact.adapters.verl.seams import SUPPORTED
    from didact.adapters.verl.trainer import (
        CurriculumDataset,
        CurriculumReplayBuffer,
        CurriculumSingleTurnAgentLoop,
        CurriculumToolAgentLoop,
        curriculum_advantages,
    )

__all__ = [
    "SUPPORTED",
    "CurriculumDataset",
    "CurriculumReplayBuffer",
    "CurriculumSingleTurnAgentLoop",
    "CurriculumToolAgentLoop",
    "curriculum_advantages",
]

if not TYPE_CHECKING:

    def __getattr__(name):
        """Load what needs verl 0.9.1 when it is asked for: the sampler in here is for others, the session for none."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{'seams' if name == 'SUPPORTED' else 'trainer'}"), name)
