"""A long run of which a share of all outcomes never comes: the books add up and a step costs the same at the end.

    python dev/attack/lost.py --num 20000 --seed 0

An attack is one step of `uniform` with 16 groups of 4, whose outcomes come at once, late by up to 150 steps, or (the
share `--lost`) never. It holds if planned = observed + in flight + lost after it and the ledger holds no more groups
than LATE_STEPS steps can leave there. Printed are the milliseconds of processor time of a step, as medians.
"""

import argparse
import sys
import time
from collections import defaultdict
from statistics import median

import numpy as np

from didact import Curriculum, GroupOutcome, make
from didact.ledger import LATE_STEPS
from didact.testing import SimulatedPolicy, pool_of

GROUPS, SIZE = 16, 4


def holds(curriculum: Curriculum) -> tuple[bool, int]:
    ledger, metrics = curriculum.state_dict()["ledger"], curriculum.metrics()
    in_flight = int((ledger["planned"] + ledger["again"] - ledger["num_rewards"] - ledger["lost"]).sum())
    adds_up = metrics["rollouts_planned"] == metrics["rollouts"] + in_flight + metrics["rollouts_lost"]
    size = len(ledger["group_id"])
    return adds_up and size <= GROUPS * (LATE_STEPS + 2), size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lost", type=float, default=0.01)
    given = parser.parse_args()
    curriculum = make(
        "uniform", pool_of(1000), prompts_per_step=GROUPS, rollouts_per_step=GROUPS * SIZE, seed=given.seed
    )
    policy, rng = SimulatedPolicy(seed=given.seed), np.random.default_rng(given.seed)
    late: dict[int, list[GroupOutcome]] = defaultdict(list)
    seconds: list[float] = []
    failed = 0
    for step in range(given.num):
        start = time.process_time()
        plan = curriculum.plan(step)
        seconds.append(time.process_time() - start)
        for outcome, fate in zip(policy.roll_out(plan), rng.random(len(plan)), strict=True):
            if fate >= given.lost:
                late[step + (int(rng.integers(1, 150)) if fate > 0.99 else 0)].append(outcome)
        start = time.process_time()
        curriculum.observe(late.pop(step, []))
        curriculum.admitted(step)
        curriculum.metrics()
        seconds[-1] += time.process_time() - start
        held, size = holds(curriculum)
        if not held:
            failed += 1
            print(
                f"step {step} of seed {given.seed} --lost {given.lost} did not hold: {size} groups are open", flush=True
            )
        if (step + 1) % (given.num // 10 or 1) == 0:
            latest = 1000 * median(seconds[-(given.num // 10 or 1) :])
            print(f"to step {step + 1}: {latest:.2f} ms a step, {size} groups in the ledger", flush=True)
    metrics = curriculum.metrics()
    print(f"{metrics['rollouts_planned']:.0f} rollouts planned, {metrics['rollouts_lost']:.0f} lost")
    print(f"lost: {given.num} attacks, {given.num - failed} held")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
