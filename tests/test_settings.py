from dataclasses import dataclass, field
from typing import Any

import pytest

from didact.settings import from_table, read_toml


@dataclass(frozen=True)
class Part:
    size: int
    rates: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Whole:
    name: str
    parts: list[Part] = field(default_factory=list)
    part: Part | None = None
    share: float | None = None
    paths: str | list[str] | None = None
    more: dict[str, Any] = field(default_factory=dict)
    on: bool = False


def test_tables_become_dataclasses_and_whole_numbers_numbers() -> None:
    values = {"name": "a", "parts": [{"size": 1, "rates": [1, 0.5]}], "part": {"size": 2}, "share": 1, "paths": ["b"]}
    whole = from_table(Whole, values, "whole")
    assert whole == Whole("a", [Part(1, [1.0, 0.5])], Part(2), 1.0, ["b"])
    assert isinstance(whole.share, float)
    assert from_table(Whole, {"name": "a", "part": None, "paths": "b"}, "whole") == Whole("a", paths="b")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "the settings of a whole must be a table of names and values, got []"),
        ({}, "a whole needs 'name'"),
        ({"name": "a", "shared": 1}, "unknown setting 'shared' of a whole; did you mean 'share'?"),
        ({"name": "a", "share": "x"}, "'share' of a whole must be float or nothing, got 'x'"),
        ({"name": "a", "share": True}, "'share' of a whole must be float or nothing, got True"),
        ({"name": "a", "share": 10**400}, "'share' of a whole is a number beyond all bounds"),
        ({"name": "a", "on": 1}, "'on' of a whole must be bool, got 1"),
        ({"name": "a", "more": 3}, "'more' of a whole must be dict, got 3"),
        ({"name": "a", "paths": 3}, "'paths' of a whole must be str or a list of str or nothing, got 3"),
        ({"name": "a", "paths": ["b", 3]}, "an entry of 'paths' of a whole must be str, got 3"),
        ({"name": "a", "parts": {}}, "'parts' of a whole must be a list of Part, got {}"),
        ({"name": "a", "parts": [3]}, "the settings of a part must be a table of names and values, got 3"),
        ({"name": "a", "parts": [{"size": 1.5}]}, "'size' of a part must be int, got 1.5"),
        ({"name": "a", "part": {}}, "a part needs 'size'"),
    ],
)
def test_what_is_refused(values: Any, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        from_table(Whole, values, "whole")
    assert str(raised.value) == message


def test_toml(tmp_path):
    path = tmp_path / "run.toml"
    with pytest.raises(FileNotFoundError, match="no config file"):
        read_toml(path)
    path.write_text('method = "uniform"\n[method_options]\nseed = 3\n')
    assert read_toml(path) == {"method": "uniform", "method_options": {"seed": 3}}
    deep = b"a = " + b"[" * 100_000
    for damaged in (deep, b"steps = \n", b"steps = 3\nsteps = 4\n", b"\xff\xfe", b"[method_options\n"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"run.toml is not TOML"):
            read_toml(path)
