"""Needs verl, which has an environment of its own (`make test-verl`); without it, the modules here are skipped."""

import os
from importlib.util import find_spec

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")


class _Skipped(pytest.Module):
    def collect(self):
        pytest.skip("needs verl and TransferQueue: make test-verl", allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    if not (find_spec("verl") and find_spec("transfer_queue")):
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
