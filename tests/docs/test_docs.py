"""The documentation is executed: code blocks, examples, contracts, links, and the lists that must be complete.

Blocks of a page share one namespace. A block after `<!-- no-test: reason -->` is skipped.
"""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from didact import METHODS, make
from didact.curriculum import Curriculum
from didact.journal import read_journal
from didact.methods import method_options
from didact.methods.wrappers import WRAPPERS
from didact.testing import pool_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"(?P<skip><!-- no-test: .+? -->\n+)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S)
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str = "python") -> list[tuple[str, int]]:
    """Code of the page's blocks, each with the line it starts at."""
    text = page.read_text(encoding="utf-8")
    return [
        (found["code"], text.count("\n", 0, found.start("code")))
        for found in _BLOCK.finditer(text)
        if found["language"] == language and not found["skip"]
    ]


def with_code() -> list[object]:
    pages = [page for page in PAGES if blocks(page)]
    heavy = [any("trl" in code or "train(" in code for code, _ in blocks(page)) for page in pages]
    return [
        pytest.param(page, id=named(page), marks=[pytest.mark.slow] if slow else [])
        for page, slow in zip(pages, heavy, strict=True)
    ]


@pytest.mark.parametrize("page", with_code())
def test_code_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "page"}
    for code, line in blocks(page):
        # Empty lines in front make a traceback point into the page.
        exec(compile("\n" * line + code, named(page), "exec"), namespace)


def test_the_contract_tests_of_the_page_on_methods_pass(tmp_path: Path) -> None:
    path = tmp_path / "test_page.py"
    code = "".join(code for code, _ in blocks(ROOT / "docs" / "writing-a-method.md"))
    path.write_text(code.replace('if __name__ == "__main__":', "if False:"), encoding="utf-8")
    options = ("-q", "-k", "not million", "-p", "no:cacheprovider", "-c", "/dev/null", "--strict-markers")
    done = run("-m", "pytest", *options, path, cwd=tmp_path)
    assert " passed" in done
    assert "failed" not in done


def test_the_new_method_of_the_page_is_the_example_and_short() -> None:
    source = (ROOT / "examples" / "new_method.py").read_text(encoding="utf-8")
    assert source == blocks(ROOT / "docs" / "writing-a-method.md")[0][0]
    assert len(source.splitlines()) < 60


def test_examples_run(tmp_path: Path) -> None:
    assert "frontier groups with signal" in run(ROOT / "examples" / "new_method.py", cwd=tmp_path)
    for method in METHODS:
        said = run(ROOT / "examples" / "hand_written_loop.py", "--method", method, "--steps", "3", cwd=tmp_path)
        assert said.startswith(f"{method}: mean skill")


@pytest.mark.slow
def test_the_trl_example_runs(tmp_path: Path) -> None:
    script = ROOT / "examples" / "trl_script.py"
    assert "didact: pass rate" in run(script, "--steps", "2", "--output", "first", cwd=tmp_path)
    rows = [json.dumps({"prompt": f"1 + {number} =", "answer": str(number + 1)}) for number in range(20)]
    (tmp_path / "sums.jsonl").write_text("\n".join(rows), encoding="utf-8")
    arguments = ["--model", "first/tiny-model", "--dataset", "sums.jsonl", "--method", "uniform", "--output", "second"]
    assert "uniform: pass rate" in run(script, "--steps", "2", *arguments, cwd=tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_internal_links_lead_somewhere(page: Path) -> None:
    for found in _LINK.finditer(page.read_text(encoding="utf-8")):
        target, _, anchor = found["target"].partition("#")
        if ":" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{named(page)} links to {found['target']}"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_metric_is_explained_and_no_other() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \|", text, re.M)
    known = list(make("uniform", pool_of(4), prompts_per_step=2, rollouts_per_step=8).metrics())
    assert sorted(listed) == sorted(known)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_page_with_its_options_and_their_defaults(method: str) -> None:
    page = (ROOT / "docs" / "methods" / f"{method}.md").read_text(encoding="utf-8")
    shared = {*options(Curriculum), *WRAPPERS}
    own = {name: default for name, default in options(METHODS[method]).items() if name not in shared}
    if method == "uniform":  # its page lists what all methods share
        own = options(Curriculum) | {name: options(wrapper)[name] for name, wrapper in WRAPPERS.items()}
    assert set(own) | shared == set(method_options(method))
    for name, default in own.items():
        assert f"| `{name}` | {default} |" in page


def test_the_tables_of_pages_and_readme_are_those_of_the_methods(tmp_path: Path) -> None:
    run(ROOT / "dev" / "tables.py", "--check", cwd=tmp_path)


def test_no_page_stands_for_a_method_that_is_gone() -> None:
    assert {path.stem for path in (ROOT / "docs" / "methods").glob("*.md")} == set(METHODS)


def test_the_records_shown_are_a_journal(tmp_path: Path) -> None:
    lines = [code for code, _ in blocks(ROOT / "docs" / "run-folder.md", "json")]
    (tmp_path / "journal.jsonl").write_text("".join(lines), encoding="utf-8")
    kinds = [record["kind"] for record in read_journal(tmp_path / "journal.jsonl")]
    assert kinds == ["start", "plan", "outcomes", "admitted", "update", "evaluation"]


@pytest.mark.slow
def test_the_page_on_trl_names_the_supported_versions() -> None:
    from packaging.specifiers import SpecifierSet

    from didact.adapters.trl import SUPPORTED

    text = (ROOT / "docs" / "trl.md").read_text(encoding="utf-8")
    assert SUPPORTED in {SpecifierSet(found) for found in re.findall(r"TRL outside `([^`]+)`", text)}


def options(owner: type) -> dict[str, str]:
    """Keyword-only options of a constructor, with their defaults as the pages write them."""
    return {
        name: "required" if parameter.default is parameter.empty else f"`{parameter.default!r}`"
        for name, parameter in inspect.signature(owner.__init__).parameters.items()  # type: ignore[misc]
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name != "options"
    }


def run(*arguments: object, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
