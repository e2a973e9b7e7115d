"""Contract suites and fakes for people who write methods, stages or tasks: the extra `testing`.

from didact.testing import CurriculumContract

class TestFrontier(CurriculumContract):
    build = staticmethod(frontier)          # (pool, **options) -> Curriculum
"""

import pytest

pytest.register_assert_rewrite("didact.testing.contract")  # so that a failing contract shows the values it compared

from didact.testing.contract import (  # noqa: E402
    AdmissionContract,
    AllocationContract,
    CurriculumContract,
    SelectionContract,
    TaskContract,
)
from didact.testing.fakes import SimulatedPolicy, fixed_pass_rates, outcomes_of, play, pool_of  # noqa: E402

__all__ = [
    "AdmissionContract",
    "AllocationContract",
    "CurriculumContract",
    "SelectionContract",
    "SimulatedPolicy",
    "TaskContract",
    "fixed_pass_rates",
    "outcomes_of",
    "play",
    "pool_of",
]
