"""What the books keep whatever the method, for those that use them in different ways."""

from typing import Any

from didact import Curriculum, PromptPool, make
from didact.testing import BooksContract


class TestEqualGroups(BooksContract):
    keeps_budget = True

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("uniform", pool, **options)


class TestGroupsThatAreContinuedAndWait(BooksContract):
    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("speed", pool, **options)


class TestPilotsAndWeights(BooksContract):
    keeps_budget = True

    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("cures", pool, steps_per_iteration=3, with_replacement=True, **options)


class TestGroupsOfWhichAPartTrains(BooksContract):
    @staticmethod
    def build(pool: PromptPool, **options: Any) -> Curriculum:
        return make("reinforce_ada", pool, **options)
