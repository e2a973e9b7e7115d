"""What `import didact` offers, and what it must not load."""

import subprocess
import sys

import pytest

import didact

HEAVY = (
    "torch",
    "transformers",
    "trl",
    "datasets",
    "pandas",
    "scipy",
    "pyarrow",
    "jinja2",
    "matplotlib",
    "rich",
    "click",
    "pytest",
    "yaml",
    "ray",
)


def test_import_loads_numpy_and_nothing_heavier() -> None:
    names = "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    code = f"import sys, didact, didact.methods, didact.state; {names}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "numpy" in loaded
    assert not loaded & set(HEAVY)


def test_the_command_line_is_there_before_numpy_is() -> None:
    """Until it is, Ctrl-C is a traceback."""
    code = "import sys, didact.cli.main; print('numpy' in sys.modules, 'click' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_all_is_sorted_and_complete() -> None:
    assert didact.__all__ == sorted(didact.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert set(didact.__all__) <= set(dir(didact))
    assert all(getattr(didact, name) is not None for name in didact.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Curriculums'"):
        didact.Curriculums  # noqa: B018


def test_the_contract_of_names_can_be_imported() -> None:
    """Names that other code relies on (the design's public contract)."""
    from didact.advantage import group_advantages, loss_weights
    from didact.allocation import largest_remainder
    from didact.methods.cures import sampling_distribution

    assert all(map(callable, (group_advantages, loss_weights, largest_remainder, sampling_distribution, didact.make)))
