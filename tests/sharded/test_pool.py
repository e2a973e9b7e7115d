"""The pool in shards: ids and columns read as those of one pool, growth happens whole or not at all."""

from functools import partial

import numpy as np
import pytest

from didact import GroupOutcome, PromptPool, make
from didact.sharded import ShardedPool
from didact.testing import pool_of
from tests.sharded.laws import SIZES, part, sharded


def test_ids_and_columns_read_as_those_of_one_pool() -> None:
    ids, tokens = [f"{'ä' * (index % 30)}{index}" for index in range(100)], np.arange(100)
    features, source = np.random.default_rng(0).random((100, 3)), [str(index % 2) for index in range(100)]
    columns = {"prompt_tokens": tokens, "features": features, "source": source, "difficulty": tokens / 2}
    one, many = PromptPool(ids, **columns), ShardedPool.split(ids, 7, **columns)
    where = np.array([3, 99, 0, 3, 50])
    for name in ("ids", "prompt_tokens", "features", "source", "difficulty"):
        a, b = getattr(one, name), getattr(many, name)
        assert len(a) == len(b) == 100
        assert np.array_equal(a[where], b[where])
        assert np.array_equal(a[5], b[5])
        assert np.array_equal(a, np.asarray(b))
        assert np.array_equal(a[10:20], b[10:20])
        assert np.array_equal(a[-1], b[-1])
        assert np.array_equal(a[tokens > 90], b[tokens > 90])
    assert list(many.ids) == ids
    assert many.positions([ids[7], ids[99], ids[0]]).tolist() == [7, 99, 0]
    assert ids[3] in many
    assert "z" not in many
    assert 3 not in many
    with pytest.raises(ValueError, match="unknown prompt id 'z'"):
        many.positions([ids[0], "z"])
    with pytest.raises(IndexError):
        many.ids[100]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([["a", "b"], ["c", "a"]], "duplicate prompt id 'a'"),
        ([["a", "b", "b"], ["c"]], "duplicate prompt id 'b'"),
        ([["a"], []], "at least one prompt id"),
        ([["a"], [""]], "empty string"),
        ([], "at least one shard"),
    ],
)
def test_bad_shards(parts: list[list[str]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ShardedPool([partial(part, names) for names in parts])


def test_ids_may_be_bytes_of_a_numpy_array() -> None:
    names = np.array(["a", "bcd", "ef"], dtype="S")
    assert list(ShardedPool([lambda: {"ids": names}]).ids) == ["a", "bcd", "ef"]


def test_growth_that_fails_changes_nothing() -> None:
    pool = ShardedPool.split(["a", "b", "c"], 2, prompt_tokens=[1, 2, 3])
    before = pool.fingerprint()
    for ids, columns in (["a"], {"prompt_tokens": [1]}), (["d", "d"], {"prompt_tokens": [1, 2]}), (["d"], {}):
        with pytest.raises(ValueError):
            pool.extend(ids, **columns)
    assert list(pool.ids) == ["a", "b", "c"]
    assert pool.fingerprint() == before
    pool.extend(["d"], prompt_tokens=[4])
    assert pool.fingerprint(3) == before != pool.fingerprint()
    assert pool.positions(["d"]).tolist() == [3]


def test_the_shards_are_part_of_the_fingerprint() -> None:
    ids = pool_of(12).ids.tolist()
    assert ShardedPool.split(ids, 3).fingerprint() == ShardedPool.split(ids, 3).fingerprint()
    assert len({ShardedPool.split(ids, num).fingerprint() for num in (1, 2, 3)} | {pool_of(12).fingerprint()}) == 4


def test_ids_that_were_let_go_are_asked_for_again() -> None:
    """Outcomes of prompts whose ids are no longer remembered here."""
    pool = sharded(30, 3)
    curriculum = make("uniform", pool, **SIZES)
    plan = curriculum.plan(0)
    pool._rows.forget()
    curriculum.observe(GroupOutcome(group.group_id, group.prompt_id, [1.0] * group.num_rollouts) for group in plan)
    assert curriculum.metrics()["rollouts"] == 32


def test_ids_that_a_shard_cannot_keep_apart_or_read_back_are_refused():
    for ids, words in (
        (["a", "\ud800"], "is no text that UTF-8 can express"),
        (np.array([b"a\x00b", b"ab"]), "a NUL inside"),
        (np.array([b"a", b"\xff"]), "is no UTF-8"),
        (np.array([b"\xc3", b"\xa9"]), "begins within a character"),
    ):
        with pytest.raises(ValueError, match=words):
            ShardedPool([lambda ids=ids: {"ids": ids}])
    names = np.array(["\u00e9", "b"])
    assert ShardedPool([lambda: {"ids": np.char.encode(names, "utf-8")}]).ids.tolist() == names.tolist()
    lists = [["a\x00", "b"], ["a", "\x00b"], ["a\x00b", "\x00"]]
    assert len({ShardedPool.split(ids, 1).fingerprint() for ids in lists}) == len(lists)
