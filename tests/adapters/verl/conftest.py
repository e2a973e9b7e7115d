"""verl has an environment of its own (`make test-verl`); without it, the modules here that need it are skipped."""

import os
from importlib.util import find_spec

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
NEED_VERL = {"test_contract.py", "test_example.py", "test_training.py"}


class _Skipped(pytest.Module):
    def collect(self):
        pytest.skip("needs verl and TransferQueue: make test-verl", allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    if module_path.name in NEED_VERL and not (find_spec("verl") and find_spec("transfer_queue")):
        return _Skipped.from_parent(parent, path=module_path)
    return None


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Model and data of the small task."""
    import torch

    from tests.adapters.verl import task

    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("verl")
    task.write_model(path / "model")
    task.write_rows(path / "train.parquet", task.rows())
    task.write_rows(path / "val.parquet", task.rows()[:8])
    return path
