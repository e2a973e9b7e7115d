"""How long a prompt may be."""

from types import SimpleNamespace

import pytest

pytest.importorskip("trl")

from didact.training.config import TrainConfig
from didact.training.display import Silent
from didact.training.preparation import room


def room_of(positions, longest=None, served=None, **settings):
    heard = []
    display = Silent()
    display.note = heard.append
    arguments = SimpleNamespace(use_vllm=served is not None, vllm_max_model_length=served)
    config = TrainConfig(model="m", task="gsm8k", max_completion_length=512, **settings)
    return room(config, arguments, positions, longest, display), heard


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        ({"positions": 4096}, 4096 - 512),
        ({"positions": 4096, "longest": 1024}, 4096 - 1024),  # a context that grows
        ({"positions": 4096, "longest": 8}, 4096 - 512),  # evaluations take the whole length
        ({"positions": 4096, "served": 2048}, 2048 - 512),
        ({"positions": None, "served": 2048}, 2048 - 512),
        ({"positions": None}, None),
        ({"positions": 4096, "max_prompt_tokens": 9000}, 9000),
    ],
)
def test_room_for_a_prompt(given, tokens):
    assert room_of(**given) == (tokens, [])


def test_responses_that_leave_no_room_are_said():
    """And not refused: rotary models go on beyond their positions, and responses may end sooner."""
    assert room_of(512) == (511, ["max_completion_length=512 leaves no room for a prompt: the model has 512 positions"])
    tokens, (line,) = room_of(4096, longest=24576)
    assert tokens == 4095
    assert line.startswith("the longest context of didact, 24,576 tokens, leaves no room for a prompt")
