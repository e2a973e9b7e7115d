"""Wrappers: the contract, around methods of one round and of several, and what they look through."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from didact import Curriculum, PromptPool, make
from didact.method import Method
from didact.methods import METHODS, check_options
from didact.methods.wrappers import UniformShare, Wrapper
from didact.testing import CurriculumContract, SimulatedPolicy, play, pool_of

pytestmark = pytest.mark.filterwarnings("ignore::didact.silence.NothingLearnt")
SIZES: dict[str, Any] = {"prompts_per_step": 8, "rollouts_per_step": 64}


class Wrapped(CurriculumContract):
    """All wrappers that a method takes, at once. Each pool of the contract begins with a prompt of the first source."""

    method = "uniform"
    options: ClassVar[dict[str, Any]] = {"uniform_share": 0.3, "token_price": 0.5}

    @staticmethod
    def columns(ids: Sequence[str]) -> dict[str, Any]:
        return {"source": [f"source-{ord(name[-1]) % 3}" for name in ids]}

    @classmethod
    def build(cls, pool: PromptPool, **options: Any) -> Curriculum:
        return make(cls.method, pool, quotas={pool.source[0]: 0.6}, **cls.options, **options)


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


@pytest.mark.parametrize(("name", "value"), [("uniform_share", 1.5), ("token_price", -0.5), ("uniform_share", "x")])
def test_shares_and_prices_out_of_range(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a number from 0 to 1"):
        make("uniform", pool_of(20), **SIZES, **{name: value})
