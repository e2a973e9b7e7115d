"""Prompts that are conversations: a list of messages, each with a role and what is said.

Read are ``{"role": ..., "content": ...}`` and ShareGPT's ``{"from": "human", "value": ...}``, content in parts if all
are text, and the whole written out as text, as csv files have it.

What this does not do: apply a chat template, or read what is no text (images are refused).
"""

import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any, Final

from didact.tasks.rows import written_out

#: Columns of whole conversations: an assistant's message at the end is an answer there, and not the prompt's.
CONVERSATION_COLUMNS: Final = ("messages", "conversations", "conversation")

_SHARE_GPT: Final = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
}
_KEYS: Final = (("role", "content"), ("from", "value"))
_WRITTEN: Final = re.compile(r"\s*\[\s*\{\s*['\"](role|content|from|value)['\"]\s*:")


def conversation_in(value: Any, where: str) -> list[Any] | None:
    """The messages that a cell holds, perhaps written out as text, as a list; None if it is no conversation.

    One message may stand alone, or all roles and all contents be lists of their own, as `datasets` once stored them.

    Raises:
        ValueError: text that begins as one and cannot be read.
    """
    if isinstance(value, str) and _WRITTEN.match(value):
        value = written_out(value)
        if not isinstance(value, list):
            raise ValueError(f"{where} begins like a list of messages and cannot be read; write it as JSON")
    for role, content in _KEYS:
        if isinstance(value, Mapping) and role in value and content in value:
            if isinstance(value[role], list) and isinstance(value[content], list):
                return [{role: each, content: said} for each, said in zip_longest(value[role], value[content])]
            value = [value]
    return value if isinstance(value, list) and any(isinstance(each, Mapping) for each in value) else None


def messages_of(conversation: list[Any], where: str) -> tuple[list[dict[str, str]], set[str]]:
    """The messages, role and content alone, and the names of other keys that hold something.

    Raises:
        ValueError: a message without a role or without text.
    """
    messages: list[dict[str, str]] = []
    others: set[str] = set()
    for number, message in enumerate(conversation, 1):
        at = f"{where}, message {number}"
        if not isinstance(message, Mapping):
            raise ValueError(f"{at} is a {type(message).__name__}; expected an object with 'role' and 'content'")
        names = _KEYS[0] if message.get("role") is not None else _KEYS[1]
        role, content = (message.get(name) for name in names)
        if not isinstance(role, str) or not role:
            raise ValueError(
                f"{at} has the keys {', '.join(map(str, message))}; expected 'role' and 'content', as text"
            )
        messages.append({"role": _SHARE_GPT.get(role, role), "content": _said(content, at)})
        others |= {str(key) for key, held in message.items() if key not in names and held not in (None, "", [], {})}
    return messages, others


def _said(content: Any, at: str) -> str:
    """Text, or parts that are all text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        if all(isinstance(text, str) for text in texts):
            return "".join(map(str, texts))
        kinds = {str(part.get("type") if isinstance(part, Mapping) else type(part).__name__) for part in content}
        raise ValueError(f"{at} has parts of the kinds {', '.join(sorted(kinds))}; expected text, which alone is used")
    raise ValueError(f"{at} says {content!r:.60}; expected text")
