"""What the model reads: text with an instruction, or messages as they are."""

import pytest

from didact.tasks import Example
from didact.training.config import TrainConfig
from didact.training.wording import Wording

TEXT = Example("a", "What is 1 + 1?", "2", "mine")
TALK = Example(
    *("b", "Be brief.\n\nWhat is 2 + 2?", "4", "mine"),
    messages=({"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}),
)
ANSWERED = Example(
    *("c", "1?\n\n2\n\n3?", "4", "mine"),
    messages=(
        {"role": "user", "content": "1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "3?"},
    ),
)
OWN = "Work it out step by step. End with a line of its own: #### followed by the number."


class Words:
    """A tokenizer of words."""

    def __init__(self, template: str | None = "yes") -> None:
        self.chat_template = template

    def __call__(self, texts, add_special_tokens):
        for text in texts:
            text.encode()
        return {"input_ids": [[0] * add_special_tokens + [1] * len(text.split()) for text in texts]}

    def apply_chat_template(self, messages, *, tokenize, add_generation_prompt, **options):
        assert (tokenize, add_generation_prompt) == (False, True)
        if any(message["role"] == "teacher" for message in messages):
            raise ValueError("no such role")
        return "".join(f"{each['role']}: {each['content']}\n" for each in messages) + str(options or "")


def wording(examples=(), template="yes", **settings):
    return Wording(TrainConfig(model="m", task="gsm8k", **settings), Words(template), examples)


def test_text_gets_the_instruction_of_the_task_or_another_or_none():
    assert wording(template=None).prompt(TEXT) == f"What is 1 + 1?\n\n{OWN}"
    assert wording(template=None, instruction="Go.").prompt(TEXT) == "What is 1 + 1?\n\nGo."
    assert wording(template=None, instruction="").prompt(TEXT) == "What is 1 + 1?"
    assert wording(instruction="").prompt(TEXT) == [{"role": "user", "content": "What is 1 + 1?"}]
    assert wording(instruction="", chat=False).prompt(TEXT) == "What is 1 + 1?"


def test_a_conversation_is_sent_as_it_is():
    plain = wording([TEXT, TALK])
    assert plain.prompt(TALK) == [dict(message) for message in TALK.messages]
    assert plain.notes == [
        "conversations are sent as they are, without the instruction of gsm8k; --instruction adds one"
    ]
    told = wording([TALK], instruction="Go.")
    assert told.prompt(TALK)[-1] == {"role": "user", "content": "What is 2 + 2?\n\nGo."}
    assert told.notes == []
    assert TALK.messages[-1]["content"] == "What is 2 + 2?"


def test_a_system_prompt_is_for_prompts_without_one():
    both = wording([TEXT, TALK], instruction="", system_prompt="Think.")
    assert both.prompt(TEXT)[0] == {"role": "system", "content": "Think."}
    assert both.prompt(TALK)[0] == {"role": "system", "content": "Be brief."}
    assert "keep it" in both.notes[0]


def test_without_a_chat_template():
    flat = wording([TALK], template=None)
    assert flat.prompt(TALK) == "Be brief.\n\nWhat is 2 + 2?"
    assert "conversations are sent as text" in flat.notes[1]
    with pytest.raises(ValueError, match=r"1 prompts are conversations with answers, first 'c'"):
        wording([ANSWERED], template=None)
    with pytest.raises(ValueError, match=r"chat=true, but m has no chat template"):
        wording(template=None, chat=True)
    with pytest.raises(ValueError, match=r"a system_prompt needs a chat template, but m has no chat template"):
        wording(template=None, system_prompt="Think.")


def test_lengths_are_those_of_what_is_sent():
    assert wording(template=None, instruction="").tokens([TEXT]) == [1 + 5]
    assert wording(instruction="").tokens([TEXT]) == [6]  # the template has the special tokens
    assert wording(instruction="", trl={"chat_template_kwargs": {"thinking": False}}).tokens([TEXT]) == [6 + 2]


def test_what_cannot_be_tokenized_is_named():
    half = Example("d", "half \ud83d", "1", "mine")
    with pytest.raises(ValueError, match=r"prompt 'd' \('half \\ud83d'\) cannot be sent: .*surrogates"):
        wording(template=None, instruction="").tokens([TEXT, half])
    strange = Example("e", "x", "1", "mine", messages=({"role": "teacher", "content": "x"},))
    with pytest.raises(
        ValueError, match=r"prompt 'e' \('x'\) cannot be sent: the model's chat template refuses it: no such role"
    ):
        wording([strange]).tokens([TEXT, strange])
