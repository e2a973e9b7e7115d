"""Prompts that are conversations, in the forms that people have them in."""

from typing import Any

import pytest

from didact.tasks.messages import conversation_in, messages_of

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " 1 + 1?\n"}]


@pytest.mark.parametrize(
    "value",
    [
        CHAT,
        '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": " 1 + 1?\\n"}]',
        "[{'content': 'Be brief.', 'role': 'system'}, {'content': ' 1 + 1?\\n', 'role': 'user'}]",
        [{"from": "system", "value": "Be brief."}, {"from": "human", "value": " 1 + 1?\n"}],
        [{**each, "from": None, "value": None} for each in CHAT],  # as one schema for both has it
        {"role": ["system", "user"], "content": ["Be brief.", " 1 + 1?\n"]},
        [CHAT[0], {"role": "user", "content": [{"type": "text", "text": " 1 + "}, {"type": "text", "text": "1?\n"}]}],
    ],
)
def test_every_form_gives_the_messages_as_they_are(value: Any) -> None:
    found = conversation_in(value, "a.jsonl, row 1: 'prompt'")
    assert found is not None
    assert messages_of(found, "") == (CHAT, set())


@pytest.mark.parametrize("value", [None, "", 3, "[1, 2]", "[role] is a word", ["text"], [], '{"role": "user"}'])
def test_other_cells_are_no_conversations(value: Any) -> None:
    assert conversation_in(value, "") is None


def test_one_message_may_stand_alone() -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "x"}]}
    assert conversation_in(message, "") == [message]


def test_a_conversation_written_out_that_cannot_be_read_is_refused() -> None:
    shown_by_numpy = "[{'role': 'system', 'content': 'x'}\n {'role': 'user', 'content': 'y'}]"
    with pytest.raises(ValueError, match="row 1 begins like a list of messages and cannot be read; write it as JSON"):
        conversation_in(shown_by_numpy, "row 1")


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("hello", "message 2 is a str; expected an object with 'role' and 'content'"),
        ({"text": "hello"}, "message 2 has the keys text; expected 'role' and 'content'"),
        ({"role": 1, "content": "x"}, "expected 'role' and 'content'"),
        ({"role": "user"}, "message 2 says None; expected text"),
        ({"role": "user", "content": {"a": 1}}, "says .*; expected text"),
        ({"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "x"}]}, "of the kinds image, text"),
    ],
)
def test_a_malformed_message_is_named(message: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        messages_of([CHAT[0], message], "row 1")


def test_other_keys_are_told() -> None:
    message = {"role": "user", "content": "x", "name": "Ann", "tool_calls": [], "weight": None}
    assert messages_of([message], "") == ([{"role": "user", "content": "x"}], {"name"})
