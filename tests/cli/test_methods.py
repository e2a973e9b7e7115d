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
    named = dict(line.split(maxsplit=1) for line in options if line[2:3].strip())
    assert named["temperature"] == "0.05"
    assert named["prompts_per_step"] == "required"
    assert " " * 25 + "tau of eq. 14 (more than 0)" in options
    assert "one of rloo, grpo, reinforce_pp)" in " ".join(" ".join(options).split())


OWN = '''
from dataclasses import dataclass

from didact import Draft, Method, option


@dataclass(frozen=True, kw_only=True)
class Latest(Method):
    """The prompts that joined last."""

    name = "latest"
    share: float = option(0.5, "of nothing in particular", least=0, most=1)

    def draft(self, turn, memory):
        return turn.equal(turn.walk(turn.batch), then="none")
'''


def test_a_method_of_ones_own_by_module_and_name(didact, refused, tmp_path, monkeypatch):
    (tmp_path / "my_curricula.py").write_text(OWN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    ended = didact("methods", "my_curricula:Latest")
    assert "The prompts that joined last" in ended.out
    assert "of nothing in particular (at least 0, at most 1)" in ended.out
    assert "has no attribute 'Last'" in refused("methods", "my_curricula:Last")
    assert "No module named 'my_curriculum'" in refused("methods", "my_curriculum:Latest")


def test_what_installed_packages_register_is_listed(didact, tmp_path, monkeypatch):
    (tmp_path / "my_package.py").write_text(OWN, encoding="utf-8")
    info = tmp_path / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[didact.methods]\nnewest = my_package:Latest\ngone = my_package:Gone\n")
    monkeypatch.syspath_prepend(tmp_path)
    ended = didact("methods")
    assert ended.code == 0
    assert ended.out.splitlines()[-1].split()[:4] == ["newest", "The", "prompts", "that"]
    assert "'gone' cannot be loaded" in ended.err
    assert "newest" in json.loads(didact("methods", "--json").out)


def test_a_method_without_a_docstring_has_no_line(didact, tmp_path, monkeypatch):
    (tmp_path / "unsaid.py").write_text(OWN.replace('    """The prompts that joined last."""\n', ""), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert didact("methods", "unsaid:Latest").out.splitlines()[0].split() == ["unsaid:Latest", "latest", "-"]


def test_json_is_one_object(didact):
    everything = json.loads(didact("methods", "--json").out)
    assert list(everything) == list(METHODS)
    assert all(set(about) == {"about", "paper", "options", "help"} for about in everything.values())
    assert json.loads(didact("methods", "dapo", "--json").out) == {"dapo": everything["dapo"]}


def test_a_misspelt_method(refused):
    assert "unknown method 'curse'; did you mean 'cures'?" in refused("methods", "curse")
    assert "methods: didact, uniform, dapo" in refused("methods", "zzz")
