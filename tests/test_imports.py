"""The core imports downwards only, and nothing of what stands on it."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "didact"
#: What one reads to know the engine, in one sitting.
CORE = (
    *("prompts", "outcomes", "plan", "group", "ledger", "columns", "books", "calibration", "curriculum", "run_setup"),
    *("run_state", "method", "draft", "turn", "memory", "state", "state_file", "seeding", "pass_rates", "arrays"),
    *("pool", "prompt_ids", "passes", "belief.base", "belief.beta", "belief.evidence"),
)
#: Packages that stand on the engine, and that it must not know.
ABOVE = (
    "adapters",
    "cli",
    "compare",
    "desk",
    "journal",
    "report",
    "sharded",
    "simulate",
    "tasks",
    "testing",
    "training",
)


def imports_of(path: Path) -> set[str]:
    """Modules of ours that a file imports, wherever in it; those for types alone aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("didact"):
            module = node.module or ""
            nested = [f"{module}.{alias.name}" for alias in node.names if _file(f"{module}.{alias.name}").exists()]
            found |= set(nested or [module])
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("didact")}
    return {name.removeprefix("didact.") for name in found if name != "didact"}


def _file(module: str) -> Path:
    path = SOURCE.joinpath(*module.removeprefix("didact.").split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _engine() -> dict[str, set[str]]:
    """The engine's modules, methods among them, and what each imports."""
    files = [*SOURCE.glob("*.py"), *(SOURCE / "belief").glob("*.py"), *(SOURCE / "methods").rglob("*.py")]
    files += (SOURCE / "rounds").glob("*.py")
    graph = {}
    for file in files:
        module = ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        if module.split(".")[0] not in (*ABOVE, "__init__"):
            graph[module] = imports_of(file)
    return graph


def test_there_is_no_circle_of_imports() -> None:
    assert list(TopologicalSorter(_engine()).static_order())


def test_the_engine_does_not_know_what_stands_on_it() -> None:
    upwards = {
        module: sorted(each for each in named if each.split(".")[0] in ABOVE) for module, named in _engine().items()
    }
    assert {module: named for module, named in upwards.items() if named} == {}


def test_the_core_does_not_know_the_methods() -> None:
    for module in CORE:
        assert not [each for each in _engine()[module] if each.split(".")[0] in ("methods", "rounds")]


#: TRL's own, named in the adapter's seams; another of the same class; and what a named tuple is made with.
_ALLOWED = {"trainer._tokenizer", "kept._count", "Drafted._make"}


def _check_underscores(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            owner = ast.unparse(node.value)
            own = owner in ("self", "cls", "super()") or ast.unparse(node) in _ALLOWED
            assert own, f"{file.name}, line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("folder", ["src/didact/methods", "src/didact/rounds", "src/didact/adapters", "examples"])
def test_nobody_reaches_into_anothers_underscore_names(folder: str) -> None:
    for file in (SOURCE.parents[1] / folder).rglob("*.py"):
        _check_underscores(file)


@pytest.mark.parametrize("module", CORE)
def test_no_part_of_the_core_reaches_into_another(module: str) -> None:
    _check_underscores(_file(f"didact.{module}"))
