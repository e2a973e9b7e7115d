"""Didact: the default."""

from functools import partial

from didact import make
from didact.testing import CurriculumContract


class TestDidact(CurriculumContract):
    build = partial(make, "didact")
