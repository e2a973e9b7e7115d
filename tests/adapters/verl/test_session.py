"""The session of the verl adapter, driven as verl drives it, with pass rates in place of a model. Needs no verl."""

from collections import Counter

import numpy as np
import pytest

from didact import METHODS, PromptPool, make
from didact.adapters.verl.session import PATIENCE, Returned, Sent, Session
from didact.journal import Journal, RecordedCurriculum, read_journal
from didact.testing.contract import same_state
from didact.testing.mutations import mutated

BATCH, ROLLOUTS = 4, 32


def curriculum_of(method, **options):
    column = np.arange(24)
    pool = PromptPool(
        [f"p{index}" for index in column],
        source=["a", "b"] * 12,
        difficulty=column / 24 * 100,
        prompt_tokens=column + 1,
        features=np.stack([column % 7, column % 5], axis=1).astype(np.float64),
    )
    return make(method, pool, prompts_per_step=BATCH, rollouts_per_step=ROLLOUTS, seed=3, **options)


class Trainer:
    """Asks, rolls out and samples in the order in which verl's trainer and the replay buffer do.

    Args:
        warmup: prompts that an asynchronous trainer asks for before its first step.
        slow: of how many groups that are out one comes back at a time; None returns all.
    """

    def __init__(self, session, warmup=0, slow=None, broken=()):
        self.session, self.slow, self.broken = session, slow, broken
        self.version, self.bound = 0, 0
        self.trained = Counter()
        self.ask(warmup)

    def ask(self, num, asked=True):
        for _ in range(num):
            self.bound += self.session.bind(asked=asked) is not None

    def roll_out(self):
        sent = list(self.session.sent.values())
        chosen = sent if self.slow is None else sent[-self.slow :]  # the newest first: out of order
        returned = {}
        for each in chosen:
            group = each.group
            if group.prompt_id in self.broken:
                returned[each.mark] = None
                continue
            rng = np.random.default_rng([group.group_id, each.part])
            rewards = (rng.random(group.num_rollouts) < int(group.prompt_id[1:]) / 24).astype(float)
            keys = [f"u{group.group_id}.{each.part}_{row}_0" for row in range(group.num_rollouts)]
            size = len(keys)
            returned[each.mark] = Returned(keys[0], keys, rewards, [5] * size, [False] * size, 3, self.version)
        self.session.observe(returned, self.version)

    def step(self):
        self.ask(BATCH)
        groups = self.asynchronous_step() if self.session.asynchronous else self.synchronous_step()
        for group in groups:
            assert self.session.keys().count(group.keys[0] if group.keys else "") == 0
            self.trained.update(group.keys)
        self.version += 1
        return groups

    def synchronous_step(self):
        session = self.session
        for _ in range(PATIENCE):
            while session.queue or session.sent:
                self.ask(len(session.queue), asked=False)
                self.roll_out()
                session.draw()
            session.admit()
            if session.ready or session.rolled_out:
                return session.take(None)
            session.next_step()
        raise AssertionError("nothing was planned")

    def asynchronous_step(self):
        session, fruitless = self.session, 0
        for _ in range(500):
            self.roll_out()
            session.admit()
            if len(session.ready) >= BATCH or fruitless > PATIENCE:
                return session.take(BATCH)
            if session.queue or session.wanted > 0:
                session.draw()
            if session.queue:
                most = max(session.wanted, 0) if session.curriculum.one_round else len(session.queue)
                self.ask(min(len(session.queue), most), asked=False)
            if session.idle:
                fruitless += 1
                session.next_step()
        raise AssertionError("stuck")


def run(method, steps=12, recorded=None, **options):
    made = curriculum_of(method)
    session = Session(recorded(made) if recorded else made, asynchronous=options.pop("asynchronous", False))
    trainer = Trainer(session, **options)
    return trainer, [trainer.step() for _ in range(steps)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_every_method_trains_every_rollout_once_at_most(method, asynchronous):
    trainer, steps = run(method, asynchronous=asynchronous, warmup=BATCH if asynchronous else 0)
    metrics = trainer.session.curriculum.metrics()
    assert max(trainer.trained.values()) == 1
    assert sum(len(groups) > 0 for groups in steps) >= 10
    out = sum(each.group.num_rollouts for each in [*trainer.session.sent.values(), *trainer.session.queue])
    assert metrics["rollouts"] == metrics["rollouts_planned"] - out
    ready = sum(len(group.keys) for group in trainer.session.ready)
    assert metrics["rollouts_trained"] == sum(trainer.trained.values()) + ready
    if not asynchronous:
        assert out == 0


@pytest.mark.parametrize("method", ["uniform", "mopps", "dapo"])
def test_out_of_order_and_never_more_than_asked_for(method):
    trainer, steps = run(method, asynchronous=True, warmup=2 * BATCH, slow=3)
    assert [len(groups) for groups in steps] == [BATCH] * 12
    one_round = trainer.session.curriculum.one_round
    assert len(trainer.session.sent) <= 2 * BATCH if one_round else 3 * BATCH


def test_a_synchronous_run_equals_the_loop_by_hand():
    trainer, _ = run("cures", steps=6)
    by_hand = Trainer(Session(curriculum_of("cures")))
    curriculum = by_hand.session.curriculum
    for step in range(6):
        by_hand.version = step
        while plan := curriculum.plan(step):
            sent = [Sent(group, plan.part) for group in plan]
            by_hand.session.sent = {each.mark: each for each in sent}
            by_hand.roll_out()
        curriculum.admitted(step)
    assert trainer.session.curriculum.metrics() == curriculum.metrics()
    assert (trainer.session.curriculum.pass_rates().mean == curriculum.pass_rates().mean).all()


def test_groups_that_fail_are_errors_and_not_wrong_answers():
    broken = {f"p{index}" for index in range(12)}
    trainer, _ = run("uniform", steps=6, broken=broken)
    metrics = trainer.session.curriculum.metrics()
    assert metrics["rollouts_errored"] == 6 * ROLLOUTS - sum(trainer.trained.values()) > 0
    assert metrics["rollouts"] == 6 * ROLLOUTS


@pytest.mark.parametrize(
    ("method", "asynchronous"), [("speed", False), ("cures", False), ("uniform", True), ("speed", True)]
)
def test_saved_at_any_step_it_goes_on_alike(method, asynchronous):
    options = {"asynchronous": asynchronous, "warmup": BATCH if asynchronous else 0}
    whole, steps = run(method, steps=8, **options)
    part, before = run(method, steps=4, **options)
    again = Session(curriculum_of(method), asynchronous=asynchronous)
    again.load_state_dict(part.session.state_dict())
    trainer = Trainer(again)
    trainer.version = 4
    after = [trainer.step() for _ in range(4)]
    assert [*before, *after] == steps
    assert again.keys() == whole.session.keys()
    with pytest.raises(ValueError, match="checkpoint is of a run that is"):
        Session(curriculum_of(method), asynchronous=not asynchronous).load_state_dict(part.session.state_dict())


def test_what_a_group_counts_in_the_loss_arrives_and_is_saved_while_it_waits():
    session = Session(curriculum_of("cures", with_replacement=True))
    trainer, weights = Trainer(session), set()
    for step in range(6):
        groups = trainer.step()
        assert [group.weight for group in groups] == [group.weight for group in session.curriculum.admitted(step)]
        weights |= {group.weight for group in groups}
    assert weights >= {1.0, 2.0}
    session.ready = groups
    again = Session(curriculum_of("cures", with_replacement=True))
    again.load_state_dict(session.state_dict())
    assert again.ready == groups


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_mutated_state_is_refused_or_says_the_same(asynchronous):
    options = {"asynchronous": asynchronous, "warmup": BATCH if asynchronous else 0}
    state = run("speed", steps=4, **options)[0].session.state_dict()
    other = run("speed", steps=2, **options)[0].session
    rng, before, refused = np.random.default_rng(0), other.state_dict(), 0
    for _ in range(100):
        changed, what = mutated(state, rng)
        try:
            other.load_state_dict(changed)
        except ValueError:
            assert same_state(before, other.state_dict()), what
            refused += 1
        else:
            assert same_state(other.state_dict(), state), what
            other.load_state_dict(before)
    assert refused > 40


def test_waiting_adds_nothing_to_the_journal(tmp_path):
    def recorded(curriculum):
        return RecordedCurriculum(curriculum, Journal(tmp_path / "journal"), Journal(tmp_path / "metrics"))

    trainer, _ = run("uniform", recorded=recorded, steps=3, asynchronous=True, warmup=BATCH)
    size = len(read_journal(tmp_path / "journal"))
    for _ in range(5):
        trainer.session.admit()
    assert len(read_journal(tmp_path / "journal")) == size
