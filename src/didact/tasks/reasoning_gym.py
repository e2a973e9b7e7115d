"""Generated puzzles of reasoning-gym (arXiv:2505.24760): ``reasoning_gym:chain_sum`` and its hundred other families.

The answer of an example is reasoning-gym's entry as JSON, since many families score against more than one answer; a
plain answer is accepted where a family needs no more. Scores are the library's own, and many families give a wrong
answer partial credit: 0.01 to 0.1, or the share of an answer that is the right one. Such credit needs a marked answer;
else a model can learn to go on writing until the right answer happens to stand somewhere.

Nothing that a model writes is run. Upstream evaluates the answers of some families as Python; those have a score of our
own (`didact.tasks.reasoning_gym_scores`), and a family that has none and whose scoring can reach such code, in whatever
release is installed, is refused unless it is asked for by name: ``reasoning_gym:NAME:allow_code``.

Difficulty is a level of the family's curriculum, with every attribute (terms, digits, size...) at that level, or at its
highest where it has fewer; without levels the family's default configuration is drawn, of no stated difficulty. Single
fields of the family's configuration can be fixed whatever the level: ``levels=[1, 2], config={"max_digits": 1}``.

Seeds: reasoning-gym draws item i of seed s from s + i, so neighbouring seeds share almost all items. Here every example
has a hashed seed of its own, and a prompt's text decides its split, so train and test share no prompt.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from didact.naming import nearest_or_all
from didact.seeding import hashed_seed
from didact.tasks.reasoning_gym_reach import reached_code
from didact.tasks.reasoning_gym_scores import BARRED, LONGEST, NEEDED, REFUSED, SCORES
from didact.tasks.task import Example, Split, Task, check_split, missing_extra, split_of

_MAX_DRAWS: Final = 200  # draws of one example before a family counts as used up
_LONGEST: Final = 10_000  # characters of an answer, on top of four times the gold answer's


class ReasoningGym(Task):
    """One family of reasoning-gym.

    Args:
        family: its name.
        allow_code: take it even if its scoring can run text, which may be what a model wrote.

    Raises:
        ImportError: reasoning-gym is not installed.
        ValueError: there is no such family, its scoring can run text, or it cannot tell right from wrong.
    """

    instruction = "\nThink step by step. Write the final answer, and nothing else, between <answer> and </answer>."

    def __init__(self, family: str, *, allow_code: bool = False) -> None:
        try:
            from reasoning_gym.factory import DATASETS, get_score_answer_fn
        except ImportError as error:
            raise missing_extra("reasoning_gym", "reasoning-gym") from error
        if family not in DATASETS:
            raise ValueError(f"reasoning_gym has no family {family!r}{nearest_or_all(family, DATASETS)}")
        if family == "composite":
            raise ValueError("'composite' is a mixture of families; load the families you want, one by one")
        if family in REFUSED:
            raise ValueError(f"the family {family!r} of reasoning_gym is refused: {REFUSED[family]}; choose another")
        self.name = f"reasoning_gym:{family}:allow_code" if allow_code else f"reasoning_gym:{family}"
        self._family = family
        self._datasets: dict[str, Any] = {}
        self._upstream = get_score_answer_fn(family)
        if family not in SCORES and not allow_code and (reached := reached_code(self._upstream)):
            raise ValueError(
                f"reasoning_gym scores the answers of {family!r} by code that reaches {reached!r}, so what a model "
                f"writes might be run; choose another family, or accept that by name: '{self.name}:allow_code'"
            )
        self._flaw = lru_cache(maxsize=1024)(self._flaw_of)  # the rollouts of a group share their entry

    def verify(self, response: str, answer: str) -> float:
        """The family's score of what stands between the last <answer> and </answer>; without them, 1.0 if the whole
        response is the answer. What the family cannot read or bear is a wrong answer.

        Raises:
            ValueError: the entry is of no use, since its own answer does not pass.
        """
        if flaw := self._flaw(answer):
            raise ValueError(flaw)
        entry, marked, text = _entry(answer), "</answer>" in response, _final_answer(response)
        barred = BARRED.get(self._family)
        longest = LONGEST.get(self._family, _LONGEST) + 4 * len(entry["answer"] or "")
        if len(text) > longest or (barred and barred.search(text)):
            return 0.0
        try:
            score = self._score(text, entry)
        except OSError:  # a time-out is one
            raise
        except Exception:  # the entry has been tried, so it is the answer
            return 0.0
        return score if (marked or score == 1.0) and 0 <= score <= 1 else 0.0

    def _score(self, text: str, entry: dict[str, Any]) -> float:
        if ours := SCORES.get(self._family):
            return ours(text, entry, self._upstream.__self__)
        return float(self._upstream(text, entry))

    def _flaw_of(self, answer: str) -> str | None:
        """Why nothing can be compared with this entry, or None."""
        entry = _entry(answer)
        gold = entry["answer"]
        if not (gold is None or isinstance(gold, str)) or not isinstance(entry["metadata"], dict):
            return f"{self.name}: {answer[:80]!r} given; expected an entry with a text as its answer"
        try:
            for key in NEEDED.get(self._family, ()):
                entry["metadata"][key]
            score = max(self._score(text, entry) for text in (["", "{}"] if gold is None else [gold]))
        except KeyError as error:
            return f"{self.name} needs the whole entry as JSON, with {error}; {answer[:80]!r} given"
        except OSError:
            raise
        except Exception as error:
            return f"{self.name}: {answer[:80]!r} cannot be scored against itself ({type(error).__name__}: {error})"
        if gold is None:
            return f"{self.name}: no answer at all passes {answer[:80]!r}" if score == 1.0 else None
        if score == 1.0:
            return None
        return f"{self.name}: the gold answer {gold[:80]!r} scores {score:g}, not 1"

    def gold_response(self, answer: str) -> str:
        """The entry's own answer; five families only check answers and know none."""
        gold = _entry(answer)["answer"]
        if gold is None:
            raise ValueError(f"{self.name} gives no gold answer, it only checks the answers it gets")
        return f"<answer>{gold}</answer>"

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels of the family's curriculum, easiest first; empty if it has none."""
        from reasoning_gym.factory import create_curriculum, has_curriculum

        if not has_curriculum(self._family):
            return ()
        attributes = create_curriculum(self._family).attributes.values()
        return tuple(range(max((len(attribute.levels) for attribute in attributes), default=0)))

    def examples(  # type: ignore[override]  # each task names its own options
        self,
        split: Split,
        num: int | None = None,
        seed: int = 0,
        *,
        levels: Sequence[int] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> list[Example]:
        """`num` (default 1024) distinct examples, `levels` in turn; a shorter list begins a longer one.

        `config` fixes fields of the family's configuration.
        """
        check_split(split)
        if levels is not None and not (levels and set(levels) <= set(self.levels)):
            known = f"from 0 to {self.levels[-1]}" if self.levels else "none, as it has no curriculum"
            raise ValueError(f"{self.name}: levels {list(levels)} given; expected levels {known}")
        found: dict[str, Example] = {}
        for index in range(1024 if num is None else num):
            level = levels[index % len(levels)] if levels else None
            failure: Exception | None = None  # some families give up on some seeds, and a few on whole levels
            for draw in range(_MAX_DRAWS):
                try:
                    entry = self.draw(hashed_seed(self._family, split, seed, index, draw) % 2**32, level, config)
                except (ValueError, AssertionError, AttributeError, IndexError) as error:
                    failure = error
                    continue
                prompt, answer = entry["question"], json.dumps(_plain(entry), ensure_ascii=False)
                if split_of(prompt) != split or prompt in found:
                    continue
                flaw = self._flaw_of(answer)
                if flaw is None:
                    break
                failure = ValueError(flaw)
            else:
                raise ValueError(
                    f"{self.name}: no new prompt after {len(found)} examples at level {level}"
                    f"{f' ({failure})' if failure else ''}; ask for fewer examples or for other levels"
                ) from failure
            place = "default" if level is None else str(level)
            found[prompt] = Example(
                prompt_id=f"{self._family}/{place}/{hashed_seed(prompt) % 2**64:016x}",
                prompt=prompt,
                answer=answer,
                source=self._family,
                difficulty=None if level is None else float(level),
            )
        return list(found.values())

    def draw(self, seed: int, level: int | None = None, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """reasoning-gym's entry of `seed`, of either split.

        It is item `seed` of seed 0: one data set, with what it reads from disk, serves all.
        """
        key = json.dumps([level, config], sort_keys=True)
        if key not in self._datasets:
            self._datasets[key] = self._dataset(0, level, config)
        try:
            entry: dict[str, Any] = self._datasets[key][seed]
        except IndexError:  # the four families that make all items at once have only as many as they made
            entry = self._dataset(seed, level, config)[0]
        return entry

    def _dataset(self, seed: int, level: int | None, config: Mapping[str, Any] | None) -> Any:
        from reasoning_gym.coaching.base_curriculum import DefaultCurriculumContext, RangeAttributeMode
        from reasoning_gym.factory import DATASETS, create_curriculum

        build, configure = DATASETS[self._family]
        known = sorted({each.name for each in dataclasses.fields(configure)} - {"seed", "size"})
        for name in config or ():
            if name not in known:
                raise TypeError(f"{self.name} has no configuration field {name!r}{nearest_or_all(name, known)}")
        if level is None:
            return build(configure(**{**(config or {}), "seed": seed, "size": 1}))
        curriculum = create_curriculum(self._family)
        curriculum.set_global_level(level)
        context = DefaultCurriculumContext(mode=RangeAttributeMode.UPPER_BOUND)  # this level, not all up to it
        chosen = curriculum.generate_configuration({"seed": seed, "size": 1}, context)
        return build(dataclasses.replace(chosen, **(config or {})))


def _final_answer(response: str) -> str:
    before, closing, _ = response.rpartition("</answer>")
    return (before.rpartition("<answer>")[2] if closing else response).strip()


def _entry(answer: str) -> dict[str, Any]:
    """The entry that `answer` holds; for a plain answer, an entry with nothing else in it."""
    try:
        entry = _restored(json.loads(answer))
    except (ValueError, TypeError, RecursionError):  # no JSON, or none that `_plain` makes
        entry = None
    if isinstance(entry, dict) and {"question", "answer", "metadata"} <= set(entry):
        return entry
    return {"question": "", "answer": answer, "metadata": {}}


def _plain(value: Any) -> Any:
    """`value` in what JSON can hold without loss: scoring tells tuples from lists and integer keys from text."""
    if isinstance(value, tuple | set | frozenset):
        return {"__tuple__" if isinstance(value, tuple) else "__set__": [_plain(item) for item in value]}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: _plain(item) for key, item in value.items()}
        return {"__items__": [[_plain(key), _plain(item)] for key, item in value.items()]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "item"):  # a numpy number
        return value.item()
    return str(value)  # dates and sympy expressions, which scoring reads from the answer's text


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(item) for item in value]
    if not isinstance(value, dict):
        return value
    match list(value):
        case ["__tuple__"]:
            return tuple(_restored(item) for item in value["__tuple__"])
        case ["__set__"]:
            return {_restored(item) for item in value["__set__"]}
        case ["__items__"]:
            return {_restored(key): _restored(item) for key, item in value["__items__"]}
    return {key: _restored(item) for key, item in value.items()}
