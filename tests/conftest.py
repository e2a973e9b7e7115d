"""What several folders of tests share. Nothing heavy is imported before a test asks for it."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("shared", deadline=None)  # machines that others use too: time says nothing about the code
settings.load_profile("shared")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What the shipped suite cannot mark: the project that inherits it need not know our markers."""
    for item in items:
        if getattr(item, "originalname", "") == "test_a_million_prompts":
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random model of a few thousand parameters and the arithmetic tokenizer."""
    from didact.tasks.arithmetic import vocabulary
    from didact.training.small_model import SmallModelConfig, build_model, build_tokenizer

    path = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer(vocabulary())
    shape = SmallModelConfig(hidden_size=32, num_layers=1, num_heads=2, intermediate_size=64)
    build_model(shape, tokenizer, seed=0).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def write_run() -> Callable[..., Path]:
    """Makes a simulated run folder."""
    # By path, so that it works under every import mode of pytest.
    path = Path(__file__).parent / "report" / "synthetic_run.py"
    spec = importlib.util.spec_from_file_location("synthetic_run", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_run


@pytest.fixture(scope="session")
def run_dir(write_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One such run, made once."""
    return write_run(tmp_path_factory.mktemp("runs") / "pilot-0")
