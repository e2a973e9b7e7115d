"""Which rollouts count as cut off: models with several end tokens, stop strings, vLLM, and TRL's own figure."""

from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import pytest
from packaging.version import Version
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOTrainer

from didact.adapters.trl import CurriculumGRPOTrainer, CurriculumMixin
from didact.adapters.trl.ends import cut_off
from tests.adapters.trl.conftest import build, digits

pytestmark = pytest.mark.slow

END, OTHER_END, STOP = 2, 40, 5  # <eos>, a second end token, and the word "#", a stop string
LIMIT = 8
RESPONSES = {
    "the tokenizer's end": ([7, 8, END], False),
    "the model's other end": ([7, 8, 9, OTHER_END], False),
    "another end at the limit": ([7, 8, 9, 10, 11, 12, 13, OTHER_END], False),
    "a stop string": ([7, STOP], False),
    "a stop string at the limit": ([7, 8, 9, 10, 11, 12, 13, STOP], False),
    "the limit": ([7, 8, 9, 10, 11, 12, 13, 14], True),
}


class Engine(GRPOTrainer):
    """Its responses come from outside, as vLLM's do: TRL gets tokens, and not why they end."""

    def _generate_single_turn(self, prompt_ids, *others, **more):
        return [responses[row % len(responses)] for row in range(len(prompt_ids))], None


responses: list[list[int]] = []


class Trainer(CurriculumMixin, Engine):
    pass


@pytest.fixture(scope="module")
def several_ends(model_path, tmp_path_factory):
    """A model as most instruction models are: its generation config lists more end tokens than the tokenizer has."""

    def saved(*ends):
        path = tmp_path_factory.mktemp("ends")
        model = AutoModelForCausalLM.from_pretrained(model_path)
        model.generation_config.eos_token_id = [END, *ends]
        model.save_pretrained(path)
        AutoTokenizer.from_pretrained(model_path).save_pretrained(path)
        return str(path)

    return saved


def figures(trainer):
    """Shares of rollouts cut off, ours and TRL's; each step has 32 rollouts in one call."""
    metrics = trainer.curriculum.metrics()
    clipped = [entry[key] for entry in trainer.state.log_history if (key := "completions/clipped_ratio") in entry]
    return metrics["rollouts_truncated"] / metrics["rollouts"], np.mean(clipped)


def test_the_share_cut_off_is_trls_own(model_path, several_ends, rows, tmp_path):
    ratios = []
    for path in (model_path, several_ends(*range(40, 100))):
        trainer = build(CurriculumGRPOTrainer, path, rows, tmp_path, curriculum="uniform", max_completion_length=4)
        trainer.train()
        ours, trls = figures(trainer)
        assert ours == pytest.approx(trls)
        ratios.append(ours)
    assert ratios[0] > 0.5
    if Version(version("trl")) >= Version("1.16"):  # TRL 1.9 does not stop at the other ends, and counts them as text
        assert 0.2 < ratios[1] < 0.8


@pytest.mark.parametrize(("vllm", "name"), [(False, "stop_strings"), (True, "stop")])
def test_a_response_is_cut_off_that_fills_its_room_without_an_end(several_ends, rows, tmp_path, vllm, name, caplog):
    responses[:] = [ids for ids, _ in RESPONSES.values()]
    trainer = build(
        Trainer, several_ends(OTHER_END), rows, tmp_path, curriculum="uniform", reward_funcs=[digits], max_steps=1,
        per_device_train_batch_size=24, num_generations=6, generation_kwargs={name: "#"},
        vllm_importance_sampling_correction=False,
    )  # fmt: skip
    if vllm:
        trainer.use_vllm, trainer.vllm_generation = True, SimpleNamespace(max_completion_length=None)
        del trainer.generation_config  # TRL makes none then
    else:
        trainer.generation_config.eos_token_id = [END, OTHER_END]  # TRL 1.9 takes the tokenizer's alone
    told = []
    observe = trainer.curriculum.observe
    trainer.curriculum.observe = lambda outcomes: (told.extend(outcomes), observe(told))[1]
    trainer.train()
    assert [outcome.truncated for outcome in told] == [tuple(cut for _, cut in RESPONSES.values())] * 8
    assert "were cut off" not in caplog.text
    ours, trls = figures(trainer)
    assert ours == pytest.approx(1 / 6)
    assert trls > ours  # it goes by the last token: what a stop string ended is clipped to it


def test_stop_tokens_and_the_engines_own_room(several_ends, rows, tmp_path):
    responses[:] = [[7, 8, 9, 10, 11, 12, 13, 14]] * 8
    more = {"curriculum": "uniform", "reward_funcs": [digits], "max_steps": 1, "max_completion_length": LIMIT}
    more |= {"vllm_importance_sampling_correction": False}

    def cut(room=None, **generation):
        trainer = build(Trainer, several_ends(OTHER_END), rows, tmp_path, generation_kwargs=generation, **more)
        trainer.use_vllm, trainer.args.vllm_max_model_length = True, room
        return cut_off(trainer, [[7, 8, 9, 10], [7] * LIMIT, [7] * (LIMIT - 1) + [9], []], [6, 6, 6, 6])

    assert cut() == [False, True, True, False]
    assert cut(stop_token_ids=[9]) == [False, True, False, False]
    assert cut(room=10) == [True, True, True, False]  # 6 tokens of prompt and 4 of response fill it


def test_a_model_without_any_end_is_cut_off_and_the_warning_says_so(model_path, rows, tmp_path, caplog):
    responses[:] = [[7, 8, 9, 10, 11, 12, 13, 14]]
    trainer = build(Trainer, model_path, rows, tmp_path, curriculum="uniform", reward_funcs=[digits], max_steps=1)
    trainer.train()
    assert figures(trainer) == (1.0, 1.0)
    assert "32 of 32 rollouts were cut off at 8 tokens" in caplog.text
