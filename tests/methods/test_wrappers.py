"""Wrappers: a share of uniform, quotas by source, a price on tokens, around methods of one round and of several."""

from typing import Any, ClassVar

import numpy as np
import pytest

from didact import Curriculum, GroupOutcome, Plan, PromptPool, make
from didact.method import Method
from didact.methods import METHODS, check_options
from didact.methods.wrappers import Quotas, UniformShare, Wrapper
from didact.sharded.pool import ShardedPool
from didact.testing import CurriculumContract, SimulatedPolicy, play, pool_of

pytestmark = pytest.mark.filterwarnings("ignore::didact.silence.NothingLearnt")
SIZES: dict[str, Any] = {"prompts_per_step": 8, "rollouts_per_step": 64}


class Sourced(PromptPool):
    """The contract's own pool, which grows without columns, seen with one of three sources for each prompt."""

    def __init__(self, pool: PromptPool) -> None:
        self.__dict__ = pool.__dict__

    @property
    def source(self) -> np.ndarray:
        return np.array([f"source-{ord(name[-1]) % 3}" for name in self.ids], dtype=object)


class Wrapped(CurriculumContract):
    """All wrappers that a method takes, at once. Each pool of the contract begins with a prompt of the first source."""

    method = "uniform"
    options: ClassVar[dict[str, Any]] = {"uniform_share": 0.3, "token_price": 0.5}

    @classmethod
    def build(cls, pool: PromptPool, **options: Any) -> Curriculum:
        sourced = Sourced(pool)
        return make(cls.method, sourced, quotas={sourced.source[0]: 0.6}, **cls.options, **options)


class TestWrappedUniform(Wrapped):
    keeps_budget = True


class TestWrappedDAPO(Wrapped):
    method = "dapo"


class TestWrappedCurES(Wrapped):
    method = "cures"
    options: ClassVar[dict[str, Any]] = {"uniform_share": 0.3, "token_price": 0.5, "steps_per_iteration": 3}


class TestWrappedSPEED(Wrapped):
    method = "speed"
    options: ClassVar[dict[str, Any]] = {"uniform_share": 0.3}


del Wrapped  # it is no suite itself


# Looked through -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_wrapper_has_the_traits_of_its_method(method: str) -> None:
    options = {"prompts_per_step": 4, "rollouts_per_step": 32}
    plain = check_options(method, **options)
    wrapped = check_options(method, uniform_share=0.1, **options)
    assert isinstance(wrapped.method, UniformShare)
    for trait in ("name", "one_round", "own_baseline", "weighs_groups", "wants_gradients", "uneven"):
        assert getattr(wrapped, trait) == getattr(plain, trait), trait
    assert (wrapped.advantage, wrapped.loss_weighting) == (plain.advantage, plain.loss_weighting)
    assert wrapped.max_rollouts_per_step == plain.max_rollouts_per_step
    assert wrapped.method.surplus == plain.method.surplus
    assert wrapped.options == plain.options | {"uniform_share": 0.1}


def test_all_that_a_method_says_of_itself_is_looked_through() -> None:
    """What is added to `Method` must be added to `Wrapper`, but for what it takes from the class by itself."""
    said = {name for name, value in vars(Method).items() if callable(value) or isinstance(value, property)}
    own = {"__init__", "__post_init__", "init", "__hash__", "__eq__", "__repr__"}
    assert {name for name in said if not name.startswith("__")} - own <= set(vars(Wrapper))


def test_options_that_ask_for_nothing_wrap_nothing() -> None:
    plain = make("uniform", pool_of(20), **SIZES)
    none = make("uniform", pool_of(20), uniform_share=0, quotas=None, token_price=0.0, **SIZES)
    assert none.options == plain.options
    assert not isinstance(none.method, Wrapper)


def test_a_state_needs_the_same_wrappers() -> None:
    plain, wrapped = make("uniform", pool_of(20), **SIZES), make("uniform", pool_of(20), uniform_share=0.5, **SIZES)
    with pytest.raises(ValueError, match=r"made with uniform_share=0\.5, this curriculum has uniform_share='unset'"):
        plain.load_state_dict(wrapped.state_dict())


def test_pilots_that_never_train_stay() -> None:
    options = {"steps_per_iteration": 2, **SIZES}
    plain = make("cures", pool_of(60), **options)
    wrapped = make("cures", pool_of(60), uniform_share=1.0, **options)
    for step in range(4):
        for one in (plain, wrapped):
            play(one, SimulatedPolicy(), [step])
    pilots = [one.memory if one is plain else one.memory.inner for one in (plain, wrapped)]
    assert pilots[0].subset.tolist() == pilots[1].subset.tolist()


def test_a_method_of_ones_own_must_say_that_it_continues_groups() -> None:
    class Silent(METHODS["speed"]):  # type: ignore[misc, name-defined]
        continues = False

    curriculum = make(Silent, pool_of(20), uniform_share=0.5, **SIZES)
    curriculum.observe(SimulatedPolicy().roll_out(curriculum.plan(0)))
    with pytest.raises(ValueError, match="must declare continues = True"):
        curriculum.plan(0)


# A share of uniform ---------------------------------------------------------------------------------------------


def nearest_half(**options: Any) -> tuple[Curriculum, SimulatedPolicy]:
    """PCL on a pool of 400 whose pass rates follow from the features: it trains on a few in the middle."""
    feature = np.linspace(-1, 1, 400)
    pool = pool_of(400, features=feature)
    rates = 1 / (1 + np.exp(-5 * feature))
    curriculum = make("pcl", pool, candidates=50, **SIZES, **options)
    return curriculum, SimulatedPolicy(dict(zip(pool.ids, rates.tolist(), strict=True)))


def test_a_share_of_uniform_brings_prompts_that_the_method_never_would() -> None:
    """100 steps of 8 prompts, a quarter of them in passes: 200 of 400."""
    seen = {}
    for share in (0.0, 0.25):
        curriculum, _ = play(*nearest_half(uniform_share=share), range(100))
        rollouts = curriculum.pass_rates().num_rollouts
        seen[share] = int((rollouts > 0).sum())
        assert rollouts.sum() == 100 * 64
    assert seen[0.0] < 120
    assert 200 <= seen[0.25] < 200 + seen[0.0]


def test_fractions_of_a_prompt_add_up() -> None:
    curriculum, policy = nearest_half(uniform_share=0.05)  # 0.4 prompts a step
    came = []
    for step in range(30):
        play(curriculum, policy, [step])
        came.append(curriculum.memory.passes.state_dict()["cursor"])
    assert came[:6] == [0, 0, 1, 1, 2, 2]
    assert came[-1] == 12


def test_all_of_it_is_uniform() -> None:
    curriculum, policy = nearest_half(uniform_share=1.0)
    curriculum, _ = play(curriculum, policy, range(50))
    assert set(curriculum.pass_rates().num_rollouts.tolist()) == {8}


def test_a_share_of_uniform_runs_on_shards() -> None:
    def built() -> Curriculum:
        pool = ShardedPool.split([f"prompt-{index}" for index in range(60)], 3)
        return make("cures", pool, steps_per_iteration=2, uniform_share=0.5, token_price=0.5, **SIZES)

    curriculum, _ = play(built(), SimulatedPolicy(), range(4))
    resumed = built()
    resumed.load_state_dict(curriculum.state_dict())
    for one in (curriculum, resumed):
        play(one, SimulatedPolicy(), range(4, 7))
    assert curriculum.state_dict()["digest"] == resumed.state_dict()["digest"]


# Quotas ---------------------------------------------------------------------------------------------------------


def trained_shares(method: str, steps: int, rates: dict[str, float], sizes: dict[str, int], **options: Any) -> Any:
    """The share of each source among the groups that trained, and of the rollouts; in the order of the sources."""
    sources = [name for name, size in sizes.items() for _ in range(size)]
    lengths = [{"long": 500}.get(name, 50) for name in sources]
    pool = pool_of(len(sources), source=sources, prompt_tokens=lengths)
    of = dict(zip(pool.ids, sources, strict=True))
    policy = SimulatedPolicy({prompt: rates[name] for prompt, name in of.items()})
    curriculum = make(method, pool, **SIZES, **options)
    _, trace = play(curriculum, policy, range(steps))
    trained = [of[group[1]] for entry in trace if entry[0] == "admitted" for group in entry[2:]]
    rollouts = np.bincount(
        np.array([list(sizes).index(name) for name in sources]), curriculum.pass_rates().num_rollouts
    )
    return {name: trained.count(name) / len(trained) for name in sizes}, rollouts / rollouts.sum(), curriculum


def test_a_source_that_screening_leaves_out_comes_to_its_floor() -> None:
    """A tenth of the pool passes 3 times in 100: SPEED screens a tenth of it and trains on hardly any."""
    rates, sizes = {"hard": 0.03, "easy": 0.5}, {"hard": 50, "easy": 450}
    without, _, _ = trained_shares("speed", 60, rates, sizes)
    share, rollouts, curriculum = trained_shares("speed", 60, rates, sizes, quotas={"hard": 0.1})
    assert without["hard"] < 0.02
    assert share["hard"] == pytest.approx(0.1, abs=0.03)
    assert curriculum.metrics()["groups_trained"] == 60 * 8
    assert rollouts[0] < 0.65  # what that costs


def test_a_source_whose_prompts_are_long_trains_in_the_short_stages_too() -> None:
    rates, sizes = {"long": 0.5, "short": 0.5}, {"long": 50, "short": 450}
    stages = {"total_steps": 400, "max_context": 64}  # the first of them lasts longer than this run
    without, _, _ = trained_shares("fastcurl", 30, rates, sizes, **stages)
    share, _, _ = trained_shares("fastcurl", 30, rates, sizes, quotas={"long": 0.1}, **stages)
    assert without["long"] == 0
    assert share["long"] == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("method", ["uniform", "dapo", "cures"])
def test_floors_and_ceilings_hold(method: str) -> None:
    rates, sizes = {"a": 0.5, "b": 0.5, "c": 0.5}, {"a": 300, "b": 60, "c": 40}
    quotas = {"a": [None, 0.5], "c": 0.3}
    share, _, _ = trained_shares(method, 50, rates, sizes, quotas=quotas)
    assert share["a"] <= 0.52
    assert share["c"] >= 0.28
    assert share["b"] > 0.1


def test_quotas_that_hold_already_change_nothing() -> None:
    plans = []
    for quotas in (None, {"a": [0.0, 1.0]}):
        curriculum = make("uniform", pool_of(40, source=["a", "b"] * 20), quotas=quotas, **SIZES)
        plans.append([entry for entry in play(curriculum, SimulatedPolicy(), range(6))[1] if entry[0] == "plan"])
    assert plans[0] == plans[1]


def test_a_source_that_never_trains_does_not_take_all() -> None:
    rates, sizes = {"dead": 0.0, "mixed": 0.5}, {"dead": 50, "mixed": 450}
    share, rollouts, _ = trained_shares("dapo", 40, rates, sizes, quotas={"dead": 0.2})
    assert share["dead"] == 0
    assert 0.3 < rollouts[0] < 0.6


def test_sources_that_join_are_counted_and_saved() -> None:
    pool = pool_of(40, source=["a", "b"] * 20)
    curriculum, _ = play(make("dapo", pool, quotas={"b": [None, 0.2]}, **SIZES), SimulatedPolicy(), range(4))
    pool.extend([f"late-{index}" for index in range(20)], source=["late"] * 20)
    curriculum, _ = play(curriculum, SimulatedPolicy(), range(4, 8))
    resumed = make("dapo", pool, quotas={"b": [None, 0.2]}, **SIZES)
    resumed.load_state_dict(curriculum.state_dict())
    for one in (curriculum, resumed):
        play(one, SimulatedPolicy(), range(8, 12))
    assert curriculum.memory.planned[2] > 0
    assert curriculum.state_dict()["digest"] == resumed.state_dict()["digest"]


@pytest.mark.parametrize(
    ("quotas", "words"),
    [
        ({"maths": 0.2}, r"quotas of source 'maths', which no prompt has; did you mean 'math'\?"),
        ({"math": 1.2}, "quotas of source 'math' must be a number from 0 to 1, got 1.2"),
        ({"math": [0.5, 0.2]}, "cross: at least 0.5 and at most 0.2"),
        ({"math": [0.5]}, r"are \[least, most\]"),
        ({"math": 0.7, "code": 0.6}, "promise 1.3 of the groups"),
        ({"math": [0, 0.3], "code": [0, 0.3]}, "give 0.4 of the groups to no source"),
        ([0.5], "quotas are shares by source"),
    ],
)
def test_quotas_that_cannot_be(quotas: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make("uniform", pool_of(20, source=["math", "code"] * 10), quotas=quotas, **SIZES)


def test_quotas_need_sources_in_one_place() -> None:
    with pytest.raises(ValueError, match=r"this pool has no such column: PromptPool\(ids, source="):
        make("uniform", pool_of(20), quotas={"a": 0.5}, **SIZES)
    ids = [f"prompt-{index}" for index in range(20)]
    with pytest.raises(ValueError, match="cannot be a ShardedPool"):
        make("uniform", ShardedPool.split(ids, 2, source=["a"] * 20), quotas={"a": 0.5}, **SIZES)


def test_options_are_checked_before_a_pool_is_there() -> None:
    assert isinstance(check_options("cures", quotas={"mine": 0.5}, **SIZES).method, Quotas)


# A price on tokens ----------------------------------------------------------------------------------------------


def tokens_of(plan: Plan) -> list[GroupOutcome]:
    """Responses of 400 tokens to prompts of an even number, of 100 to the others."""
    return [
        GroupOutcome(
            group.group_id,
            group.prompt_id,
            [float(index % 2) for index in range(group.num_rollouts)],
            num_tokens=[100 if int(group.prompt_id.removeprefix("prompt-")) % 2 else 400] * group.num_rollouts,
        )
        for group in plan
    ]


@pytest.mark.parametrize(("price", "ratio"), [(0.5, 2.0), (1.0, 4.0)])
def test_rollouts_go_where_responses_are_short(price: float, ratio: float) -> None:
    """Lengths of 400 and 100: groups of a and b with b / a = 4^price once they are known well, for the same budget."""
    pool = pool_of(8)
    curriculum = make("uniform", pool, prompts_per_step=8, rollouts_per_step=160, token_price=price)
    assert curriculum.uneven
    for step in range(40):
        plan = curriculum.plan(step)
        assert plan.num_rollouts == 160
        curriculum.observe(tokens_of(plan))
        curriculum.admitted(step)
    sizes = {group.prompt_id: group.num_rollouts for group in plan}
    assert sizes["prompt-1"] / sizes["prompt-0"] == pytest.approx(ratio, rel=0.15)


def test_the_price_multiplies_what_the_method_gives() -> None:
    """One visit of 8 rollouts of 400 or 100, a mean of 250: (8 * 400 + 8 * 250) / 16 = 325 and 175 are expected."""
    curriculum = make("uniform", pool_of(8), **SIZES, token_price=0.5)
    curriculum.observe(tokens_of(curriculum.plan(0)))
    sizes = [group.num_rollouts for group in curriculum.plan(1)]
    shares = np.array([325.0**-0.5, 175.0**-0.5])
    assert sorted(set(sizes)) == [round(64 * share / (4 * shares.sum())) for share in shares]


def test_lengths_that_nobody_told_cost_the_same() -> None:
    curriculum = make("uniform", pool_of(8), **SIZES, token_price=1.0)
    for step in range(3):
        plan = curriculum.plan(step)
        assert {group.num_rollouts for group in plan} == {8}
        curriculum.observe(GroupOutcome(each.group_id, each.prompt_id, [0.0, 1.0] * 4) for each in plan)
        curriculum.admitted(step)


@pytest.mark.parametrize("method", ["speed", "pilot_commit", "reinforce_ada", "hora"])
def test_a_method_that_continues_its_groups_takes_no_price(method: str) -> None:
    with pytest.raises(ValueError, match=f"method '{method}' sizes its groups by continuing them"):
        make(method, pool_of(20), token_price=0.5, **SIZES)


@pytest.mark.parametrize(("name", "value"), [("uniform_share", 1.5), ("token_price", -0.5), ("uniform_share", "x")])
def test_shares_and_prices_out_of_range(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a number from 0 to 1"):
        make("uniform", pool_of(20), **SIZES, **{name: value})
