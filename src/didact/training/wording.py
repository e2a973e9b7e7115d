"""How a prompt is put to the model: with an instruction, as plain text or as a conversation in its chat template."""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from didact.tasks import Example, task
from didact.training.config import TrainConfig

Prompt = str | list[dict[str, str]]


class Wording:
    """Prompts as TRL takes them and as the model reads them.

    A prompt that is a conversation is sent as it is; an instruction is appended to it only where the settings give
    one. Text gets the task's instruction, or the one that the settings give in its place. Without a chat template a
    conversation is sent as text, its messages between blank lines, if nobody has answered in it yet.

    Args:
        examples: all prompts that are to be sent.

    Attributes:
        chat: whether prompts go through the chat template.
        notes: what a person should be told, one line each.

    Raises:
        ValueError: a chat template is needed, and the tokenizer has none or the settings say not to use it.
    """

    def __init__(self, config: TrainConfig, tokenizer: Any, examples: Sequence[Example] = ()) -> None:
        self._tokenizer = tokenizer
        self._lengths: dict[tuple[str, str], int] = {}  # what was measured, by id and text
        self._system = config.system_prompt
        self._options = config.trl.get("chat_template_kwargs") or {}
        self._appended = f"\n\n{config.instruction}" if config.instruction else ""
        own = "" if config.own_verifier else task(config.task).instruction
        self._instruction = self._appended if config.instruction is not None else own and f"\n{own}"
        conversations = [example for example in examples if example.messages]
        self.chat = _uses_chat(config, tokenizer, bool(conversations))
        self.notes: list[str] = []
        if not conversations:
            return
        if own and config.instruction is None:
            self.notes.append(
                f"conversations are sent as they are, without the instruction of {config.task}; --instruction adds one"
            )
        if any(each.messages[0]["role"] == "system" for each in conversations) and self._system is not None:
            self.notes.append(
                "some prompts have a system message of their own and keep it; the others get system_prompt"
            )
        if not self.chat:
            if answered := [each for each in conversations if any(m["role"] == "assistant" for m in each.messages)]:
                raise ValueError(
                    f"{len(answered):,} prompts are conversations with answers, first {answered[0].prompt_id!r}, "
                    "and can only be sent in a chat template; give a model that has one, and leave chat out"
                )
            self.notes.append(
                "without a chat template, conversations are sent as text, their messages between blank lines"
            )

    def prompt(self, example: Example) -> Prompt:
        """A prompt as TRL takes it: text, or a list of messages."""
        text = example.prompt + (self._appended if example.messages else self._instruction)
        if not self.chat:
            return text
        if example.messages:
            *before, last = [dict(message) for message in example.messages]
            messages = [*before, {**last, "content": last["content"] + self._appended}]
        else:
            messages = [{"role": "user", "content": text}]
        if self._system is not None and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": self._system})
        return messages

    def text(self, example: Example) -> str:
        """A prompt as the model reads it.

        Raises:
            ValueError: the chat template refuses it.
        """
        prompt = self.prompt(example)
        if isinstance(prompt, str):
            return prompt
        try:
            return str(
                self._tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True, **self._options)
            )
        except (TemplateError, ValueError, TypeError, KeyError) as error:
            raise ValueError(f"the model's chat template refuses it: {error}") from error

    def tokens(self, examples: Sequence[Example]) -> list[int]:
        """The length of each prompt, in tokens of what the model reads.

        Raises:
            ValueError: the chat template or the tokenizer refuses one, which is named.
        """
        new = [example for example in examples if (example.prompt_id, example.prompt) not in self._lengths]
        try:
            self._measure(new)
        except Exception:
            for example in new:
                try:
                    self._measure([example])
                except Exception as error:  # whatever a tokenizer raises for text that is none
                    raise ValueError(
                        f"prompt {example.prompt_id!r} ({example.prompt[:60]!r}) cannot be sent: {error}; mend it or "
                        "take it out"
                    ) from error
            raise
        return [self._lengths[example.prompt_id, example.prompt] for example in examples]

    def _measure(self, examples: Sequence[Example]) -> None:
        if texts := [self.text(example) for example in examples]:
            rows = self._tokenizer(texts, add_special_tokens=not self.chat)["input_ids"]
            for example, row in zip(examples, rows, strict=True):
                self._lengths[example.prompt_id, example.prompt] = len(row)


def _uses_chat(config: TrainConfig, tokenizer: Any, conversations: bool) -> bool:
    has_template = tokenizer.chat_template is not None
    if config.system_prompt is not None and (config.chat is False or not has_template):
        why = "chat=false" if has_template else f"{config.model} has no chat template"
        raise ValueError(
            f"a system_prompt needs a chat template, but {why}; put it into the prompts or the instruction"
        )
    if config.chat and not has_template:
        raise ValueError(f"chat=true, but {config.model} has no chat template; leave it out to send plain prompts")
    if config.chat is None:
        needed = conversations or config.system_prompt is not None or config.task != "arithmetic"
        return has_template and needed
    return config.chat
