"""The final curriculum over small methods of our own, and what the books say in cases worked out by hand."""

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didact import Curriculum, Draft, GroupOutcome, Method, Plan, Turn, Verdict, make, option
from didact.allocation import largest_remainder
from didact.context import StagedContext
from didact.memory import kept
from didact.method import rewards_of
from didact.methods.uniform import Uniform
from didact.selection import draw
from didact.state import seal
from didact.testing import MethodContract, SimulatedPolicy, outcomes_of, play, pool_of
from didact.testing.contract import same_state


@dataclass(frozen=True, kw_only=True)
class Frontier(Method):
    """Weight a prompt by closeness of its pass rate to `target`, plus our uncertainty about it."""

    name = "frontier"
    one_round = True

    target: float = option(0.5, "pass rate to aim for", least=0, most=1)
    width: float = option(0.2, "of the frontier", above=0)

    def draft(self, turn: Turn, memory: None) -> Draft:
        believed = turn.belief.pass_rates(turn.pool.ids, step=turn.step)
        closeness = np.exp(-0.5 * ((believed.mean - self.target) / self.width) ** 2)
        return turn.equal(draw(closeness + believed.std, turn.batch, turn.rng))


class TestFrontier(MethodContract):
    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        return make(Frontier, pool, **{"discount": 0.9, **options})


@dataclass(frozen=True, kw_only=True)
class ScreenThenContinue(Method):
    """Two rollouts each; groups that came back mixed get the rest of the budget (a screen in the manner of SPEED)."""

    name = "screen"

    def draft(self, turn: Turn, memory: None) -> Draft | None:
        if turn.round == 0:
            positions = turn.rng.permutation(len(turn.pool))[: turn.batch]
            return Draft(positions, np.full(len(positions), 2), "screen")
        mixed = [group for group in turn.waiting if group.step == turn.step and len(set(group.rewards)) > 1]
        if turn.round > 1 or not mixed:
            return None
        budget = turn.rollouts_per_step
        return Draft.further(mixed, largest_remainder(np.ones(len(mixed)), budget // 2, 0, budget))


class TestScreenThenContinue(MethodContract):
    @staticmethod
    def build(pool, **options):
        return make(ScreenThenContinue, pool, **options)


def test_a_group_that_is_continued_is_one_group() -> None:
    curriculum = make(ScreenThenContinue, pool_of(1), prompts_per_step=1, rollouts_per_step=8)
    curriculum.observe(outcomes_of(curriculum.plan(0), lambda num: [1.0, 0.0]))
    more = curriculum.plan(0)
    assert [(group.group_id, group.num_rollouts, group.reason) for group in more] == [(0, 4, "continue")]
    curriculum.observe(outcomes_of(more, lambda num: [1.0, None, 0.0, 1.0]))
    assert [(group.group_id, group.rollouts) for group in curriculum.admitted(0)] == [(0, (0, 1, 2, 4, 5))]
    assert curriculum.metrics()["groups"] == 1


def frontier(size: int = 10, target: float = 0.5, **options: Any) -> Curriculum:
    return make(Frontier, pool_of(size), target=target, prompts_per_step=2, rollouts_per_step=8, **options)


def one(method: type[Method], size: int = 10) -> Curriculum:
    return make(method, pool_of(size), prompts_per_step=2, rollouts_per_step=8)


def test_a_method_that_drafts_nothing_ends_the_step() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Nobody(Method):
        def draft(self, turn: Turn, memory: None) -> Draft | None:
            return Draft.nothing()

    curriculum = one(Nobody)
    assert not curriculum.plan(0)
    assert curriculum.next_round == "none"


def test_a_method_that_repeats_itself_is_told_so() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Twice(Method):
        def draft(self, turn: Turn, memory: None) -> Draft | None:
            return turn.equal(np.array([3, 3]))

    with pytest.raises(ValueError, match="same prompt twice"):
        one(Twice).plan(0)


def test_nobody_subclasses_the_curriculum() -> None:
    assert Curriculum.__final__  # type: ignore[attr-defined]


@pytest.mark.parametrize("given", ["uniform", Uniform, None, 3])
def test_a_curriculum_takes_a_method_and_says_how_to_go_by_name(given: object) -> None:
    with pytest.raises(TypeError, match=r"method must be a Method, .* make\(name, pool"):
        Curriculum(pool_of(4), given, prompts_per_step=2, rollouts_per_step=8)  # type: ignore[arg-type]


@dataclass
class Counted:
    """A memory of each kind of field."""

    drawn: int = kept(0, least=0)
    last: int = kept(-1, holds="step")
    batch: np.ndarray = kept(np.zeros(0, dtype=np.int64), holds="positions")
    share: float = kept(0.5, least=0, most=1)
    by_prompt: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Counting(Method):
    """Remembers what it drew."""

    name = "counting"

    def init(self, run) -> Counted:
        return Counted()

    def draft(self, turn: Turn, memory: Counted) -> Draft | None:
        memory.drawn += 1
        memory.last, memory.batch = turn.step, turn.walk(turn.batch)
        for position in memory.batch.tolist():
            memory.by_prompt[position] = memory.by_prompt.get(position, 0) + 1
        return turn.equal(memory.batch, then="none")


class TestCounting(MethodContract):
    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        return make(Counting, pool, **options)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"drawn": -1}, "drawn must be from 0"),
        ({"drawn": 2.0}, "drawn is int in this memory"),
        ({"drawn": True}, "drawn is int in this memory"),
        ({"last": 3}, "at step 1, last cannot be 3"),
        ({"batch": np.array([1, 1])}, "batch must be prompts of the pool, each once"),
        ({"batch": np.array([9])}, "batch must be prompts of the pool, each once"),
        ({"batch": np.array([1.0])}, "batch is ndarray in this memory"),
        ({"share": math.nan}, "share must be finite"),
        ({"share": 1.5}, "share must be from 0 to 1"),
        ({"by_prompt": [1]}, "by_prompt is dict in this memory"),
        ({"surprise": 1}, "a memory holds"),
    ],
)
def test_a_memory_that_no_run_led_to_is_refused(changes: dict[str, Any], words: str) -> None:
    curriculum = make(Counting, pool_of(8), prompts_per_step=2, rollouts_per_step=8)
    play(curriculum, SimulatedPolicy(), range(2))
    state = curriculum.state_dict()
    assert curriculum.memory.by_prompt
    other = make(Counting, pool_of(8), prompts_per_step=2, rollouts_per_step=8)
    with pytest.raises(ValueError, match=words):
        other.load_state_dict(forged(state, "memory", **changes))
    other.load_state_dict(state)
    assert other.memory.by_prompt == curriculum.memory.by_prompt


def eight() -> Curriculum:
    return make("uniform", pool_of(8), prompts_per_step=4, rollouts_per_step=16)


def forged(state: dict[str, Any], *path: str, **changes: Any) -> dict[str, Any]:
    """A state with some entries of one of its dicts changed, and sealed as if that were right."""
    part = state = copy.deepcopy({name: state[name] for name in state if name != "digest"})
    for name in path:
        part = part[name]
    part |= changes
    return seal(state)


@pytest.mark.parametrize(
    ("path", "changes", "words"),
    [
        ((), {"step": 1.0}, "steps and rounds are whole numbers"),
        ((), {"step": True}, "steps and rounds are whole numbers"),
        ((), {"step": -2}, "steps and rounds are whole numbers"),
        ((), {"round": -1}, "steps and rounds are whole numbers"),
        ((), {"then": "perhaps"}, "then must be one of none, now, later"),
        (("books",), {"calibration": np.zeros((3, 9))}, "could have saved"),
        (("books",), {"calibration": np.full((3, 10), -1.0)}, "numbers of at least 0"),
        ((), {"options": None}, "what options and what pool"),
        ((), {"pool": {"size": "8"}}, "what options and what pool"),
        ((), {"walk": {}}, "could have saved: .*pass"),
        ((), {"walk": None}, "could have saved"),
        ((), {"memory": {}}, "remembers nothing"),
        ((), {"admitted": [[0, "prompt-0", [1, 0], None, 1.0]]}, "no group can be admitted like this"),
        ((), {"admitted": [[0, "prompt-0", [0.0, 1.0], None, 1.0]]}, "no group can be admitted like this"),
        ((), {"admitted": [[0, "prompt-0", [0], math.nan, 1.0]]}, "no group can be admitted like this"),
        ((), {"admitted": [[0, "prompt-0", [0], None, 0.0]]}, "no group can weigh like this"),
        ((), {"admitted": [[0, "prompt-0", [0], None, 1]]}, "no group can weigh like this"),
        ((), {"admitted": [[0, "nobody", [0], None, 1.0]]}, "unknown prompt id 'nobody'"),
        ((), {"admitted": [[0, "prompt-0", [0], None, 1.0]] * 2}, "planned, each once"),
        ((), {"admitted": [[99, "prompt-0", [0], None, 1.0]]}, "planned, each once"),
        (("books", "totals"), {"rollouts": 17.0}, "came"),
        (("books", "totals"), {"rollouts_planned": 33.0}, "33 rollouts were planned, 32 came, are out or lost"),
        (("books", "totals"), {"rollouts_lost": 1.0}, "32 rollouts were planned, 33 came, are out or lost"),
        (("books", "totals"), {"response_tokens": 1.0}, "came, the belief has"),
        (("books", "totals"), {"prompts_seen": 3.0}, "came, the belief has"),
        (("books", "totals"), {"rollouts_trained": 18.0}, "cannot have trained or been discarded"),
        (("books", "totals"), {"groups_trained": 9.0}, "cannot have trained or been discarded"),
        (("books", "totals"), {"outcomes": -1.0}, "finite and not negative"),
        (("books", "totals"), {"outcomes": math.inf}, "finite and not negative"),
        (("books", "totals"), {"outcomes": 4}, "one number for each of"),
        (("books", "totals"), {"surprise": 4.0}, "one number for each of"),
        (("books", "now"), {"lag": math.nan}, "must be finite"),
        (("ledger",), {"next_id": "8"}, "could have saved"),
        (("ledger",), {"position": np.array([0, 1, 2, 8])}, "of no prompt among 8"),
        (("ledger",), {"step": np.full(4, 2), "asked": np.full(4, 2)}, "of a step after 1"),
        (("ledger",), {"planned": np.array([4, 4, 4, 4], dtype=np.int32)}, "loaded, it would be another"),
        (("ledger",), {"surprise": 1}, "loaded, it would be another"),
        (("belief",), {"size": 9}, "a belief about 9 of 8 prompts"),
        (("belief", "columns"), {"surprise": np.zeros(4)}, "loaded, it would be another"),
        (("walk",), {"cursor": 9}, "cannot be at 9"),
    ],
)
def test_books_that_do_not_agree_are_refused_and_change_nothing(
    path: tuple[str, ...], changes: dict[str, Any], words: str
) -> None:
    """Four groups of step 0 trained, four of step 1 are out."""
    curriculum = eight()
    curriculum.observe(outcomes_of(curriculum.plan(0), lambda num: [1.0] * num))
    curriculum.admitted(0)
    curriculum.plan(1)
    state, other = curriculum.state_dict(), eight()
    other.plan(0)
    before, belief = other.state_dict(), other.belief
    with pytest.raises(ValueError, match=words):
        other.load_state_dict(forged(state, *path, **changes))
    assert same_state(before, other.state_dict())
    assert other.belief is belief
    other.load_state_dict(forged(state))
    assert same_state(state, other.state_dict())


def test_a_state_loads_on_a_pool_that_grew_and_is_saved_again_as_it_was() -> None:
    pool = pool_of(8)
    curriculum = make("uniform", pool, prompts_per_step=4, rollouts_per_step=16)
    play(curriculum, SimulatedPolicy(), range(3))
    state = curriculum.state_dict()
    pool.extend(["joined"])
    again = make("uniform", pool, prompts_per_step=4, rollouts_per_step=16)
    again.load_state_dict(state)
    for name in ("belief", "ledger", "walk"):
        assert same_state(again.state_dict()[name], state[name])
    assert len(again.pass_rates()) == 9
    with pytest.raises(ValueError, match="state of another pool: it knew 9 prompts"):
        make("uniform", pool_of(8), prompts_per_step=4, rollouts_per_step=16).load_state_dict(again.state_dict())


def test_an_interrupt_while_loading_changes_nothing() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Interrupted(Uniform):
        def resume(self, run, memory) -> None:
            raise KeyboardInterrupt

    def build() -> Curriculum:
        return make(Interrupted, pool_of(8), prompts_per_step=4, rollouts_per_step=16)

    curriculum = build()
    play(curriculum, SimulatedPolicy(), range(2))
    state, other = curriculum.state_dict(), build()
    before = other.state_dict()
    with pytest.raises(KeyboardInterrupt):
        other.load_state_dict(state)
    assert same_state(before, other.state_dict())


class NoRepr:
    """A rule without a repr of its own, whose default one holds an address."""

    def admits(self, rewards) -> bool:
        return True


def test_a_state_says_which_option_differs() -> None:
    state = frontier().state_dict()
    with pytest.raises(ValueError, match=r"target=0\.5, this curriculum has target=0\.3"):
        frontier(target=0.3).load_state_dict(state)
    with pytest.raises(ValueError, match=r"discount=1\.0, this curriculum has discount=0\.9"):
        frontier(discount=0.9).load_state_dict(state)
    frontier(admission=NoRepr()).load_state_dict(frontier(admission=NoRepr()).state_dict())


def test_the_context_length_reaches_the_plan() -> None:
    curriculum = frontier(context=StagedContext([(1, 512), (1, 1024)]))
    assert {group.context_length for group in curriculum.plan(0)} == {512}
    assert {group.context_length for group in curriculum.plan(1)} == {1024}
    assert {group.context_length for group in frontier().plan(0)} == {None}


@dataclass(frozen=True, kw_only=True)
class Growing(Uniform):
    """Sets the context length itself."""

    name = "growing"
    sets_context = True

    def longest_context(self, run) -> int:
        return 1000

    def draft(self, turn: Turn, memory: None) -> Draft:
        return turn.equal(turn.walk(turn.batch), context_length=100 * (turn.step + 1))


def test_a_method_can_set_the_context_length() -> None:
    curriculum = one(Growing)
    assert curriculum.context.longest == 1000
    assert [{group.context_length for group in curriculum.plan(step)} for step in range(2)] == [{100}, {200}]
    assert curriculum.metrics()["context_length"] == 200
    with pytest.raises(ValueError, match="'growing' sets the context length by its own options"):
        make(Growing, pool_of(4), prompts_per_step=2, rollouts_per_step=8, context=512)


@dataclass(frozen=True, kw_only=True)
class Believing(Uniform):
    """Has a belief of its own: the first half of the pool passes."""

    name = "believing"

    def predict(self, positions, run, memory):
        return np.where(positions < len(run.pool) / 2, 1.0, 0.0), np.full(len(positions), 0.25)


def test_what_the_method_believes_is_what_is_said_everywhere() -> None:
    curriculum = one(Believing, size=4)
    rates = curriculum.pass_rates()
    assert (rates.mean.tolist(), rates.std.tolist()) == ([1, 1, 0, 0], [0.25] * 4)
    plan = curriculum.plan(0)
    believed = {group.prompt_id: group.pass_rate for group in plan}
    assert all(rate == (prompt in ("prompt-0", "prompt-1")) for prompt, rate in believed.items())
    curriculum.observe(outcomes_of(plan, lambda num: [1.0] * num))
    wrong = sum(rate == 0 for rate in believed.values()) / 2
    assert curriculum.metrics()["calibration_error"] == wrong, "as it was predicted, and not as the counts say"


def uniform(**options: Any) -> Curriculum:
    return make("uniform", pool_of(4), prompts_per_step=2, rollouts_per_step=8, **options)


def test_the_books_of_one_step() -> None:
    curriculum = uniform()
    first, second = curriculum.plan(0)
    curriculum.observe(
        [
            GroupOutcome(first.group_id, first.prompt_id, [1, 0, 1, 1], num_tokens=[5, 6, 7, 8], policy_version=0),
            GroupOutcome(
                second.group_id, second.prompt_id, [0, None, 0, 0], num_tokens=[1, 1, 1, 1], truncated=[0, 0, 0, 1]
            ),
        ]
    )
    admitted = curriculum.admitted(0)
    assert [group.rollouts for group in admitted] == [(0, 1, 2, 3), (0, 2, 3)]
    metrics = curriculum.metrics()
    expected = {
        "rollouts": 8,
        "rollouts_planned": 8,
        "rollouts_trained": 7,
        "rollouts_discarded": 1,
        "rollouts_errored": 1,
        "rollouts_truncated": 1,
        "response_tokens": 30,
        "groups": 2,
        "groups_with_signal": 1,
        "groups_all_fail": 1,
        "share_with_signal": 0.5,
        "pass_rate": 3 / 7,  # of what was scored, truncated or not
        "effective_prompts": 2,
        "prompts_seen": 2,
        "lag": 0,
        "calibration_error": 0,  # predicted 1/2, half of them passed
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    means = dict(zip(curriculum.pool.ids, curriculum.pass_rates().mean, strict=True))
    assert means[first.prompt_id] == pytest.approx(4 / 6)
    assert means[second.prompt_id] == pytest.approx(1 / 4)  # two failures count


def test_truncated_rollouts_count_as_they_are_when_asked_to() -> None:
    for rule, mean in (("exclude", 0.5), ("observe", 1 / 6)):
        curriculum = uniform(truncated=rule)
        group = curriculum.plan(0).groups[0]
        curriculum.observe([GroupOutcome(group.group_id, group.prompt_id, [0] * 4, truncated=[True] * 4)])
        assert curriculum.pass_rates().mean.min() == pytest.approx(mean)


def test_lag_is_measured_in_policy_versions() -> None:
    curriculum = uniform()
    held = outcomes_of(curriculum.plan(0), lambda num: [1.0] * num)
    curriculum.plan(3)
    curriculum.observe(held)
    metrics = curriculum.metrics()
    assert metrics["lag"] == 3
    assert metrics["outcomes_late"] == 2
    assert {group.group_id for group in curriculum.admitted(3)} == {0, 1}, "late groups train when they are asked for"


def test_prompt_tokens_are_counted_for_each_rollout() -> None:
    curriculum = make("uniform", pool_of(2, prompt_tokens=[10, 100]), prompts_per_step=2, rollouts_per_step=6)
    curriculum.observe(outcomes_of(curriculum.plan(0), lambda num: [1.0] * num))
    assert curriculum.metrics()["prompt_tokens"] == 3 * 10 + 3 * 100


def test_a_group_trains_once_and_stragglers_still_inform_the_belief() -> None:
    curriculum = uniform()
    group = curriculum.plan(0).groups[0]
    curriculum.observe([GroupOutcome(group.group_id, group.prompt_id, [1.0, 0.0])])
    assert [each.rollouts for each in curriculum.admitted(0)] == [(0, 1)]
    curriculum.observe([GroupOutcome(group.group_id, group.prompt_id, [1.0, 1.0])])
    assert [each.rollouts for each in curriculum.admitted(0)] == [(0, 1)]
    assert curriculum.pass_rates().mean.max() == pytest.approx(4 / 6)
    metrics = curriculum.metrics()
    assert (metrics["rollouts_trained"], metrics["rollouts_discarded"], metrics["rollouts_missing"]) == (2, 2, 0)


def test_a_trainer_that_never_asks_what_to_train_on_does_not_grow_the_books() -> None:
    curriculum = uniform()
    for step in range(50):
        curriculum.observe(outcomes_of(curriculum.plan(step), lambda num: [1.0] * num))
    assert len(curriculum.state_dict()["ledger"]["group_id"]) <= 6
    assert curriculum.metrics()["rollouts"] == 400


def test_errors_name_what_was_given() -> None:
    curriculum = uniform()
    group, other = curriculum.plan(0)
    for outcome, words in [
        (GroupOutcome(99, group.prompt_id, [1.0]), "unknown group id 99: plans so far gave out 0 to 1"),
        (GroupOutcome(group.group_id, "nobody", [1.0]), "its outcome says 'nobody'"),
        (GroupOutcome(group.group_id, other.prompt_id, [1.0]), f"is of prompt '{group.prompt_id}'"),
        (GroupOutcome(group.group_id, group.prompt_id, [1.0] * 5), "5 rewards, 4 were planned"),
    ]:
        with pytest.raises(ValueError, match=words):
            curriculum.observe([outcome])
    with pytest.raises(TypeError, match="got dict"):
        curriculum.observe([{}])  # type: ignore[list-item]


def test_observe_says_where_rollouts_are_in_their_group() -> None:
    curriculum = uniform()
    first, second = (GroupOutcome(g.group_id, g.prompt_id, [1.0, 0.0]) for g in curriculum.plan(0))
    rest = GroupOutcome(first.group_id, first.prompt_id, [1.0, 1.0])
    placed = curriculum.observe([first, second, rest, first])
    assert placed == [range(0, 2), range(0, 2), range(2, 4), range(0)]
    assert curriculum.observe([second, second]) == [range(2, 4), range(0)]


def test_lost_rollouts_are_written_off_and_may_be_found() -> None:
    curriculum = uniform()
    first, second = curriculum.plan(0)
    curriculum.observe([GroupOutcome(first.group_id, first.prompt_id, [1.0, 0.0])])
    assert curriculum.admitted(0, complete=True) == []
    curriculum.lost(first.group_id, 2)
    assert [group.rollouts for group in curriculum.admitted(0, complete=True)] == [(0, 1)]
    curriculum.lost(second.group_id, 4, again=True)  # four more are made in their place
    metrics = curriculum.metrics()
    assert (metrics["rollouts_planned"], metrics["rollouts_lost"]) == (12, 6)
    curriculum.observe([GroupOutcome(second.group_id, second.prompt_id, [1.0] * 4, part=1)])
    assert len(curriculum.admitted(0, complete=True)) == 2
    for group, num in ((first, 2), (second, 4)):
        curriculum.found(group.group_id, num)
        curriculum.observe([GroupOutcome(group.group_id, group.prompt_id, [0.0] * num, part=2)])
    metrics = curriculum.metrics()
    assert metrics["rollouts"] == metrics["rollouts_planned"] == 12
    assert (metrics["rollouts_lost"], metrics["rollouts_missing"], metrics["rollouts_discarded"]) == (0, 0, 6)
    assert len(curriculum.state_dict()["ledger"]["group_id"]) == 0
    assert sorted(curriculum.pass_rates().mean) == pytest.approx([2 / 6, 0.5, 0.5, 5 / 10])


def test_rollouts_that_were_never_out_cannot_be_lost_or_found() -> None:
    curriculum = uniform()
    curriculum.plan(0)
    for call, words in (
        (lambda: curriculum.lost(0, 5), "5 rollouts of group 0 cannot be lost: it waits for 4"),
        (lambda: curriculum.lost(9, 1), "unknown group id 9: plans so far gave out 0 to 1"),
        (lambda: curriculum.found(0, 1), "cannot be found: 0 are lost"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_without_a_version_an_outcome_is_as_old_as_the_plan_that_asked_for_it() -> None:
    curriculum = uniform(discount=0.5)
    held = outcomes_of(curriculum.plan(0), lambda num: [1.0] * num)
    curriculum.plan(2)
    curriculum.observe(held)
    assert curriculum.pass_rates().evidence.max() == 4 * 0.25


@dataclass(frozen=True, kw_only=True)
class Patient(Uniform):
    """Trains every group one step late, on its first two rollouts, against the mean of all."""

    name = "patient"
    own_baseline = True

    def verdict(self, group, run, memory) -> Verdict:
        fate = "trains" if group.step < run.step else "waits"
        return Verdict(fate, group.usable[:2], float(rewards_of(group).mean()))


class TestPatient(MethodContract):
    @staticmethod
    def build(pool, **options):
        return make(Patient, pool, **options)


def test_groups_that_wait_are_held_counted_and_trained_later():
    curriculum = make(Patient, pool_of(8), prompts_per_step=2, rollouts_per_step=8)
    plan = curriculum.plan(0)
    curriculum.observe(outcomes_of(plan, lambda num: [1.0, 0.0, 0.0, 0.0]))
    assert curriculum.admitted(0) == []
    assert curriculum.held() == [group.group_id for group in plan]
    assert curriculum.metrics()["rollouts_held"] == 8
    curriculum.plan(1)
    first, _ = curriculum.admitted(1)
    assert (first.group_id, first.rollouts, first.baseline) == (plan.groups[0].group_id, (0, 1), 0.25)
    metrics = curriculum.metrics()
    assert (metrics["rollouts_held"], metrics["rollouts_trained"], metrics["rollouts_discarded"]) == (0, 4, 4)
    assert curriculum.held() == []


@dataclass(frozen=True, kw_only=True)
class Weighty(Method):
    """Two rollouts of each prompt, then two more; what a group counts is what the latest draft says."""

    name = "weighty"
    weighs_groups = True

    def draft(self, turn: Turn, memory: None) -> Draft | None:
        if turn.round == 0:
            return Draft(np.array([1, 3]), np.array([2, 2]), weights=np.array([5, 0.5]))
        groups = [group for group in turn.waiting if group.step == turn.step]
        return Draft.further(groups, 2, weights=np.array([3, 0.5])) if turn.round == 1 else None


def test_what_a_group_counts_in_the_loss_comes_with_it_and_is_saved():
    def build():
        return make(Weighty, pool_of(4), prompts_per_step=2, rollouts_per_step=8)

    curriculum = build()
    first = curriculum.plan(0)
    held = build()
    held.load_state_dict(curriculum.state_dict())
    for each in (curriculum, held):
        each.observe(outcomes_of(first, lambda num: [1.0, 0.0]))
    assert [group.weight for group in held.admitted(0)] == [5.0, 0.5]
    curriculum.observe(outcomes_of(curriculum.plan(0), lambda num: [1.0, 0.0]))
    groups = curriculum.admitted(0)
    assert [(group.prompt_id, group.weight) for group in groups] == [("prompt-1", 3.0), ("prompt-3", 0.5)]
    again = build()
    again.load_state_dict(curriculum.state_dict())
    assert again.admitted(0) == groups


def test_a_state_from_before_the_curriculum_was_final_is_refused_by_its_schema():
    curriculum = uniform()
    state = {name: value for name, value in curriculum.state_dict().items() if name != "digest"}
    with pytest.raises(ValueError, match="state of schema 2, this version of didact reads schema 3"):
        curriculum.load_state_dict(seal({**state, "schema": 2}))


def test_no_two_plans_have_the_same_part():
    curriculum = make("uniform", pool_of(8), prompts_per_step=2, rollouts_per_step=8)
    parts = [curriculum.plan(step).part for step in range(3)]
    assert len(set(parts)) == 3


@pytest.mark.parametrize("step", [2**31, 2**40, -1, 1.0, "1", True, None, np.zeros(2), 10**400])
def test_a_step_that_is_none_moves_nothing(step: object) -> None:
    curriculum = uniform()
    before = curriculum.state_dict()
    with pytest.raises(ValueError, match="step must be a whole number from 0 to 2147483647"):
        curriculum.plan(step)  # type: ignore[arg-type]
    assert same_state(before, curriculum.state_dict())
    assert curriculum.plan(2**31 - 1)


def test_one_bad_outcome_among_good_ones_takes_none_in() -> None:
    curriculum = uniform()
    first, second = curriculum.plan(0)
    good = GroupOutcome(first.group_id, first.prompt_id, [1.0] * 4, part=1)
    before = curriculum.state_dict()
    with pytest.raises(ValueError, match="5 rewards, 4 were planned"):
        curriculum.observe([good, GroupOutcome(second.group_id, second.prompt_id, [1.0] * 5)])
    assert same_state(before, curriculum.state_dict())
    assert curriculum.observe([good]) == [range(4)], "the corrected delivery is no repetition"


@pytest.mark.parametrize(
    ("draft", "words"),
    [
        (([0, 1], [4]), "different lengths"),
        (([0, 1], [4, 4], ["train"]), "different lengths"),
        (([0, 1], [4, 0]), "a group of 0 rollouts"),
        (([0, 9], [4, 4]), "not in the pool of 4"),
        (([0, -1], [4, 4]), "not in the pool of 4"),
        (([0.5, 1], [4, 4]), "no lists of whole numbers"),
        (([[0], [1]], [4, 4]), "no lists of whole numbers"),
        (([0, 1], [4, 4], "train", [None, 7]), "unknown group id 7"),
        (([1, 2], [4, 4], "train", [0, None]), "continues group 0"),
        (([0, 1], [4, 4], "train", None, [1.0]), "different lengths"),
        (([0, 1], [4, 4], "train", None, [1.0, 0.0]), "no list of numbers above 0"),
        (([0, 1], [4, 4], "train", None, [1.0, np.nan]), "no list of numbers above 0"),
        (([0, 1], [4, 4], "train", None, [1.0, 2.0**21]), "no list of numbers above 0"),
        (([0, 1], [4, 4], "train", None, ["1", "2"]), "no list of numbers above 0"),
        (([0, 1], [4, 4], "train", None, 2.0), "no list of numbers above 0"),
    ],
)
def test_a_draft_that_no_plan_can_hold_opens_no_group(draft: tuple, words: str) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Drafts(Uniform):
        weighs_groups = True

        def draft(self, turn, memory):
            if not turn.step:
                return super().draft(turn, memory)
            return Draft(np.array(draft[0]), np.array(draft[1]), *draft[2:])

    curriculum = make(Drafts, pool_of(4), prompts_per_step=1, rollouts_per_step=8, seed=1)
    assert curriculum.plan(0).groups[0].prompt_id != "prompt-1"
    before = curriculum.state_dict()
    with pytest.raises(ValueError, match=words):
        curriculum.plan(1)
    assert same_state(before, curriculum.state_dict())


def test_weights_must_be_declared() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Silent(Weighty):
        weighs_groups = False

    with pytest.raises(ValueError, match="declare weighs_groups"):
        make(Silent, pool_of(4), prompts_per_step=2, rollouts_per_step=8).plan(0)


@pytest.mark.parametrize("length", [0, -5, "512", 1.5, True, 2**31])
def test_a_schedule_that_sets_no_length_opens_no_group(length: object) -> None:
    class Schedule:
        def context_length(self, step, metrics):
            return length if step else 512

    curriculum = uniform(context=Schedule())
    assert curriculum.plan(0).groups[0].context_length == 512
    ledger, totals = curriculum.state_dict()["ledger"], curriculum.state_dict()["books"]["totals"]
    with pytest.raises(ValueError, match="a context length in tokens must be"):
        curriculum.plan(1)
    state = curriculum.state_dict()
    assert (state["step"], state["round"]) == (0, 1)
    assert same_state((ledger, totals), (state["ledger"], state["books"]["totals"]))


def test_a_part_of_a_step_of_many_rounds_is_not_that_of_the_next_step() -> None:
    assert Plan(step=0, round=2**16).part != Plan(step=1, round=0).part
    assert GroupOutcome(0, "a", [1.0], part=Plan(step=2**31 - 1, round=2**32 - 1).part).part == 2**63 - 1


FIRST = [group.prompt_id for group in uniform().plan(0)]
anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 5),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.lists(st.integers(0, 1), max_size=5),
    st.dictionaries(st.integers(0, 1), st.floats(), max_size=2),
    st.sampled_from(
        ["prompt-0", "prompt-1", 2**31, 2**62, 2**63, 10**400, 1e308, np.int64(1), np.zeros(2), np.bool_(True)]
    ),
)
columns = st.one_of(anything, st.lists(anything, min_size=4, max_size=4), st.lists(anything, max_size=5))
calls = st.one_of(
    st.tuples(st.just("plan"), anything),
    st.tuples(st.just("admitted"), anything, anything),
    st.tuples(st.sampled_from(["lost", "found"]), anything, anything, anything),
    st.tuples(st.just("observe"), *[anything] * 2, *[columns] * 4, *[anything] * 3),
    st.tuples(st.just("observe"), st.just(0), st.just(FIRST[0]), *[columns] * 4, *[anything] * 3),
)


def make_call(curriculum: Curriculum, kind: str, given: list[Any]) -> object:
    if kind == "observe":
        good = GroupOutcome(1, FIRST[1], [1.0, 0.0])
        return curriculum.observe([good, GroupOutcome(*given)])
    if kind == "admitted":
        return curriculum.admitted(given[0], complete=given[1])
    if kind == "lost":
        return curriculum.lost(given[0], given[1], again=given[2])
    return getattr(curriculum, kind)(*given[: 2 if kind == "found" else 1])


@settings(max_examples=50)
@given(st.lists(calls, max_size=6))
def test_whatever_is_given_is_taken_whole_or_refused_without_a_trace(script: list[tuple[Any, ...]]) -> None:
    curriculum = uniform()
    curriculum.plan(0)
    for kind, *arguments in script:
        before = curriculum.state_dict()
        try:
            make_call(curriculum, kind, arguments)
        except (ValueError, TypeError):
            assert same_state(before, curriculum.state_dict()), f"{kind}{arguments} left a trace"
    if curriculum.step < 2**31 - 1:
        curriculum.observe(outcomes_of(curriculum.plan(curriculum.step + 1), lambda num: [1.0] * num))
        curriculum.admitted(curriculum.step)
    assert all(map(math.isfinite, curriculum.metrics().values()))
    assert np.isfinite(curriculum.pass_rates().mean).all()


def test_before_the_first_plan_nobody_trains() -> None:
    curriculum = uniform()
    assert curriculum.admitted(curriculum.step) == []
    with pytest.raises(ValueError, match="was asked at step -1"):
        curriculum.admitted(0)
