import sys
from subprocess import run

import pytest

from didact.tasks import TASKS, task
from didact.tasks.task import check_split, split_of


@pytest.mark.parametrize("name", ["arithmetic", "gsm8k", "math", "reasoning_gym:chain_sum"])
def test_every_task_knows_its_name_and_scores_a_response(name: str) -> None:
    assert task(name).name == name
    assert (
        task(name).verify("# 1 2 \\boxed{12}" if name == "math" else "#### 12" if "_" not in name else "12", "12")
        == 1.0
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gsm8", "did you mean 'gsm8k'"),
        ("", "choose from arithmetic"),
        ("math:algebra", "write 'math'"),
        ("reasoning_gym:chain_sun", "did you mean 'chain_sum'"),
        ("reasoning_gym", "no family ''"),
        ("reasoning_gym:composite", "one by one"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task(name)


@pytest.mark.parametrize(("name", "library"), [("math", "math_verify"), ("reasoning_gym:gcd", "reasoning_gym")])
def test_a_missing_library_is_named_with_its_extra(name: str, library: str) -> None:
    code = f"import sys; sys.modules[{library!r}] = None\nfrom didact.tasks import task\ntask({name!r})"
    done = run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("ImportError: the task")
    assert "pip install '.[tasks]'" in done.stderr


def test_importing_the_package_is_light() -> None:
    code = "import sys, didact.tasks, didact.tasks.verifier, didact.tasks.files; print(*sys.modules)"
    loaded = run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"sympy", "math_verify", "reasoning_gym", "torch", "datasets", "pyarrow"} & set(loaded)


def test_the_dict_names_classes_that_exist() -> None:
    assert sorted(TASKS) == ["arithmetic", "gsm8k", "math", "reasoning_gym"]


def test_a_split_is_train_or_test_and_follows_from_the_text() -> None:
    with pytest.raises(ValueError, match="'validation'"):
        check_split("validation")
    splits = [split_of(str(number)) for number in range(4000)]
    assert 900 < splits.count("test") < 1100
