"""The scripts of benchmarks/, which are no package, as modules."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def publish() -> ModuleType:
    return _script("publish")


@pytest.fixture(scope="session")
def judge() -> ModuleType:
    return _script("judge")


@pytest.fixture(scope="session")
def prediction() -> ModuleType:
    return _script("prediction")
