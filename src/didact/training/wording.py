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
    one. Text gets the task's instruction, or the one that the settings give in its place.

    Args:
        conversations: whether some prompt is a conversation.

    Attributes:
        chat: whether prompts go through the chat template.

    Raises:
        ValueError: a chat template is needed, and the tokenizer has none or the settings say not to use it.
    """

    def __init__(self, config: TrainConfig, tokenizer: Any, *, conversations: bool = False) -> None:
        self._tokenizer = tokenizer
        self._system = config.system_prompt
        self._options = config.trl.get("chat_template_kwargs") or {}
        self._appended = config.instruction or ""
        own = "" if config.own_verifier else task(config.task).instruction
        self._instruction = own if config.instruction is None else self._appended and f"\n{self._appended}"
        self.chat = _uses_chat(config, tokenizer, conversations)

    def prompt(self, example: Example) -> Prompt:
        """A prompt as TRL takes it: text, or a list of messages."""
        text = f"{example.prompt}\n{self._instruction}" if self._instruction else example.prompt
        if not self.chat:
            return text
        if example.messages:
            messages = [dict(message) for message in example.messages]
            if self._appended:
                messages[-1]["content"] += f"\n\n{self._appended}"
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
            raise ValueError(f"prompt {example.prompt_id!r}: the model's chat template refuses it: {error}") from error

    def tokens(self, examples: Sequence[Example]) -> list[int]:
        """The length of each prompt, in tokens of what the model reads.

        Raises:
            ValueError: the tokenizer refuses one, which is named.
        """
        texts = [self.text(example) for example in examples]
        try:
            return self._lengths(texts)
        except Exception:
            for example, text in zip(examples, texts, strict=True):
                try:
                    self._lengths([text])
                except Exception as error:  # whatever a tokenizer raises for text that is none
                    raise ValueError(
                        f"prompt {example.prompt_id!r} ({example.prompt[:60]!r}) cannot be tokenized: {error}; mend it "
                        "or take it out"
                    ) from error
            raise

    def _lengths(self, texts: list[str]) -> list[int]:
        rows = self._tokenizer(texts, add_special_tokens=not self.chat)["input_ids"] if texts else []
        return [len(row) for row in rows]


def _uses_chat(config: TrainConfig, tokenizer: Any, conversations: bool) -> bool:
    if conversations or config.system_prompt is not None:
        what = "some prompts are conversations" if conversations else "a system_prompt is given"
        if config.chat is False:
            raise ValueError(f"chat=false, but {what}; leave chat out to send them in the model's chat template")
        if tokenizer.chat_template is None:
            raise ValueError(
                f"{what}, but {config.model} has no chat template; give a model that has one, or prompts as plain text"
            )
        return True
    if config.chat and tokenizer.chat_template is None:
        raise ValueError(f"chat=true, but {config.model} has no chat template; leave it out to send plain prompts")
    if config.chat is None:
        return tokenizer.chat_template is not None and config.task != "arithmetic"
    return config.chat
