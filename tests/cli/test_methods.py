import json

from didact import METHODS


def test_all_methods(didact):
    ended = didact("methods")
    assert (ended.code, ended.err) == (0, "")
    assert [line.split()[0] for line in ended.out.splitlines()] == list(METHODS)
    assert all(len(line) <= 120 for line in ended.out.splitlines())


def test_one_method_with_its_options(didact):
    ended = didact("methods", "cures")
    first, _, *options = ended.out.splitlines()
    assert first.startswith("cures ")
    assert "arXiv:2510.01037" in first
    named = dict(line.split(maxsplit=1) for line in options)
    assert named["temperature"] == "0.05"
    assert named["prompts_per_step"] == "required"


def test_json_is_one_object(didact):
    everything = json.loads(didact("methods", "--json").out)
    assert list(everything) == list(METHODS)
    assert all(set(about) == {"about", "paper", "options"} for about in everything.values())
    assert json.loads(didact("methods", "dapo", "--json").out) == {"dapo": everything["dapo"]}


def test_a_misspelt_method(refused):
    assert "no method 'curse'; did you mean 'cures'?" in refused("methods", "curse")
    assert "choose from adarft" in refused("methods", "zzz")
