"""Sharded pools: the contract in shards, the laws of draws and passes, and values equal to those of one pool."""

import gc
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didact import METHODS, GroupOutcome, PromptPool, make
from didact.belief import BetaBelief
from didact.desk import Dispatcher
from didact.sharded.passes import ShardedPasses
from didact.sharded.pool import ShardedPool
from didact.sharded.shards import LocalShards, Shard
from didact.sharded.tree import ShardedTree, pick
from didact.state import load_state, save_state, seal
from didact.testing import MethodContract, SimulatedPolicy, VariantContract, play, pool_of
from didact.testing.contract import same_state

SIZES = {"prompts_per_step": 4, "rollouts_per_step": 32}


class InShards(VariantContract):
    """The contract on a pool in three shards."""

    @staticmethod
    def pool_type(ids, **columns):
        return ShardedPool.split(ids, 3, **columns)


class TestUniformInShards(InShards):
    build = partial(make, "uniform")
    keeps_budget = True


@pytest.mark.slow
class TestDAPOInShards(InShards):
    build = partial(make, "dapo")
    keeps_budget = True


class TestSpeedInShards(InShards):
    build = partial(make, "speed")


class TestCurESInShards(InShards, MethodContract):
    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        return make("cures", pool, steps_per_iteration=3, **options)


class TestCurESWithWindowInShards(InShards):
    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        return make("cures", pool, steps_per_iteration=3, reset=False, window=2, **options)


@pytest.mark.slow
class TestCurESThatFadesInShards(InShards):
    keeps_budget = True

    @staticmethod
    def build(pool, **options):
        # A half fades without rounding, so that parts of an outcome add up to the last digit as the whole does.
        return make("cures", pool, steps_per_iteration=3, reset=False, discount=0.5, with_replacement=True, **options)


@pytest.mark.slow
class TestReinforceAdaInShards(InShards):
    build = partial(make, "reinforce_ada")


@pytest.mark.slow
class TestHORAInShards(InShards):
    build = partial(make, "hora")


# Laws ----------------------------------------------------------------------------------------------------------------


def sharded(size: int, num_shards: int) -> ShardedPool:
    return ShardedPool.split(pool_of(size).ids.tolist(), num_shards)


def successive(weights: dict[int, float], num: int) -> dict[tuple[int, ...], float]:
    """The probability of every ordered draw of `num`, one after the other in proportion to what is left."""
    law = {}
    for order in permutations(weights, num):
        left, probability = sum(weights.values()), 1.0
        for position in order:
            probability *= weights[position] / left
            left -= weights[position]
        law[order] = probability
    return law


def chi_square(seen: Counter, law: dict) -> float:
    """Pearson's statistic over its number of degrees of freedom, in standard deviations above what chance gives."""
    runs = sum(seen.values())
    assert set(seen) <= set(law)
    statistic = sum((seen[each] - runs * share) ** 2 / (runs * share) for each, share in law.items())
    free = len(law) - 1
    return (statistic - free) / (2 * free) ** 0.5


HEAVY = {0: 100.0, 5: 1.0, 6: 1.0, 11: 2.0}  # most rounds begin with the heavy one, and must not draw it again
CASES = [
    ({0: 0.5, 4: 0.3, 9: 0.2}, 12, 3, 2),
    ({0: 0.5, 1: 0.3, 2: 0.2}, 12, 4, 3),  # all in one shard, and as many draws as there are weights
    (HEAVY, 12, 3, 3),
    (HEAVY, 12, 12, 3),  # a shard for each prompt
    ({index: 1.0 + index % 3 for index in range(6)}, 6, 2, 3),
]


@pytest.mark.parametrize(("weights", "size", "num_shards", "num"), CASES)
def test_draws_follow_the_law_of_successive_sampling(weights, size, num_shards, num) -> None:
    tree, rng = sharded(size, num_shards).weight_tree(), np.random.default_rng(1)
    assert isinstance(tree, ShardedTree)
    tree.set(np.array(list(weights)), np.array(list(weights.values())))
    seen = Counter(tuple(tree.draw(num, rng).tolist()) for _ in range(4_000))
    assert chi_square(seen, successive(weights, num)) < 3
    assert np.array_equal(tree.weights[list(weights)], list(weights.values())), "what was taken out was put back"


def test_a_wrong_law_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards picked evenly, whatever they hold, as a draw that forgets to weigh them would."""
    weights, size, num_shards, num = CASES[0]
    tree, rng = sharded(size, num_shards).weight_tree(), np.random.default_rng(1)
    tree.set(np.array(list(weights)), np.array(list(weights.values())))
    monkeypatch.setattr("didact.sharded.tree.pick", lambda totals, uniform: pick((totals > 0).astype(float), uniform))
    seen = Counter(tuple(tree.draw(num, rng).tolist()) for _ in range(4_000))
    assert chi_square(seen, successive(weights, num)) > 30


def test_extreme_weights_and_nothing_to_draw() -> None:
    tree = sharded(9, 3).weight_tree()
    assert tree.draw(3, np.random.default_rng(0)).tolist() == []
    tree.set(np.array([0, 4, 8]), np.array([1e300, 1e-300, 1.0]))
    assert sorted(tree.draw(9, np.random.default_rng(0)).tolist()) == [0, 4, 8]
    assert tree.draw(1, np.random.default_rng(0)).tolist() == [0]
    assert tree.draw(0, np.random.default_rng(0)).tolist() == []


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_pass_is_a_uniformly_random_order_of_the_pool(batch: int) -> None:
    """All 120 orders of five prompts in shards of 2, 2 and 1, whatever the batches."""
    pool = ShardedPool([partial(part, names) for names in (["a", "b"], ["c", "d"], ["e"])])
    seen: Counter = Counter()
    for seed in range(2_400):
        passes = pool.passes(seed)
        seen[tuple(np.concatenate([passes.take(min(batch, 5 - at), 5) for at in range(0, 5, batch)]).tolist())] += 1
    assert chi_square(seen, dict.fromkeys(permutations(range(5)), 1 / 120)) < 3


def part(names: list[str]) -> dict:
    return {"ids": names}


def test_the_second_pass_is_as_random_and_a_batch_over_its_edge_holds_distinct_prompts() -> None:
    pool = sharded(6, 3)
    first: Counter = Counter()
    for seed in range(1_500):
        passes = pool.passes(seed)
        passes.take(6, 6)
        first[tuple(passes.take(2, 6).tolist())] += 1
        batch = passes.take(5, 6)  # four of this pass, one of the next
        assert len(set(batch.tolist())) == 5
    assert chi_square(first, dict.fromkeys(permutations(range(6), 2), 1 / 30)) < 3


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 5), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_every_pass_holds_every_prompt_once_also_when_saved_and_grown(batches, num_shards, seed) -> None:
    pool = sharded(7, num_shards)
    passes, taken = pool.passes(seed), []
    for index, num in enumerate(batches):
        if index == 2:
            pool.extend(["new-1", "new-2"])
        batch = passes.take(num, len(pool))
        assert len(set(batch.tolist())) == len(batch) == min(num, len(pool))
        taken += batch.tolist()
        again = pool.passes(seed)
        assert isinstance(again, ShardedPasses)
        again.load_state_dict(passes.state_dict())
        passes = again
    counts = Counter(taken)
    assert max(counts.values()) - min(counts.get(position, 0) for position in range(7)) <= 1


# Values --------------------------------------------------------------------------------------------------------------

BELIEFS: list[dict] = [{}, {"discount": 0.7}, {"window": 2}, {"pass_above": 0.4}, {"prior": (2.0, 0.5)}]


@pytest.mark.parametrize("options", BELIEFS)
@pytest.mark.parametrize("num_shards", [1, 4])
def test_a_belief_in_shards_holds_the_same_values(options: dict, num_shards: int) -> None:
    pool, rng = sharded(700, num_shards), np.random.default_rng(2)
    here, there = BetaBelief(700, **options), pool.belief(**options)
    for step in range(12):
        positions = rng.integers(0, 700, 150)
        sizes = rng.integers(0, 5, 150)
        versions = np.maximum(step - rng.integers(0, 3, 150), 0)
        rewards = rng.random(int(sizes.sum()))
        for each in (here, there):
            each.count(positions, sizes, 10 * sizes, step=step)
            each.observe(positions, sizes, rewards, step=step, versions=versions)
        if step == 5:
            for each in (here, there):
                each.reset(positions[:9])
        if step == 8:
            state, there = there.state_dict(), pool.belief(**options)
            there.load_state_dict(state)
        for name in ("mean", "spread", "evidence"):
            assert np.array_equal(getattr(here, name)(step=step), getattr(there, name)(step=step)), name
            asked = rng.integers(0, 700, 40)
            assert np.array_equal(getattr(here, name)(asked, step=step), getattr(there, name)(asked, step=step)), name
        for name in ("num_rollouts", "last_seen"):
            assert np.array_equal(getattr(here, name)(positions), getattr(there, name)(positions)), name
    ids = pool_of(700).ids
    for name, column in vars(here.pass_rates(ids, step=11)).items():
        assert np.array_equal(column, getattr(there.pass_rates(ids, step=11), name), equal_nan=name != "ids"), name


@pytest.mark.parametrize("method", ["cures", "speed"])  # what draws by weights, and what walks
def test_a_run_in_shards_is_the_same_in_law(method: str) -> None:
    """Rollouts spent on prompts by pass rate, over many seeds: the mean differs by less than four standard errors."""
    rates = {f"prompt-{index}": index / 39 for index in range(40)}
    spent: dict[int, list[np.ndarray]] = {0: [], 1: [], 4: []}
    for num_shards, rows in spent.items():
        for seed in range(60):
            pool = sharded(40, num_shards) if num_shards else pool_of(40)
            curriculum = make(method, pool, seed=seed + 1000 * num_shards, **SIZES)
            curriculum, _ = play(curriculum, SimulatedPolicy(rates, seed=seed), range(6))
            rows.append(curriculum.pass_rates().num_rollouts.reshape(5, 8).sum(axis=1))
    for num_shards in (1, 4):
        one, other = np.array(spent[0]), np.array(spent[num_shards])
        error = np.sqrt((one.var(axis=0) + other.var(axis=0)) / 60) + 1e-9
        assert (np.abs(one.mean(axis=0) - other.mean(axis=0)) < 4 * error).all(), (one.mean(axis=0), other.mean(axis=0))


def test_methods_that_need_the_whole_pool_are_refused_by_name() -> None:
    options = {"prompts_per_step": 4, "rollouts_per_step": 32}
    pool = ShardedPool.split(pool_of(40).ids.tolist(), 3, difficulty=np.arange(40), prompt_tokens=np.arange(40))
    for method, cls in METHODS.items():
        if not cls.shardable:
            with pytest.raises(ValueError, match=f"method {method!r} keeps or passes over.*docs/scale.md says which"):
                make(method, pool, **options)


# The pool ------------------------------------------------------------------------------------------------------------


def test_ids_and_columns_read_as_those_of_one_pool() -> None:
    ids, tokens = [f"{'ä' * (index % 30)}{index}" for index in range(100)], np.arange(100)
    features, source = np.random.default_rng(0).random((100, 3)), [str(index % 2) for index in range(100)]
    columns = {"prompt_tokens": tokens, "features": features, "source": source, "difficulty": tokens / 2}
    one, many = PromptPool(ids, **columns), ShardedPool.split(ids, 7, **columns)
    where = np.array([3, 99, 0, 3, 50])
    for name in ("ids", "prompt_tokens", "features", "source", "difficulty"):
        a, b = getattr(one, name), getattr(many, name)
        assert len(a) == len(b) == 100
        assert np.array_equal(a[where], b[where])
        assert np.array_equal(a[5], b[5])
        assert np.array_equal(a, np.asarray(b))
        assert np.array_equal(a[10:20], b[10:20])
        assert np.array_equal(a[-1], b[-1])
        assert np.array_equal(a[tokens > 90], b[tokens > 90])
    assert list(many.ids) == ids
    assert many.positions([ids[7], ids[99], ids[0]]).tolist() == [7, 99, 0]
    assert ids[3] in many
    assert "z" not in many
    assert 3 not in many
    with pytest.raises(ValueError, match="unknown prompt id 'z'"):
        many.positions([ids[0], "z"])
    with pytest.raises(IndexError):
        many.ids[100]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([["a", "b"], ["c", "a"]], "duplicate prompt id 'a'"),
        ([["a", "b", "b"], ["c"]], "duplicate prompt id 'b'"),
        ([["a"], []], "at least one prompt id"),
        ([["a"], [""]], "empty string"),
        ([], "at least one shard"),
    ],
)
def test_bad_shards(parts: list[list[str]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ShardedPool([partial(part, names) for names in parts])


def test_ids_may_be_bytes_of_a_numpy_array() -> None:
    names = np.array(["a", "bcd", "ef"], dtype="S")
    assert list(ShardedPool([lambda: {"ids": names}]).ids) == ["a", "bcd", "ef"]


def test_growth_that_fails_changes_nothing() -> None:
    pool = ShardedPool.split(["a", "b", "c"], 2, prompt_tokens=[1, 2, 3])
    before = pool.fingerprint()
    for ids, columns in (["a"], {"prompt_tokens": [1]}), (["d", "d"], {"prompt_tokens": [1, 2]}), (["d"], {}):
        with pytest.raises(ValueError):
            pool.extend(ids, **columns)
    assert list(pool.ids) == ["a", "b", "c"]
    assert pool.fingerprint() == before
    pool.extend(["d"], prompt_tokens=[4])
    assert pool.fingerprint(3) == before != pool.fingerprint()
    assert pool.positions(["d"]).tolist() == [3]


def test_the_shards_are_part_of_the_fingerprint() -> None:
    ids = pool_of(12).ids.tolist()
    assert ShardedPool.split(ids, 3).fingerprint() == ShardedPool.split(ids, 3).fingerprint()
    assert len({ShardedPool.split(ids, num).fingerprint() for num in (1, 2, 3)} | {pool_of(12).fingerprint()}) == 4


def test_new_shards_may_follow_when_a_run_goes_on() -> None:
    """A state of two shards loads on the same two and a third."""
    first, second, third = (partial(part, [f"{name}-{index}" for index in range(10)]) for name in "abc")
    curriculum, _ = play(make("cures", ShardedPool([first, second]), **SIZES), SimulatedPolicy(), range(3))
    more = make("cures", ShardedPool([first, second, third]), **SIZES)
    more.load_state_dict(curriculum.state_dict())
    curriculum, _ = play(more, SimulatedPolicy(), range(3, 30))
    assert (curriculum.pass_rates().num_rollouts[20:] > 0).all()


def test_stores_go_with_the_curriculum() -> None:
    pool = sharded(20, 2)
    for _ in range(3):
        make("cures", pool, **SIZES).plan(0)
    pool.shards.ask_each("about")
    assert isinstance(pool.shards, LocalShards)
    assert [len(shard._targets) for shard in pool.shards._shards] == [1, 1]


def test_a_state_in_files_of_the_shards(tmp_path: Path) -> None:
    ids, build = pool_of(40).ids.tolist(), partial(make, "cures", steps_per_iteration=3, reset=False, window=3, **SIZES)
    curriculum, _ = play(build(ShardedPool.split(ids, 3, states=tmp_path / "new")), SimulatedPolicy(), range(3))
    state = curriculum.state_dict()
    assert curriculum.state_dict() is not state
    assert len(list((tmp_path / "new").iterdir())) == 3, "the same state has the same files"
    save_state(tmp_path / "state", state)
    trace = play(curriculum, SimulatedPolicy(), range(3, 6))[1]
    fresh = build(ShardedPool.split(ids, 3, states=tmp_path / "new"))
    fresh.load_state_dict(load_state(tmp_path / "state"))
    assert play(fresh, SimulatedPolicy(), range(3, 6))[1] == trace
    with pytest.raises(ValueError, match="give the pool the folder"):
        build(ShardedPool.split(ids, 3)).load_state_dict(state)
    with pytest.raises(FileNotFoundError):
        build(ShardedPool.split(ids, 3, states=tmp_path)).load_state_dict(state)


@pytest.mark.parametrize("method", ["cures", "uniform"])
def test_a_state_that_is_refused_leaves_the_shards_as_they_were(method: str) -> None:
    """One shard takes its part, the next refuses: nothing has changed, and nothing is left of the attempt."""
    pool = sharded(20, 2)
    curriculum, _ = play(make(method, pool, **SIZES), SimulatedPolicy(), range(3))
    state = {name: value for name, value in curriculum.state_dict().items() if name != "digest"}
    entries = state["belief"]["shards"]
    other, _ = play(make(method, sharded(20, 2), **SIZES), SimulatedPolicy(seed=1), range(2))
    before = other.state_dict()
    assert isinstance(other.pool, ShardedPool)
    assert isinstance(other.pool.shards, LocalShards)
    stores = [len(shard._targets) for shard in other.pool.shards._shards]
    walk = state["walk"]
    for bad in (
        {"belief": {"size": 20, "shards": [entries[0], {**entries[1], "positions": entries[1]["positions"] + 99}]}},
        {"belief": {"size": 20, "shards": [entries[0], {**entries[1], "size": 10**12}]}},
        {"belief": {"size": 20, "shards": [entries[0], {**entries[1], "rows": {**entries[1]["rows"], "size": 10**9}}]}},
        {"belief": {"size": 20, "shards": entries[:1]}},
        {"walk": {**walk, "taken": walk["taken"] + 1}},
        {"walk": {**walk, "taken": walk["taken"][::-1] - [9, -9]}},
    ):
        with pytest.raises(ValueError):
            other.load_state_dict(seal({**state, **bad}))
        assert same_state(before, other.state_dict())
        gc.collect()  # the error holds what was being loaded
        other.pool.shards.ask_each("about")
        assert [len(shard._targets) for shard in other.pool.shards._shards] == stores
    other.load_state_dict(seal(state))
    assert same_state(curriculum.state_dict(), other.state_dict())
    gc.collect()
    other.pool.shards.ask_each("about")
    assert [len(shard._targets) for shard in other.pool.shards._shards] == stores
    assert play(other, SimulatedPolicy(), range(3, 9))[1] == play(curriculum, SimulatedPolicy(), range(3, 9))[1]


def test_a_file_of_a_shard_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    build = partial(make, "uniform", **SIZES)
    curriculum, _ = play(build(ShardedPool.split(pool_of(20).ids, 2, states=tmp_path)), SimulatedPolicy(), range(3))
    state = curriculum.state_dict()
    first, second = (tmp_path / entry["file"] for entry in state["belief"]["shards"])
    second.write_bytes(first.read_bytes())
    fresh = build(ShardedPool.split(pool_of(20).ids, 2, states=tmp_path))
    with pytest.raises(ValueError, match="does not hold what its name says"):
        fresh.load_state_dict(state)
    second.unlink()
    with pytest.raises(FileNotFoundError):
        fresh.load_state_dict(state)
    assert fresh.step == -1
    assert same_state(curriculum.state_dict(), state)  # whose file is written anew
    fresh.load_state_dict(state)
    assert fresh.step == 2


# What a shard that was lost has to come back from --------------------------------------------------------------------


def test_a_snapshot_and_what_was_told_since_make_the_same_shard() -> None:
    """A run in which shards are thrown away and made anew between any two messages."""

    def run(shards: LocalShards) -> list:
        pool = ShardedPool(shards)
        curriculum, trace = play(make("cures", pool, steps_per_iteration=3, **SIZES), SimulatedPolicy(), range(4))
        pool.extend(["x", "y"])
        return trace + play(curriculum, SimulatedPolicy(), range(4, 9))[1]

    sources = [partial(part, [f"{name}-{index}" for index in range(15)]) for name in "ab"]
    assert run(Forgetful(sources)) == run(LocalShards(sources))


class Forgetful(LocalShards):
    """Each shard is rebuilt from its source and its snapshot before every message."""

    def __init__(self, sources: list[Callable]) -> None:
        super().__init__(sources)
        self._sources = sources

    def _deliver(self, messages):
        for index, source in enumerate(self._sources if hasattr(self, "_sources") else ()):
            shard = Shard(source)
            shard.restore(self._shards[index].snapshot())
            self._shards[index] = shard
        return super()._deliver(messages)


def test_ids_that_were_let_go_are_asked_for_again() -> None:
    """Outcomes of prompts whose ids are no longer remembered here."""
    pool = sharded(30, 3)
    curriculum = make("uniform", pool, **SIZES)
    plan = curriculum.plan(0)
    pool._rows.forget()
    curriculum.observe(GroupOutcome(group.group_id, group.prompt_id, [1.0] * group.num_rollouts) for group in plan)
    assert curriculum.metrics()["rollouts"] == 32


def test_the_desk_of_asynchronous_trainers_serves_a_sharded_pool() -> None:
    """A worker is lost now and then; every reported rollout is counted once, in its shard."""
    desk = Dispatcher(make("cures", sharded(60, 3), steps_per_iteration=2, **SIZES), max_lag=2)
    reported = 0
    for version in range(6):
        while work := desk.ask("worker"):
            if work.lease % 5 == 3:
                desk.lost("worker")  # and handed out again
                continue
            rewards = [float(index % 2) for index in range(work.group.num_rollouts)]
            reported += len(desk.report(work.lease, rewards, policy_version=version).positions)
        desk.admitted()
        desk.advance(version + 1)
    assert reported > 100
    assert desk.metrics()["rollouts"] == reported == desk.pass_rates().num_rollouts.sum()


def test_ids_that_a_shard_cannot_keep_apart_or_read_back_are_refused():
    for ids, words in (
        (["a", "\ud800"], "is no text that UTF-8 can express"),
        (np.array([b"a\x00b", b"ab"]), "a NUL inside"),
        (np.array([b"a", b"\xff"]), "is no UTF-8"),
        (np.array([b"\xc3", b"\xa9"]), "begins within a character"),
    ):
        with pytest.raises(ValueError, match=words):
            ShardedPool([lambda ids=ids: {"ids": ids}])
    names = np.array(["\u00e9", "b"])
    assert ShardedPool([lambda: {"ids": np.char.encode(names, "utf-8")}]).ids.tolist() == names.tolist()
    lists = [["a\x00", "b"], ["a", "\x00b"], ["a\x00b", "\x00"]]
    assert len({ShardedPool.split(ids, 1).fingerprint() for ids in lists}) == len(lists)


@pytest.mark.parametrize("options", [{"prior": [1]}, {"pass_above": np.nan}, {"window": 1.5}, {"discount": "x"}])
def test_a_sharded_belief_checks_its_options_when_it_is_made(options):
    pool = ShardedPool.split(["a", "b"], 2)
    with pytest.raises(ValueError, match=next(iter(options))):
        make("uniform", pool, prompts_per_step=1, rollouts_per_step=4, **options)
