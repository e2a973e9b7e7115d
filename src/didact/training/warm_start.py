"""Supervised warm start of the small model with a deliberately unreliable teacher.

RL with verifiable rewards needs a model that is sometimes right. This one learns a task (`didact.training.beds`) from
worked solutions, some of them WRONG ON PURPOSE: a fixed random share of the facts (``"3-5"``, ``"7*4"``) is *weak*,
and the teacher shows the right digit of a weak fact with probability c ~ U(low, high) and otherwise one fixed wrong
digit. The model reproduces these rates, so that a prompt's pass rate is about the product of c over its weak facts:
long prompts never pass, prompts without a weak fact always do, and a fact put right by RL makes longer prompts
learnable. Greedy accuracy has to be learnt as well, since below c = 0.5 the most likely digit is the wrong one.

This is a designed test bed. It shows that the machinery works and lets methods be compared in minutes; it is no
evidence about natural language models.

The result is cached under a hash of the whole configuration. A cached folder is used only if it holds what was
recorded, byte for byte, and nothing else, least of all code; anything else is set aside and built again, not deleted.
The cache is the user's own (see `cache_folder`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import random
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from didact.files import locked
from didact.manifest import fault, files_in, seal
from didact.tasks.task import split_of
from didact.training.beds import bed
from didact.training.small_model import SmallModelConfig, build_model, build_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called after every step with (steps done, steps in all)."""

_FORMAT: Final = 1  # raise it when the code changes what a configuration produces
_MANIFEST: Final = "warm_start.json"
_PLAIN: Final = {".json", ".jinja", ".safetensors"}  # no code and no pickle


@dataclass(frozen=True, kw_only=True)
class WarmStartConfig:
    """Everything the warm-started model depends on, except the number of threads and the versions of libraries.

    The defaults are those of ``arithmetic``; `for_task` knows those of the other tasks.
    """

    task: str = "arithmetic"
    seed: int = 0  # weights and order of examples
    teacher_seed: int = 0  # which facts are weak, and how
    weak_share: Mapping[str, float] = field(default_factory=lambda: {"add": 0.0, "sub": 0.65, "mul": 0.65})
    reliability: tuple[float, float] = (0.03, 0.3)
    max_level: int = 5
    level_decay: float = 0.9  # a level is drawn with weight level_decay ** level
    num_steps: int = 1150
    batch_size: int = 64
    learning_rate: float = 3e-3
    model: SmallModelConfig = field(default_factory=SmallModelConfig)

    def __post_init__(self) -> None:
        families, levels = bed(self.task).families, bed(self.task).levels
        if set(self.weak_share) != set(families) or not all(0 <= share <= 1 for share in self.weak_share.values()):
            raise ValueError(
                f"weak_share is {dict(self.weak_share)}; expected a number in [0, 1] for each of {families}"
            )
        if not 0 <= self.reliability[0] <= self.reliability[1] <= 1:
            raise ValueError(f"reliability is {self.reliability}; expected (low, high) with 0 <= low <= high <= 1")
        if self.max_level not in levels:
            raise ValueError(f"max_level is {self.max_level}; expected {levels[0]} to {levels[-1]}")
        if min(self.num_steps, self.batch_size) < 1:
            raise ValueError(f"num_steps is {self.num_steps}, batch_size {self.batch_size}; expected at least 1")

    @classmethod
    def for_task(cls, task: str, *, seed: int = 0) -> WarmStartConfig:
        """The warm start of a task as it was tuned; `seed` is also the teacher's."""
        return cls(task=task, seed=seed, teacher_seed=seed, **bed(task).warm_start)

    def key(self) -> str:
        """Name of the cache folder: the same for equal configurations, in any process."""
        named = asdict(self)
        if self.task == "arithmetic":  # it was the only task once, and its folders keep their names
            del named["task"]
        text = json.dumps([_FORMAT, named], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class UnreliableTeacher:
    """Writes worked solutions with slips at weak facts; right otherwise."""

    def __init__(self, config: WarmStartConfig) -> None:
        self._config, self._bed = config, bed(config.task)
        self._habits: dict[str, tuple[float, int]] = {}  # fact -> (probability of being right, shift when wrong)

    def solution(self, prompt: str, rng: random.Random) -> str:
        def slip(fact: str) -> int:
            reliability, shift = self.habit(fact)
            return shift if reliability < 1 and rng.random() >= reliability else 0

        return self._bed.solution(prompt, slip)

    def habit(self, fact: str) -> tuple[float, int]:
        """(probability that the digit is right, shift of the digit when it is not); the same on every call."""
        if fact not in self._habits:
            digest = hashlib.blake2b(f"{self._config.teacher_seed}/{fact}".encode(), digest_size=8).digest()
            rng = random.Random(int.from_bytes(digest))
            weak = rng.random() < self._config.weak_share[self._bed.family(fact)]
            self._habits[fact] = (rng.uniform(*self._config.reliability) if weak else 1.0, rng.randrange(1, 10))
        return self._habits[fact]


def cache_folder() -> Path:
    """Where warm starts and test beds are kept: ``DIDACT_CACHE``, else ``~/.cache/didact``. Made for its user alone.

    A folder of another user (root apart), or one that others may write to, is used only with ``DIDACT_CACHE_SHARED=1``:
    whoever writes there decides what is trained here.

    Raises:
        ValueError: such a folder. OSError: it cannot be made.
    """
    cache = Path(os.environ.get("DIDACT_CACHE") or Path.home() / ".cache" / "didact")
    shared = os.environ.get("DIDACT_CACHE_SHARED") == "1"
    cache.mkdir(mode=0o777 if shared else 0o700, parents=True, exist_ok=True)
    found = cache.stat()
    if not shared and os.name == "posix":
        theirs = found.st_uid not in (0, os.geteuid())
        if theirs or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            whose = "belongs to another user" if theirs else "can be written to by others"
            raise ValueError(
                f"the cache {cache} {whose}, so what lies there is not trusted: let DIDACT_CACHE name a folder of your "
                "own (chmod go-w), or set DIDACT_CACHE_SHARED=1 if you trust all who write there"
            )
    return cache


def warm_started_model(
    config: WarmStartConfig, cache_dir: Path | None = None, progress: Progress | None = None
) -> Path:
    """Folder with the warm-started model and its tokenizer; trained now if no intact copy is cached.

    The cache is `cache_dir`, else `cache_folder()`. A process that finds another one training the same model waits
    for it. A cache that this user may only read is good for what it holds.

    Raises:
        PermissionError: nothing intact is there, and nothing can be written. OSError: the disk is full.
    """
    cache = cache_dir or cache_folder()
    folder = cache / f"warm-start-{config.key()}"
    if _fault(folder, config) is None:
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_suffix(".lock"), seconds=None):
        if (why := _fault(folder, config)) is None:
            return folder
        model, tokenizer = train(config, progress=progress)
        with tempfile.TemporaryDirectory(dir=cache, prefix=f"{folder.name}.", suffix=".partial") as partial:
            whole = Path(partial) / "model"
            model.save_pretrained(whole)
            tokenizer.save_pretrained(whole)
            seal(whole, {}, manifest=_MANIFEST, config=asdict(config))
            if os.path.lexists(folder):
                aside = Path(tempfile.mkdtemp(dir=cache, prefix=f"{folder.name}.", suffix=".damaged")) / "model"
                logger.warning(
                    "the cached warm start %s is damaged (%s): built again, the old one is %s", folder, why, aside
                )
                folder.rename(aside)
            whole.rename(folder)
    return folder


def train(
    config: WarmStartConfig, *, progress: Progress | None = None
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """The warm start itself: next-token loss on the solutions, AdamW, cosine to a tenth after 50 steps of warm-up."""
    import torch

    chosen = bed(config.task)
    tokenizer = build_tokenizer(chosen.vocabulary(), max_length=config.model.max_length, skipped=chosen.skipped)
    model = build_model(config.model, tokenizer, seed=config.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    teacher, rng = UnreliableTeacher(config), random.Random(f"warm start {config.seed}")
    model.train()
    for step in range(config.num_steps):
        cosine = 0.5 * (1 + math.cos(math.pi * step / config.num_steps))
        optimizer.param_groups[0]["lr"] = config.learning_rate * min(1, (step + 1) / 50) * (0.1 + 0.9 * cosine)
        # Sorting by length before splitting keeps padding out of the micro-batches.
        batch = sorted((_draw(config, teacher, rng) for _ in range(config.batch_size)), key=lambda pair: len(pair[0]))
        num_targets = sum(len(solution.split()) + 1 for _, solution in batch)
        third = -(-len(batch) // 3)
        for start in range(0, len(batch), third):
            inputs, targets = _tensors(batch[start : start + third], tokenizer)
            (_target_loss(model, inputs, targets) / num_targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if progress is not None:
            progress(step + 1, config.num_steps)
    return model.eval(), tokenizer


def _draw(config: WarmStartConfig, teacher: UnreliableTeacher, rng: random.Random) -> tuple[str, str]:
    chosen = bed(config.task)
    levels = [level for level in chosen.levels if level <= config.max_level]
    weights = [config.level_decay**level for level in levels]
    while True:  # test prompts are left out: the held-out set is unseen by the warm start, too
        prompt = chosen.draw_prompt(levels, weights, rng)
        if split_of(prompt) == "train":
            return prompt, teacher.solution(prompt, rng)


def _tensors(pairs: list[tuple[str, str]], tokenizer: PreTrainedTokenizerFast) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and next-token targets, padded on the right; -100 where nothing is learnt (prompt and padding)."""
    import torch

    ids: dict[str, int] = tokenizer.get_vocab()
    prompts: list[list[int]] = tokenizer([prompt for prompt, _ in pairs])["input_ids"]
    solutions = [[*(ids[word] for word in solution.split()), ids["<eos>"]] for _, solution in pairs]
    width = max(len(prompt) + len(solution) for prompt, solution in zip(prompts, solutions, strict=True))
    tokens = torch.full((len(pairs), width), ids["<pad>"])
    targets = torch.full((len(pairs), width), -100)
    for row, (prompt, solution) in enumerate(zip(prompts, solutions, strict=True)):
        end = len(prompt) + len(solution)
        tokens[row, :end] = torch.tensor(prompt + solution)
        targets[row, len(prompt) : end] = torch.tensor(solution)
    return tokens[:, :-1], targets[:, 1:]


def _target_loss(model: LlamaForCausalLM, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Summed cross-entropy; the head runs only where there is a target."""
    import torch

    hidden = model.model(inputs, use_cache=False).last_hidden_state
    wanted = targets != -100
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[wanted]), targets[wanted], reduction="sum")


def _fault(folder: Path, config: WarmStartConfig) -> str | None:
    """Why a cached folder is not used; None if it is the model of this configuration, and holds nothing else."""
    if (wrong := fault(folder, manifest=_MANIFEST, alone=True)) is not None:
        return wrong
    if strange := [name for name in files_in(folder) if Path(name).suffix not in _PLAIN]:
        return f"{strange[0]} is no part of a model's data"
    recorded = json.loads((folder / _MANIFEST).read_text(encoding="utf-8")).get("config")
    return None if recorded == json.loads(json.dumps(asdict(config))) else "it is of another configuration"
