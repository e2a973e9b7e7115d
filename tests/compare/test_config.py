"""Settings of a comparison: what people write, what is refused, and how."""

from datetime import date
from typing import Any

import pytest

from didact.compare.config import compare_config

CELL = {"name": "a", "learner": "skills"}


def _deep(depth: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    return nested


def test_uniform_and_the_oracle_always_take_part_and_seeds_may_be_a_number() -> None:
    config = compare_config({"cells": [CELL], "variants": ["cures"], "seeds": 3})
    assert [variant.name for variant in config.variants] == ["uniform", "oracle", "cures"]
    assert config.seeds == [1, 2, 3]
    assert compare_config({"cells": [CELL]}).seeds == list(range(1, 11))


OWN = """
from dataclasses import dataclass
from didact import Method

@dataclass(frozen=True, kw_only=True)
class Nameless(Method):
    def draft(self, turn, memory):
        return turn.equal(turn.walk(turn.batch))

class Half(Nameless):
    name = "half"

class Namesake(Nameless):
    name = "uniform"
"""


def test_methods_of_ones_own_go_by_their_own_names_unless_those_are_anothers(tmp_path, monkeypatch) -> None:
    (tmp_path / "own_rules.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    spelled = ["own_rules:Half", "own_rules:Namesake", "own_rules:Nameless"]
    variants = compare_config({"cells": [CELL], "variants": spelled}).variants[2:]
    assert [variant.method for variant in variants] == spelled
    assert [variant.name for variant in variants] == ["half", *spelled[1:]]


def test_a_resolved_config_reads_back_as_itself() -> None:
    values = {
        "name": "x",
        "cells": [CELL, {"name": "b", "tuned_on": "a"}],
        "variants": ["cures", {"name": "hot", "method": "cures", "options": {"temperature": 1.0}}],
        "tuning": {"learning_rates": [1e-3, 2e-3], "seeds": [101]},
        "gain": 0.2,
    }
    resolved = compare_config(values).to_dict()
    assert resolved["targets"] == {"gain": 0.2}
    assert compare_config(resolved).to_dict() == resolved
    shared = compare_config({**values, "gain_share": 0.9}).to_dict()
    assert shared["targets"] == {"gain": 0.2, "gain_share": 0.9}
    assert compare_config(shared).to_dict() == shared


def test_defaults_are_for_all_cells_and_a_cell_may_differ() -> None:
    config = compare_config({"defaults": {"rollouts": 5000}, "cells": [CELL, {"name": "b", "rollouts": 6000}]})
    assert [cell.rollouts for cell in config.cells] == [5000, 6000]
    assert config.cells[0].learning_rate is None
    assert config.cells[1].learning_rate == 1e-3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"cells": [CELL], "oracle": "uniform"},
            "oracle must name a variant of that method, got 'uniform'; choose from oracle",
        ),
        ({"cells": [{"name": "a", "updates_per_step": 0}]}, "updates_per_step must be 1 to 10,000, got 0"),
        ({"cells": [CELL], "variants": [{"name": "cures", "updates_per_step": 0}]}, "updates_per_step must be 1 to"),
        ({"cells": []}, "at least one cell"),
        ({"cells": [CELL, CELL]}, "two cells are called 'a'"),
        ({"cells": [{"name": "a", "rollout": 5}]}, "unknown setting 'rollout' of a cell; did you mean 'rollouts'"),
        ({"cells": [{"name": "a", "rollouts": "many"}]}, "'rollouts' of a cell must be int, got 'many'"),
        ({"cells": [{"name": "a", "rollouts": 0}]}, "rollouts must be 1 to 1,000,000,000, got 0"),
        ({"cells": [{"name": "a", "rollouts": 64}]}, "less than one step of 128"),
        ({"cells": [{"name": "../a"}]}, "without outer slashes"),
        ({"cells": [{"learner": "skills"}]}, "a cell needs 'name'"),
        ({"cells": [{"name": "a", "learner": "skill"}]}, "unknown learner 'skill'"),
        ({"cells": [{"name": "a", "learning_rate": -1.0}]}, "learning_rate must be above 0"),
        ({"cells": [{"name": "a", "tuned_on": "b"}]}, "tuned_on names 'b'"),
        ({"cells": [{**CELL, "pool_size": 10**10}]}, "pool_size must be 1 to 10,000,000, got 10000000000"),
        ({"cells": [{**CELL, "held_out": 10**9}]}, "held_out must be 1 to 1,000,000"),
        ({"cells": [{**CELL, "rollouts": 2**40}]}, "rollouts must be 1 to 1,000,000,000"),
        ({"cells": [{**CELL, "steps": 0}]}, "steps must be 1 to 1,000,000, got 0"),
        ({"cells": [{**CELL, "evaluations": 10**9}]}, "evaluations must be 1 to 10,000"),
        ({"cells": [{**CELL, "warmup_steps": -1}]}, "warmup_steps must be 0 to"),
        ({"cells": [{**CELL, "learning_rate": 1e300}]}, "learning_rate must be above 0, and 1,000,000 at most"),
        ({"cells": [{**CELL, "learning_rate": float("nan")}]}, "learning_rate must be above 0"),
        ({"cells": [{**CELL, "learning_rate": 10**400}]}, "a number beyond all bounds"),
        ({"cells": [{**CELL, "rollouts": 10**5000}]}, "rollouts must be 1 to 1,000,000,000, got a value"),
        ({"cells": [{**CELL, "learner_options": {"a": float("inf")}}]}, "not JSON compliant"),
        ({"cells": [{**CELL, "task_options": {"a": date(2026, 1, 1)}}]}, "must be what JSON can hold"),
        ({"cells": [{**CELL, "task_options": {"a": _deep(5000)}}]}, "nested too deeply"),
        ({"cells": CELL}, "'cells' of a comparison must be a list"),
        ({"cells": [CELL], "variants": "dapo"}, "'variants' of a comparison must be a list"),
        ({"cells": [CELL], "defaults": 3}, "defaults must be a table"),
        ({"cells": [CELL], "targets": 0.1}, "targets must be a table"),
        ({"cells": [CELL], "seeds": 10**9}, "seeds must be distinct and at least one, 10,000 at most"),
        ({"cells": [CELL], "seeds": True}, "'seeds' of a comparison must be a list of int"),
        ({"cells": [CELL], "seeds": [1, "2"]}, "an entry of 'seeds' of a comparison must be int, got '2'"),
        ({"cells": [CELL], "seeds": [[1]]}, "an entry of 'seeds'"),
        ({"cells": [CELL], "seeds": [-1]}, "seeds must be 0 to"),
        ({"cells": [CELL], "seeds": [2**70]}, "seeds must be 0 to"),
        ({"cells": [{**CELL, "name": f"c{i}"} for i in range(6000)]}, "may have 100,000 runs"),
        ({"cells": [CELL], "tuning": {"learning_rates": [], "seeds": [99]}}, "learning_rates of the tuning"),
        ({"cells": [CELL], "tuning": {"learning_rates": ["1e-3"], "seeds": [99]}}, "an entry of 'learning_rates'"),
        ({"cells": [CELL], "tuning": {"learning_rates": [0.0], "seeds": [99]}}, "a learning rate of the tuning"),
        ({"cells": [CELL], "tuning": {"learning_rates": [1e9], "seeds": [99]}}, "a learning rate of the tuning"),
        ({"cells": [CELL], "tuning": {"learning_rates": [1.0, 1.0], "seeds": [99]}}, "must be distinct"),
        ({"cells": [CELL], "tuning": {"learning_rates": [1.0], "seeds": []}}, "seeds of the tuning"),
        ({"cells": [CELL], "tuning": {"learning_rates": [1.0], "seeds": [99, 99]}}, "seeds of the tuning"),
        (
            {"cells": [CELL], "tuning": {"learning_rates": [1.0], "seeds": 99}},
            "'seeds' of a tuning must be a list",
        ),
        ({"cells": [CELL], "tuning": []}, "the settings of a tuning must be a table"),
        (
            {"cells": [CELL, {"name": "b", "tuned_on": "a"}, {"name": "c", "tuned_on": "b"}]},
            "tuned_on names 'b', which takes over another's tuning itself",
        ),
        ({"cells": [CELL], "gain": float("inf")}, "gain must be positive, and 1 at most"),
        ({"cells": [CELL], "seeds": [1, 1]}, "seeds must be distinct"),
        ({"cells": [CELL], "seeds": 2, "tuning": {"learning_rates": [1.0], "seeds": [2]}}, "seed 2 is used for tuning"),
        ({"cells": [CELL], "gain": 0}, "gain must be positive"),
        ({"cells": [CELL], "gain_share": 0.0}, "gain_share must be above 0, and 1 at most, got 0"),
        ({"cells": [CELL], "baseline": "cures"}, "baseline 'cures' is not among"),
        ({"cells": [CELL], "variant": []}, "unknown setting 'variant' of a comparison; did you mean 'variants'"),
        ({"cells": [CELL], "variants": [3]}, "the settings of a variant must be a table"),
    ],
)
def test_what_is_refused_says_what_was_given_and_expected(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compare_config(values)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "..",
        "../../x",
        "/etc/passwd",
        "a/b",
        "a\\b",
        ".hidden",
        "trailing/",
        "nul\0byte",
        "line\nbreak",
        "\x1b[31mred",
        "x" * 300,
        "\U0001f40d" * 70,  # 280 bytes
        "\udcff",
        "right\u202eleft",
    ],
)
def test_the_name_of_a_comparison_cannot_leave_its_folder(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        compare_config({"name": name, "cells": [CELL]})


@pytest.mark.parametrize("name", ["", "..", "../../x", "/x", "nul\0", "a\nb", "x" * 300, "\udcff", " a"])
@pytest.mark.parametrize("what", ["cells", "variants"])
def test_names_of_cells_and_variants_are_of_one_printable_line(what: str, name: str) -> None:
    named = {"cells": [{**CELL, "name": name}], "variants": [{"name": name, "method": "dapo"}]}
    with pytest.raises(ValueError, match="name has 1 to 80 printable characters"):
        compare_config({"cells": [CELL], what: named[what]})


def test_what_a_name_may_be() -> None:
    names = ["arithmetic/hard", "uniform, GRPO", "groups of 8", "$x$", "<b>", "ü" * 80]
    config = compare_config({"cells": [{**CELL, "name": name} for name in names], "name": "skills-my_rates 2.5"})
    assert [cell.name for cell in config.cells] == names
