"""Building methods by name, and the errors that help with it."""

import itertools
import json
import math
import warnings
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest

from didact import METHODS, Curriculum, Draft, Method, Turn, make, option
from didact.methods import about, check_options, find, method_options, spelling
from didact.methods.registry import registered
from didact.testing import SimulatedPolicy, play, pool_of

pytestmark = pytest.mark.filterwarnings("ignore::didact.silence.NothingLearnt")
SIZES = {"prompts_per_step": 4, "rollouts_per_step": 32}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_built_described_and_can_list_its_options(method: str) -> None:
    columns = {"source": ["a", "b"] * 20, "difficulty": range(40), "prompt_tokens": range(1, 41)}
    curriculum = make(method, pool_of(40, **columns, features=np.eye(40)), seed=3, **SIZES)
    assert isinstance(curriculum, Curriculum)
    assert curriculum.name == method
    assert type(curriculum.method) is METHODS[method]
    line, paper = about(method)
    assert line.endswith(tuple("abcdefghijklmnopqrstuvwxyz)2"))
    assert len(line) < 100
    assert paper.startswith("arXiv:") or method in ("didact", "uniform")
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


ODD: list[Any] = [math.nan, math.inf, -1, 0, 0.5, "x", None, [], {}, True, 2**31, 10**400, 1e308, (1, 1), object()]
ODD += [np.float32(0.5), np.int64(2), np.zeros(3), False, "", "signal", "0.5", "null", b"x", [0.2, 0.8], [0.8, 0.2]]
ODD += [
    [[1, 8], [1, 16]],
    [[1, 8, 2]],
    [None],
    ["x", "y"],
    {"low": 0.2},
    {1},
    Decimal("0.5"),
    lambda: 1,
    np.array(2),
    1j,
]


@pytest.mark.parametrize("method", METHODS)
def test_every_option_is_refused_by_its_name_or_works(method: str) -> None:
    column = np.arange(12)
    columns = {"difficulty": column * 8.0, "prompt_tokens": column + 1, "features": column[:, None] * 0.5}
    columns |= {"pass_rate": column / 12, "source": [str(each % 3) for each in column]}
    # What all methods share is tried once.
    shared = set() if method == "uniform" else set(method_options("uniform"))
    for name, value in itertools.product([name for name in method_options(method) if name not in shared], ODD):
        options = {"prompts_per_step": 2, "rollouts_per_step": 16, name: value}
        try:
            curriculum = make(method, pool_of(12, **columns), **options)
        except (ValueError, TypeError, FileNotFoundError) as error:
            words = (name, "a screen takes", "a continuation takes")  # of another option too
            assert any(word in str(error) for word in words), f"{name}={value!r}: {error}"  # noqa: PT017
            continue
        json.dumps(curriculum.options)  # they go into the journal
        check_options(method, **options)
        play(curriculum, SimulatedPolicy(), range(3))
        metrics = curriculum.metrics()
        assert all(map(math.isfinite, metrics.values())), f"{name}={value!r}: {metrics}"


@pytest.mark.parametrize("method", METHODS)
def test_absurd_sizes_are_refused_before_memory_is_taken(method: str) -> None:
    columns = {"source": list("aabb"), "difficulty": range(4), "prompt_tokens": range(4), "features": np.eye(4)}
    for name in ("prompts_per_step", "rollouts_per_step"):
        for size in (2**20 + 1, 10**8, 2**31, 2**63):
            with pytest.raises(ValueError, match=f"{name} must be a whole number from 1 to 1048576, got"):
                make(method, pool_of(4, **columns), **{**SIZES, name: size})


def test_a_method_is_a_name() -> None:
    for method in (None, 7, []):
        with pytest.raises(TypeError, match="a method is known by its name"):
            make(method, pool_of(4), **SIZES)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Own(Method):
    """The first prompts."""

    name = "own"
    one_round = True
    num: int = option(2, "how many", least=1, most=4)

    def draft(self, turn: Turn, memory: None) -> Draft:
        return turn.equal(np.arange(self.num))


def test_a_method_of_your_own_is_the_class_or_where_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    here = f"{__name__}:Own"
    for method in (Own, here):
        assert len(make(method, pool_of(8), **SIZES, num=3).plan(0)) == 3
        with pytest.raises(ValueError, match="num must be a whole number from 1 to 4, got 5"):
            make(method, pool_of(8), **SIZES, num=5)
        with pytest.raises(TypeError, match=r"unknown option 'nun' for method 'own'; did you mean 'num'\?"):
            make(method, pool_of(8), **SIZES, nun=5)
    assert find(here) is Own
    assert about(here) == ("The first prompts", "-")
    with pytest.raises(ValueError, match="unknown method 'own'"):
        find("own")
    registered = EntryPoint(name="own", value=here, group="didact.methods")
    monkeypatch.setattr(
        "didact.methods.registry.entry_points", lambda group: [registered] if group == "didact.methods" else []
    )
    assert find("own") is Own
    assert check_options("own", **SIZES).method == Own()
    assert spelling(Own()) == "own"


def test_an_installed_package_takes_no_published_name_and_a_broken_one_is_named(monkeypatch) -> None:
    values = {"uniform": f"{__name__}:Own", "mine": f"{__name__}:Own", "gone": "no_such_module:Own"}
    entries = [EntryPoint(name=name, value=value, group="didact.methods") for name, value in values.items()]
    monkeypatch.setattr("didact.methods.registry.entry_points", lambda group: entries)
    assert find("uniform") is METHODS["uniform"]
    assert list(registered()) == ["mine", "gone"]
    assert spelling(Own()) == "mine"  # as it is registered, whatever the class calls itself
    with pytest.raises(ValueError, match=r"'gone' cannot be loaded \(ModuleNotFoundError: .* as no_such_module:Own$"):
        find("gone")


@pytest.mark.parametrize("method", ["no_such_module:Own", f"{__name__}:NoSuch", f"{__name__}:", ":Own"])
def test_what_cannot_be_loaded_says_how_to_write_it(method: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be loaded .*: write module:NAME"):
        find(method)


@pytest.mark.parametrize("text", ["def (", "undefined", "1 / 0"])
def test_a_module_that_cannot_be_imported_is_named(tmp_path, monkeypatch, text: str) -> None:
    (tmp_path / "broken_rules.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"'broken_rules:Own' cannot be loaded \((Syntax|Name|ZeroDivision)Error: "):
        find("broken_rules:Own")


@pytest.mark.parametrize("name", ["SIZES", "Method", "pool_of"])
def test_what_is_no_method_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"a method is a class derived from didact\.Method"):
        make(f"{__name__}:{name}", pool_of(4), **SIZES)


def test_a_method_without_its_decorator_is_told_so() -> None:
    class Forgotten(Method):
        def draft(self, turn: Turn, memory: None) -> Draft:
            return Draft.nothing()

    class Derived(Own):
        more: int = option(2, "what the class above does not have")

    class Same(Own):
        pass

    for method in (Forgotten, Derived, dataclass(Forgotten)):
        with pytest.raises(ValueError, match=r"write @dataclass\(frozen=True, kw_only=True\) above it"):
            make(method, pool_of(4), **SIZES)
    assert len(make(Same, pool_of(8), **SIZES).plan(0)) == 2
    for method in (Method, int):
        with pytest.raises(ValueError, match=r"a method is a class derived from didact\.Method, with draft"):
            make(method, pool_of(4), **SIZES)


@pytest.mark.parametrize(
    ("options", "recorded"),
    [
        ({"admission": "signal"}, {"admission": "AdmitWithSignal(noise=1e-06)"}),
        ({"admission": [0.2, 0.8]}, {"admission": "AdmitBand(low=0.2, high=0.8)"}),
        ({"context": [[1, 8], [1, 16]]}, {"context": "StagedContext(stages=((1, 8), (1, 16)))"}),
        ({"prior": [2, 1]}, {"prior": [2.0, 1.0]}),
        ({"max_rollouts_per_step": 64}, {"max_rollouts_per_step": 64}),
    ],
)
def test_options_as_a_configuration_has_them(options: dict[str, Any], recorded: dict[str, Any]) -> None:
    for method in ("uniform", "dapo", "adarft"):
        curriculum = make(method, pool_of(8, difficulty=range(8)), **SIZES, **options)
        assert {name: curriculum.options[name] for name in recorded} == recorded
        check_options(method, **SIZES, **options)
        play(curriculum, SimulatedPolicy(), range(2))


@pytest.mark.parametrize("method", METHODS)
def test_columns_that_a_method_does_not_use_do_not_stop_it(method: str) -> None:
    """Those it uses are refused by method, column, row and value."""
    good = {"difficulty": [1.0] * 12, "prompt_tokens": list(range(1, 13)), "features": [[1.0, 2.0]] * 12}
    good["source"] = ["a", "b"] * 6
    bad: dict[str, list[Any]] = {
        "difficulty": ["easy", *[1.0] * 11],
        "prompt_tokens": [None, *range(2, 13)],
        "features": ["some text"] * 12,
        "pass_rate": ["often"] * 12,
    }
    by_column = {"difficulty": ("adarft", "e2h"), "prompt_tokens": ("fastcurl",), "features": ("vip", "pcl")}
    uses = {name for name, methods in by_column.items() if method in methods}
    for name, column in bad.items():
        columns = {**good, name: column}
        if name in uses:
            words = f"method '{method}' (reads|needs) '{name}'.*row 0"
            with pytest.raises(ValueError, match=words):
                make(method, pool_of(12, **columns), **SIZES)
            continue
        with warnings.catch_warnings():
            unread = r"\w+" if method == "didact" else "pass_rate"  # it learns from any column, and needs none
            warnings.filterwarnings("ignore", message=f"column '{unread}' must be")
            curriculum, _ = play(make(method, pool_of(12, **columns), **SIZES), SimulatedPolicy(), range(3))
        assert curriculum.metrics()["prompt_tokens"] > 0
