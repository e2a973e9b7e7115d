"""Building methods by name, and the errors that help with it."""

import pytest

from didact import METHODS, Curriculum, make
from didact.methods import ABOUT, method_options
from didact.testing import pool_of

SIZES = {"prompts_per_step": 4, "rollouts_per_step": 32}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_built_described_and_can_list_its_options(method: str) -> None:
    curriculum = make(method, pool_of(40, difficulty=range(40), prompt_tokens=range(1, 41)), seed=3, **SIZES)
    assert isinstance(curriculum, Curriculum)
    assert curriculum.name == method
    assert isinstance(curriculum, METHODS[method]) if isinstance(METHODS[method], type) else True
    assert method in ABOUT
    assert {"seed", "prompts_per_step", "discount"} <= set(method_options(method))
    assert "pool" not in method_options(method)


@pytest.mark.parametrize(
    ("method", "options", "error", "words"),
    [
        ("curse", SIZES, ValueError, "did you mean 'cures'"),
        ("zzz", SIZES, ValueError, "unknown method 'zzz'; methods: "),
        ("cures", {**SIZES, "temprature": 1}, TypeError, "did you mean 'temperature'"),
        ("uniform", {**SIZES, "temperature": 1}, TypeError, "unknown option 'temperature' for method 'uniform'"),
        ("uniform", {"prompts_per_step": 4}, TypeError, "needs the option 'rollouts_per_step'"),
        (
            "uniform",
            {**SIZES, "prompts_per_step": 0},
            ValueError,
            "prompts_per_step must be a whole number from 1 to 1048576, got 0",
        ),
        ("uniform", {**SIZES, "rollouts_per_step": 0}, ValueError, "rollouts_per_step must be a whole number"),
        ("uniform", {**SIZES, "rollouts_per_step": 7}, ValueError, "less than 2 rollouts for each"),
        ("uniform", {**SIZES, "prompts_per_step": 2.5}, ValueError, "got 2.5"),
        ("uniform", {**SIZES, "seed": "0"}, ValueError, "seed must be a whole number .*, got '0'"),
    ],
)
def test_errors_say_what_to_do(method: str, options: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make(method, pool_of(40), **options)


def test_a_list_of_ids_is_no_pool() -> None:
    with pytest.raises(TypeError, match="write PromptPool"):
        make("uniform", ["a", "b"], **SIZES)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("temperature", "abc", "a number from"),
        ("reset", 1.5, "true or false"),
        ("subset_size", "all", "a whole number from 1 to"),
        ("seed", None, "a whole number from"),
    ],
)
def test_an_option_of_the_wrong_type_says_what_was_expected(name, value, wanted):
    with pytest.raises(ValueError, match=f"{name} must be {wanted}.*, got {value!r}"):
        make("cures", pool_of(8), **{"prompts_per_step": 2, "rollouts_per_step": 8, name: value})
