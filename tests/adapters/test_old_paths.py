"""Every path under which something of the adapters was to be had before they lay in folders."""

import importlib
from importlib.util import find_spec

import pytest

DATA = ["PASS_ABOVE", "Settings", "check_mark", "curriculum_of", "evidence_of", "mark_of", "pool_of", "prompt_id_of"]
DATA += ["rollouts_per_prompt", "scores_of", "settings_of", "table_of"]
PATHS = {
    "adapters.fingerprint": ("numpy", ["difference", "fingerprint", "num_repeated", "telling"]),
    "adapters.ray": ("ray", ["RemoteDesk", "curriculum_actor"]),
    "adapters.ray_shards": ("ray", ["RayShards"]),
    "adapters.scale": ("numpy", ["check_scale"]),
    "adapters.trl": ("trl", ["SEAMS", "STATE_FILE", "SUPPORTED", "CurriculumGRPOTrainer", "CurriculumMixin"]),
    "adapters.trl_checkpoints": ("trl", ["STATE_FILE", "begin", "checkpoints", "finish", "newest", "step_of"]),
    "adapters.trl_checks": ("trl", ["check_estimator", "evidence_of", "ids_of", "own_estimator", "refuse"]),
    "adapters.trl_rows": ("trl", ["Rows"]),
    "adapters.verl_data": ("numpy", DATA),
    "adapters.verl_session": ("numpy", ["PATIENCE", "Returned", "Sent", "Session", "TrainingGroup"]),
    "training.gradients": ("torch", ["gradient_gram"]),
}


@pytest.mark.parametrize("path", PATHS)
def test_earlier_paths_lead_to_where_things_are(path):
    needed, names = PATHS[path]
    pytest.importorskip(needed)
    module = importlib.import_module(f"didact.{path}")
    assert [name for name in names if not hasattr(module, name)] == []


@pytest.mark.skipif(find_spec("verl") is not None, reason="verl is here: tests/adapters/verl")
@pytest.mark.parametrize(("path", "name"), [("verl", "CurriculumDataset"), ("verl_sampler", "CurriculumSampler")])
def test_without_verl_its_paths_say_so(path, name):
    with pytest.raises(ModuleNotFoundError, match=r"No module named '(verl|transfer_queue)'"):
        getattr(importlib.import_module(f"didact.adapters.{path}"), name)
