"""Contract suites and fakes for people who write methods, stages or tasks: the extra `testing`.

from didact.testing import CurriculumContract

class TestFrontier(CurriculumContract):
    build = partial(make, Frontier)         # (pool, **options) -> Curriculum
"""

import pytest

# So that a failing contract shows the values it compared.
pytest.register_assert_rewrite("didact.testing.contract", "didact.testing.stages")

from didact.testing.contract import (  # noqa: E402
    BooksContract,
    CurriculumContract,
    MethodContract,
    VariantContract,
)
from didact.testing.fakes import SimulatedPolicy, fixed_pass_rates, outcomes_of, play, pool_of  # noqa: E402
from didact.testing.stages import (  # noqa: E402
    AdmissionContract,
    TaskContract,
)

__all__ = [
    "AdmissionContract",
    "BooksContract",
    "CurriculumContract",
    "MethodContract",
    "SimulatedPolicy",
    "TaskContract",
    "VariantContract",
    "fixed_pass_rates",
    "outcomes_of",
    "play",
    "pool_of",
]
