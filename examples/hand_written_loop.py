"""The loop written by hand: any sampler, any verifier, and a curriculum that is asked and told.

    python examples/hand_written_loop.py                       # didact
    python examples/hand_written_loop.py --method dapo --steps 100

The "model" is a table of skills, small enough to read: a prompt asks for one skill, and passes as often as the skill
succeeds. Replace `sample`, `verify` and `train_on` by your own; `roll_out` and the loop stay as they are.
"""

import argparse
import random
from itertools import chain

from didact import Curriculum, GroupOutcome, Plan, PromptPool, make
from didact.advantage import group_advantages, loss_weights

PROMPTS = {f"{a}*{b}": str(a * b) for a in range(2, 20) for b in range(2, 20)}  # prompt -> gold answer


class Pupil:
    """Gets a product right with a probability of its own, which rises when a rollout of it is reinforced."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.skill = {prompt: min(1.0, 12 / int(answer) ** 1.1) for prompt, answer in PROMPTS.items()}

    def sample(self, prompt: str) -> str:
        answer = int(PROMPTS[prompt])
        return str(answer if self.random.random() < self.skill[prompt] else answer + self.random.randint(1, 9))

    def train_on(self, prompt: str, advantage: float) -> None:
        self.skill[prompt] = min(1.0, self.skill[prompt] + 10 * max(advantage, 0.0))


def verify(response: str, answer: str) -> float:
    return float(response == answer)


def roll_out(plan: Plan, pupil: Pupil) -> tuple[list[GroupOutcome], dict[int, list[float]]]:
    """One outcome per planned group, and the rewards by group id, for training."""
    responses = [[pupil.sample(group.prompt_id) for _ in range(group.num_rollouts)] for group in plan]
    rewards = {
        group.group_id: [verify(response, PROMPTS[group.prompt_id]) for response in each]
        for group, each in zip(plan, responses, strict=True)
    }
    outcomes = plan.outcomes(
        chain(*rewards.values()), num_tokens=[len(response) for each in responses for response in each]
    )
    return outcomes, rewards


def run(curriculum: Curriculum, pupil: Pupil, num_steps: int) -> None:
    rewards: dict[int, list[float]] = {}
    for step in range(num_steps):
        while plan := curriculum.plan(step):
            outcomes, scored = roll_out(plan, pupil)
            for group_id, more in scored.items():  # a later plan may continue a group
                rewards.setdefault(group_id, []).extend(more)
            curriculum.observe(outcomes)
        admitted = curriculum.admitted(step)
        kept = [(group, rewards[group.group_id][index]) for group in admitted for index in group.rollouts]
        rewards = {group_id: rewards[group_id] for group_id in curriculum.held()}  # these wait for a later step
        if not kept:  # nothing came back, or nothing had signal
            continue
        ids, baselines = [group.group_id for group, _ in kept], [group.baseline for group, _ in kept]
        advantages = group_advantages([reward for _, reward in kept], ids, "rloo", baselines=baselines)
        # Every prompt counts once, however many rollouts it got, or as often as the method says that it was drawn.
        weights = loss_weights(ids, mode="prompt", weights=[group.weight for group, _ in kept])
        for (group, _), advantage in zip(kept, advantages * weights, strict=True):
            pupil.train_on(group.prompt_id, advantage)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="didact")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    pupil = Pupil(given.seed)
    sizes = [int(answer) / 4 for answer in PROMPTS.values()]  # some methods ask for a difficulty, from 0 to 100
    pool = PromptPool(
        PROMPTS,
        source=[f"times {prompt.partition('*')[2]}" for prompt in PROMPTS],
        difficulty=sizes,
        prompt_tokens=[len(prompt) for prompt in PROMPTS],
        features=[list(map(int, prompt.split("*"))) for prompt in PROMPTS],
    )
    curriculum = make(given.method, pool, prompts_per_step=16, rollouts_per_step=128, seed=given.seed)
    before = sum(pupil.skill.values()) / len(PROMPTS)
    run(curriculum, pupil, given.steps)
    metrics = curriculum.metrics()
    print(
        f"{given.method}: mean skill {before:.2f} -> {sum(pupil.skill.values()) / len(PROMPTS):.2f} after "
        f"{metrics['rollouts']:,.0f} rollouts, {metrics['share_with_signal_so_far']:.0%} of groups with signal"
    )


if __name__ == "__main__":
    main()
