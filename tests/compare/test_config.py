"""Settings of a comparison: what people write, what is refused, and how."""

from typing import Any

import pytest

from didact.compare.config import compare_config

CELL = {"name": "a", "learner": "skills"}


def test_uniform_and_the_oracle_always_take_part_and_seeds_may_be_a_number() -> None:
    config = compare_config({"cells": [CELL], "variants": ["cures"], "seeds": 3})
    assert [variant.name for variant in config.variants] == ["uniform", "oracle", "cures"]
    assert config.seeds == [1, 2, 3]
    assert compare_config({"cells": [CELL]}).seeds == list(range(1, 11))


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


def test_defaults_are_for_all_cells_and_a_cell_may_differ() -> None:
    config = compare_config({"defaults": {"rollouts": 5000}, "cells": [CELL, {"name": "b", "rollouts": 6000}]})
    assert [cell.rollouts for cell in config.cells] == [5000, 6000]
    assert config.cells[0].learning_rate is None
    assert config.cells[1].learning_rate == 1e-3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cells": []}, "at least one cell"),
        ({"cells": [CELL, CELL]}, "two cells are called 'a'"),
        ({"cells": [{"name": "a", "rollout": 5}]}, "unknown key 'rollout' of a cell: did you mean 'rollouts'"),
        ({"cells": [{"name": "a", "rollouts": "many"}]}, "'rollouts' of a cell must be int, got 'many'"),
        ({"cells": [{"name": "a", "rollouts": 0}]}, "rollouts must be at least 1, got 0"),
        ({"cells": [{"name": "a", "rollouts": 64}]}, "less than one step of 128"),
        ({"cells": [{"name": "../a"}]}, "without outer slashes"),
        ({"cells": [{"learner": "skills"}]}, "a cell needs 'name'"),
        ({"cells": [{"name": "a", "learner": "skill"}]}, "unknown learner 'skill'"),
        ({"cells": [{"name": "a", "learning_rate": -1.0}]}, "learning_rate must be positive"),
        ({"cells": [{"name": "a", "tuned_on": "b"}]}, "tuned_on names 'b'"),
        ({"cells": [CELL], "seeds": [1, 1]}, "seeds must be distinct"),
        ({"cells": [CELL], "seeds": 2, "tuning": {"learning_rates": [1.0], "seeds": [2]}}, "seed 2 is used for tuning"),
        ({"cells": [CELL], "gain": 0}, "gain must be positive"),
        ({"cells": [CELL], "baseline": "cures"}, "baseline 'cures' is not among"),
        ({"cells": [CELL], "variant": []}, "unknown key 'variant' of a comparison: did you mean 'variants'"),
        ({"cells": [CELL], "variants": [3]}, "a variant is a table"),
    ],
)
def test_what_is_refused_says_what_was_given_and_expected(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compare_config(values)
