"""Didact in prime-rl: its `TrainSource` asks a desk which task comes next and tells it what came of it.

    uv run rl @ rl.toml --dry-run                      # writes the configuration of each process
    uv run inference @ ...; uv run env-server @ ...; uv run trainer @ ...
    python prime_rl_recipe.py @ .../orchestrator.json  # in place of `uv run orchestrator`

Edit `build`. One curriculum spans the tasks of all training sources (their `ratio` is not used), and prime-rl saves its
state in the orchestrator's checkpoints. Written against prime-rl of 2026-08-21 (559b4477) and verifiers 0.4.0.

Cannot be expressed: uneven groups (an episode is counted against its source's `group_size`, so plans must give every
prompt that many rollouts), methods that decide later whether a group trains (prime-rl asks as it comes back: SPEED,
DAPO; its own refilling with `AdmitWithSignal` does what DAPO does), single rollouts of a group, groups that weigh
differently, endless tasksets. A context length holds for a whole source from the moment it is planned.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from didact import Curriculum, Dispatcher, PromptPool, make
from didact.admission import AdmitWithSignal

WORKER = "orchestrator"


def build(pool: PromptPool, group_size: int) -> Curriculum:
    size = {"prompts_per_step": 64, "rollouts_per_step": 64 * group_size}
    return make("mopps", pool, **size, admission=AdmitWithSignal(), discount=0.9)


class CurriculumSource:
    """In the place of prime-rl's TrainSource, of which it takes the sources and their tasks.

    Args:
        source: the TrainSource that the orchestrator made.
        build: makes the curriculum from the pool of all tasks and the rollouts of a group.
        request: prime-rl's TaskRequest.
        lease_seconds: when a group that has not come back (say, dropped for staleness) is rolled out again.
    """

    def __init__(
        self,
        source: Any,
        build: Callable[[PromptPool, int], Curriculum],
        request: Callable[..., Any],
        lease_seconds: float = 7200.0,
    ) -> None:
        self.curricula = source.curricula  # prime-rl names them when it has loaded a checkpoint
        self.envs = {env.name: env for env in source.envs}
        sizes = {env.config.group_size for env in source.envs}
        endless = [name for name, env in self.envs.items() if env.num_tasks is None]
        if len(sizes) > 1 or endless:
            raise ValueError(f"sources must share a group_size and end: got sizes {sorted(sizes)}, endless {endless}")
        self.group_size, self.request = sizes.pop(), request
        self.tasks = {
            f"{name}/{task.key}": (name, task) for name, each in self.curricula.items() for task in each.sampler.tasks
        }
        pool = PromptPool(list(self.tasks), source=[name for name, _ in self.tasks.values()])
        curriculum = build(pool, self.group_size)
        if curriculum.weighs_groups:
            raise ValueError(f"{curriculum.name!r} weighs its groups in the loss, and prime-rl weighs them alike")
        self.desk = Dispatcher(curriculum, lease_seconds=lease_seconds)
        self.leases: dict[str, list[int]] = {}

    def next_task(self, *, step: int) -> Any:
        """A TaskRequest, or None: prime-rl asks again in half a second."""
        # The clock is the curriculum's own: how far it runs ahead of the trainer is prime-rl's business.
        self.desk.advance(max(self.desk.curriculum.step, 0))
        work = self.desk.ask(WORKER)
        if work is None:
            return None
        group, curriculum = work.group, self.desk.curriculum
        if curriculum.next_round == "later":
            raise ValueError(f"{curriculum.name!r} decides later than prime-rl asks whether a group trains")
        if group.num_rollouts != self.group_size:
            raise ValueError(f"{group.num_rollouts} rollouts of a prompt planned, prime-rl makes {self.group_size}")
        name, task = self.tasks[group.prompt_id]
        if group.context_length is not None:
            self.envs[name].sampling_args["max_completion_tokens"] = group.context_length
        self.leases.setdefault(group.prompt_id, []).append(work.lease)
        return self.request(env_name=name, task=task, step=step)

    def on_result(self, group: list[Any]) -> bool:
        """Tell what came of a group of episodes; whether it trains."""
        prompt_id = f"{group[0].env.name}/{group[0].task.key}"
        lost = self.group_size - len(group)  # cancelled because the servers were overloaded
        mine = [[trace for trace in episode.traces if trace.agent.trainable] for episode in group]
        clean = [[trace for trace in traces if not trace.has_error] for traces in mine]
        rewards = [float(np.mean([trace.reward for trace in traces])) if traces else math.nan for traces in clean]
        receipt = self.desk.report(
            self.leases[prompt_id].pop(),
            rewards + [math.nan] * lost,
            num_tokens=[sum(trace.num_output_tokens for trace in traces) for traces in mine] + [0] * lost,
            truncated=[any(trace.is_truncated for trace in traces) for traces in clean] + [False] * lost,
        )
        return receipt.group_id in {group.group_id for group in self.desk.admitted()}

    def metrics(self) -> dict[str, float]:
        return {f"curriculum/{name}": value for name, value in self.desk.metrics().items()}

    def state_dict(self) -> dict[str, Any]:
        return {"envs": list(self.envs), "desk": self.desk.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.desk.load_state_dict(state["desk"])
        self.desk.lost(WORKER)  # what was in flight is gone
        self.leases = {}


def main() -> None:
    from prime_rl.configs.orchestrator import OrchestratorConfig
    from prime_rl.orchestrator.orchestrator import Orchestrator
    from prime_rl.orchestrator.types import TaskRequest
    from prime_rl.utils.config import cli
    from prime_rl.utils.utils import clean_exit

    class CurriculumOrchestrator(Orchestrator):  # type: ignore[misc]
        @property
        def train_source(self) -> CurriculumSource:
            return self._curriculum_source

        @train_source.setter
        def train_source(self, source: Any) -> None:  # `setup` assigns it before it loads a checkpoint
            self._curriculum_source = CurriculumSource(source, build, TaskRequest)

    asyncio.run(clean_exit(CurriculumOrchestrator(cli(OrchestratorConfig)).start)())


if __name__ == "__main__":
    main()
