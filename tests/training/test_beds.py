"""The beds: real prompts, right solutions, words that the tokenizer knows; and arithmetic as it always was."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from didact.tasks import task
from didact.training.beds import BEDS, bed
from didact.training.config import TrainConfig
from didact.training.small_model import SmallModelConfig, build_tokenizer
from didact.training.warm_start import UnreliableTeacher, WarmStartConfig, train, warm_started_model
from didact.training.wording import Wording

FIRST_PROMPT = "a 2*3 b 5*3 c 6*3 d 1*3 e 9*3 ="
CHAIN = "reasoning_gym:chain_sum"
TINY = {"num_steps": 3, "batch_size": 12, "model": SmallModelConfig(hidden_size=32, intermediate_size=64)}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", BEDS)
def test_solutions_without_slips_pass_the_tasks_own_verifier(name: str) -> None:
    chosen = bed(name)
    tokenizer = build_tokenizer(chosen.vocabulary(), skipped=chosen.skipped)
    for example in task(name).examples("test", num=40, **chosen.task_options):
        text = chosen.solution(example.prompt, lambda fact: 0)
        prompt = Wording(TrainConfig(task=name, chat=False), tokenizer).prompt(example)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in tokenizer(prompt)["input_ids"] + ids
        assert len(ids) < chosen.max_response
        assert task(name).verify(tokenizer.decode(ids, skip_special_tokens=True), example.answer) == 1.0


@pytest.mark.parametrize("name", BEDS)
def test_the_warm_start_draws_prompts_of_the_levels_it_is_given(name: str) -> None:
    chosen, rng = bed(name), random.Random(0)
    tokenizer = build_tokenizer(chosen.vocabulary(), skipped=chosen.skipped)
    lengths = [
        {len(tokenizer(chosen.draw_prompt([level], [1], rng))["input_ids"]) for _ in range(9)}
        for level in chosen.levels[:4]
    ]
    assert [len(each) for each in lengths] == [1, 1, 1, 1]
    assert len(set.union(*lengths)) == 4


def test_a_slip_changes_the_last_digit_and_is_carried_on() -> None:
    prompt = "State the final answer to the following arithmetic problem: 4 - 1 - 7 ="
    chosen, facts = bed(CHAIN), []

    def slip(fact: str) -> int:
        facts.append(fact)
        return 5 if fact == "4-1" else 0

    assert chosen.solution(prompt, slip) == "- 1 8 - 7 1 <answer> 1 </answer>"
    assert facts == ["4-1", "8-7"]
    assert [chosen.family(fact) for fact in ("4-1", "4+1")] == ["sub", "add"]
    assert chosen.solution("problem: 4 - 9 =", lambda fact: 3) == "- 9 -2 <answer> -2 </answer>"


def test_fixed_sentences_are_skipped_by_a_tokenizer_that_was_saved(tmp_path: Path) -> None:
    folder = warm_started_model(replace(WarmStartConfig.for_task(CHAIN), **TINY), tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    (example,) = task(CHAIN).examples("train", num=1, **bed(CHAIN).task_options)
    plain = tokenizer(example.prompt)["input_ids"]
    chat = tokenizer.apply_chat_template(
        Wording(TrainConfig(task=CHAIN), tokenizer).prompt(example), add_generation_prompt=True, return_dict=True
    )
    assert tokenizer.decode(plain) == "<bos> " + example.prompt.partition(": ")[2]
    assert tokenizer(Wording(TrainConfig(task=CHAIN, chat=False), tokenizer).prompt(example))["input_ids"] == plain
    assert chat["input_ids"] == plain


def test_the_warm_start_of_arithmetic_is_the_published_one() -> None:
    assert WarmStartConfig().key() == "9f9cdf12f1e7dfe8"
    assert WarmStartConfig.for_task("arithmetic", seed=1) == WarmStartConfig(seed=1, teacher_seed=1)
    chosen, rng = bed("arithmetic"), random.Random("warm start 0")
    assert chosen.draw_prompt(range(1, 6), [0.9**level for level in range(1, 6)], rng) == FIRST_PROMPT
    assert UnreliableTeacher(WarmStartConfig()).habit("3-5") == (pytest.approx(0.177249940), 8)


def test_every_task_has_its_own_warm_start() -> None:
    assert WarmStartConfig.for_task(CHAIN).key() != WarmStartConfig.for_task("arithmetic").key()
    model, tokenizer = train(replace(WarmStartConfig.for_task(CHAIN), **TINY))
    assert model.config.vocab_size == len(tokenizer) == len(bed(CHAIN).vocabulary()) + 4


def test_a_run_without_a_model_takes_the_prompts_of_the_bed() -> None:
    config = TrainConfig(task=CHAIN)
    assert config.task_options == bed(CHAIN).task_options
    assert config.max_completion_length == bed(CHAIN).max_response
    assert TrainConfig(task=CHAIN, task_options={"levels": [1]}).task_options["config"]["max_digits"] == 1
    assert TrainConfig(task=CHAIN, model="a/model").task_options == {}


def test_a_task_without_a_bed_is_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'reasoning_gym:chain_sum'"):
        bed("reasoning_gym:chain_sums")
    with pytest.raises(ValueError, match="choose from arithmetic, reasoning_gym:chain_sum"):
        bed("gsm8k")
    with pytest.raises(ValueError, match="expected 0 to 6"):
        replace(WarmStartConfig.for_task(CHAIN), max_level=7)
