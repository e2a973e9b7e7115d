"""Gradients of CurES on a small model: the Gram matrix, and sigma of eq. 21 against brute force."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from didact.adapters.gradients import gradient_gram  # noqa: E402
from didact.methods.cures import allocation_scale  # noqa: E402
from didact.methods.gradient_moments import gradient_moments  # noqa: E402

torch.set_num_threads(1)
PROMPT, LENGTH, NUM = 4, 10, 6


@pytest.fixture(scope="module")
def model():
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=23, max_position_embeddings=32, attention_dropout=0.5, **shape))


@pytest.fixture(scope="module")
def batch():
    """Six rollouts of one prompt with completions of two to six tokens, padded on the right."""
    draw = torch.Generator().manual_seed(1)
    input_ids = torch.randint(3, 23, (NUM, LENGTH), generator=draw)
    input_ids[:, :PROMPT] = input_ids[0, :PROMPT]
    lengths = torch.tensor([2, 3, 4, 5, 6, 6])
    positions = torch.arange(LENGTH)[None]
    attention_mask = (positions < PROMPT + lengths[:, None]).long()
    completion_mask = attention_mask * (positions >= PROMPT)
    return input_ids, attention_mask, completion_mask


def brute_force(model, input_ids, attention_mask, completion_mask) -> np.ndarray:
    """The padded batch in one forward pass, and `.backward()` for each rollout, in double precision."""
    model = model.double().eval()
    rows = []
    for row in range(len(input_ids)):
        model.zero_grad()
        logits = model(input_ids=input_ids, attention_mask=attention_mask).logits[:, :-1].log_softmax(-1)
        token = logits.gather(-1, input_ids[:, 1:, None])[..., 0]
        (token * completion_mask[:, 1:])[row].sum().backward()
        rows.append(torch.cat([p.grad.reshape(-1).clone() for p in model.parameters()]).numpy())
    model.zero_grad(set_to_none=True)
    model.float()
    return np.array(rows)


def test_the_gram_matrix_is_that_of_the_full_gradients(model, batch) -> None:
    gradients = brute_force(model, *batch)
    gram = gradient_gram(model, *batch)
    assert gram.shape == (NUM, NUM)
    assert gram == pytest.approx(gradients @ gradients.T, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("passes", [1, 3, 5])
def test_sigma_is_the_trace_of_the_covariance_of_advantage_times_gradient(model, batch, passes: int) -> None:
    """Eq. 21 over the distribution that gives each of the six rollouts a sixth."""
    passed = np.arange(NUM) < passes
    pass_rate = passed.mean()
    weighted = (passed - pass_rate)[:, None] * brute_force(model, *batch)
    trace = ((weighted - weighted.mean(axis=0)) ** 2).sum(axis=1).mean()
    gram = gradient_gram(model, *batch)
    *squares, estimate = gradient_moments(gram, passed)
    signs = np.where(passed, 1 / passed.sum(), -1 / (~passed).sum())
    distance = signs @ gram @ signs  # of the means of these six, which are all there are; the estimate takes a sample
    assert allocation_scale([pass_rate], [[*squares, distance]]) ** 2 == pytest.approx([trace], rel=1e-4)
    assert estimate < distance


def test_blocks_and_padding_change_nothing(model, batch) -> None:
    gram = gradient_gram(model, *batch)
    assert gradient_gram(model, *batch, max_bytes=NUM * 4 * 500) == pytest.approx(gram, rel=1e-5, abs=1e-5)
    left = [torch.stack([torch.roll(row, 3 - i % 2) for i, row in enumerate(_widen(tensor))]) for tensor in batch]
    assert gradient_gram(model, *left) == pytest.approx(gram, rel=1e-5, abs=1e-5)


def test_some_parameters_only(model, batch) -> None:
    embedding = gradient_gram(model, *batch, parameters=[model.get_input_embeddings().weight])
    everything = gradient_gram(model, *batch)
    assert (np.diag(embedding) > 0).all()
    assert (np.diag(embedding) < np.diag(everything)).all()


def test_the_model_is_left_as_it_was(model, batch) -> None:
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = gradient_gram(model, *batch), gradient_gram(model, *batch)
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert np.array_equal(first, second), "dropout must be off"


def test_bad_input(model, batch) -> None:
    input_ids, attention_mask, completion_mask = batch
    with pytest.raises(ValueError, match="one shape"):
        gradient_gram(model, input_ids, attention_mask, completion_mask[:, 1:])
    with pytest.raises(ValueError, match="no parameter"):
        gradient_gram(model, *batch, parameters=[])


def _widen(tensor):
    return torch.cat([tensor, torch.zeros(NUM, 3, dtype=tensor.dtype)], dim=1)
