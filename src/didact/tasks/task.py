"""A task: where prompts come from, and how a response to one is verified.

A task is data plus a verifier. The verifier is a pure function of two strings: the text a model wrote and the gold
answer of the prompt. It says how right the response is, from 0 to 1, and raises when it cannot tell: an error is not a
wrong answer.

What this does not do: time limits and crashes (`didact.tasks.verifier`), tokens, chat templates and models.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, ClassVar, Literal, get_args

from didact.extras import how_to_install

Split = Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt and its gold answer.

    Attributes:
        prompt_id: unique, and the same in every process and on every machine.
        prompt: the text of the problem, without the task's instruction. Of a conversation: all that is said in it.
        answer: what `Task.verify` compares a response with.
        source: a label, for example the data set or the family the prompt came from.
        difficulty: a number that describes the problem (digits, depth, level), not a pass rate.
        messages: the conversation that the prompt is, each {"role": ..., "content": ...}; empty for plain text.
        pass_rate: how often some other model passes, from 0 to 1, where that is known.
    """

    prompt_id: str
    prompt: str
    answer: str
    source: str
    difficulty: float | None = None
    messages: tuple[dict[str, str], ...] = ()
    pass_rate: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", tuple(self.messages))  # a list where it comes out of a JSON file


class Task(ABC):
    """Prompts and their verifier.

    Attributes:
        name: the name `didact.tasks.task` knows the task by.
        instruction: what to append to a prompt so that a model writes its answer where `verify` looks; may be "".
        isolate: whether `verify` may hang or crash and so belongs in a worker process. False only for verifiers that
            are pure Python and take time in proportion to the length of the response.
    """

    name: str
    instruction: ClassVar[str] = ""
    isolate: ClassVar[bool] = True

    @abstractmethod
    def verify(self, response: str, answer: str) -> float:
        """How right `response` is, from 0 to 1.

        Raises:
            ValueError: the gold answer is of no use; nothing can be said about the response.
        """

    @abstractmethod
    def examples(self, split: Split, num: int | None = None, seed: int = 0, **options: Any) -> list[Example]:
        """Prompts of one split, no text twice; `num` of them (None: the task's default, or all there are)."""

    def verifiable(self, answer: str) -> str | None:
        """None if this gold answer can be used, else why it cannot. The gold answer must pass its own verifier."""
        try:
            value = self.verify(self.gold_response(answer), answer)
        except ValueError as error:
            return str(error)
        return None if value == 1.0 else f"the gold answer {_short(answer)} scores {value:g} against itself, not 1"

    def warm_up(self) -> None:
        """Have the library import and cache what it needs, before a time limit runs; may raise what `verify` raises."""
        self.verify(self.gold_response("1"), "1")

    def gold_response(self, answer: str) -> str:
        """The shortest response that should pass, for checking verifiers against their own data."""
        return answer


def check_split(split: str) -> None:
    """Refuse anything but "train" and "test"."""
    if split not in get_args(Split):
        raise ValueError(f"the split is {split!r}; expected one of {', '.join(map(repr, get_args(Split)))}")


def split_of(prompt: str) -> Split:
    """The split a generated prompt belongs to: a property of its text, so that no seed can put it in both."""
    return "test" if blake2b(prompt.encode(), digest_size=8).digest()[-1] % 4 == 0 else "train"


def missing_extra(name: str, library: str) -> ImportError:
    """What to raise where a task's library is not installed."""
    return ImportError(f"the task {name!r} needs {library}, which is not installed; {how_to_install('tasks')}")


def _short(text: str, length: int = 80) -> str:
    return repr(text if len(text) <= length else text[: length - 3] + "...")
