"""Every line that tells somebody to install Didact works from a clone, and none asks the registry for our name.

``didact`` on the package registry is another project, and what is not published yet can be taken by anybody.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from didact.extras import how_to_install

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = {".md", ".py", ".toml", ".yaml", ".yml", ".txt", ".cfg", ".sh", ".html"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = set(PROJECT["optional-dependencies"])
#: Commands that install, up to the end of the command: `pip install`, `uv add`, and their relatives.
_COMMAND = re.compile(r"\b(?:pip3? install|pipx install|pipx run|uvx|uv (?:add|pip install|tool install))\b[^\n`#;&|]*")
_FROM_REGISTRY = re.compile(r"(?<![\w./-])didact(?:-rl)?(?![\w./-])")
_LOCAL = re.compile(r"""(?<![\w/])\.(?:\[([\w,-]+)\])?(?=["'\s]|$)""")


def shipped() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    names = [name for name in listed if Path(name).suffix in SUFFIXES or name in ("Makefile", ".ci/run")]
    return [ROOT / name for name in names if name != "tests/docs/test_install_lines.py" and (ROOT / name).is_file()]


def test_the_distribution_is_called_didact_rl() -> None:
    assert PROJECT["name"] == "didact-rl"
    own = [line for lines in PROJECT["optional-dependencies"].values() for line in lines if line.startswith("didact")]
    assert own
    assert all(line.startswith("didact-rl[") for line in own)


def test_no_document_or_message_asks_the_registry_for_our_name() -> None:
    found = []
    for path in shipped():
        text = path.read_text(encoding="utf-8")
        asked = [command for command in _COMMAND.findall(text) if _FROM_REGISTRY.search(command)]
        asked += re.findall(r"\bdidact\[\w+[^\n]*", text)  # the other project's name with an extra
        asked += [line for line in re.findall(r"\bdidact-rl\[[^\n]*", text) if path.name != "pyproject.toml"]
        found += [f"{path.relative_to(ROOT)}: {command}" for command in asked]
    assert not found


def test_every_line_that_installs_a_clone_names_extras_that_exist() -> None:
    lines = [command for path in shipped() for command in _COMMAND.findall(path.read_text(encoding="utf-8"))]
    named = [found for line in lines for found in _LOCAL.findall(line) if found]
    assert len(named) >= 6
    assert {extra for names in named for extra in names.split(",")} <= EXTRAS


def test_the_check_finds_what_it_looks_for() -> None:
    for line in ('pip install "didact[train]"', "pip install didact", "pip install -U didact-rl", "uv add didact==0.1"):
        assert any(map(_FROM_REGISTRY.search, _COMMAND.findall(line)))
    for line in ("pip install .", "pip install -e '.[dev]'", "pip install didactic", "pip install ./didact"):
        assert not any(map(_FROM_REGISTRY.search, _COMMAND.findall(line)))


def test_messages_ask_the_one_place_that_knows() -> None:
    assert how_to_install("train") == "in a clone of Didact: pip install '.[train]'"
    sources = [path for path in (ROOT / "src").rglob("*.py") if path.name != "extras.py"]
    assert not [path for path in sources if "pip install" in path.read_text(encoding="utf-8")]
    asked = [extra for path in sources for extra in re.findall(r"how_to_install\(['\"](\w+)['\"]\)", path.read_text())]
    assert asked
    assert set(asked) <= EXTRAS


@pytest.mark.slow
def test_a_clone_installs_as_didact_rl_and_imports(tmp_path: Path) -> None:
    """Without what it depends on, which other tests install: the name, the package, the command."""
    where = ["--no-deps", "--target", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *where, str(ROOT)], check=True)
    code = (
        "import didact, importlib.metadata as m; print(didact.__file__, m.version('didact-rl') == didact.__version__)"
    )
    isolated = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"]
    said = subprocess.run(isolated, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.split()
    assert said == [str(tmp_path / "didact" / "__init__.py"), "True"]
    assert (tmp_path / "bin" / "didact").is_file()
