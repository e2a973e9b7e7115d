"""The prompts, the model and the reward of the verl tests: one digit each, which a small Llama half knows.

A prompt is a word; its answer a digit, then so many dots. The model has learnt it from a teacher that is right in a
share of cases that differs from prompt to prompt, so a prompt's pass rate is known exactly: it is the probability of
the first token. verl's reward worker loads this file by its path for `reward`.
"""

from pathlib import Path
from typing import Any

NUM_PROMPTS = 16
SHARES = (0.02, 0.1, 0.3, 0.6, 0.95, 0.2, 0.5, 0.08)  # how often the teacher is right


def reward(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None, **_: Any
) -> dict[str, float]:
    """1 if the answer begins with the right digit; `double` is the same score under a name of its own.

    Prompts that say so are scored as verl's math_dapo does, and with a penalty on top: right or wrong is in `acc`.
    """
    score = float(solution_str.strip().startswith(ground_truth))
    if extra_info and extra_info.get("broken") and not score:
        raise RuntimeError("the verifier crashed, as it was meant to")
    if extra_info and extra_info.get("signed"):
        return {"score": 2 * score - 1.5, "acc": bool(score)}
    return {"score": score, "double": 2 * score}


def dots(prompt: int) -> int:
    """Tokens between the digit and the end."""
    return prompt % 4


def answer(prompt: int) -> str:
    return str(prompt * 7 % 10)


def rows(num: int = NUM_PROMPTS, broken: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    """Rows as verl's data preparation writes them; at wrong answers to the broken ones the reward function crashes."""
    return [
        {
            "data_source": "words" if index % 2 else "names",
            "prompt": [{"role": "user", "content": f"word{index % NUM_PROMPTS}"}],
            "ability": "recall",
            "reward_model": {"style": "rule", "ground_truth": answer(index)},
            "extra_info": {"index": index, "broken": index in broken, "prompt_tokens": 2 + index % 3},
        }
        for index in range(num)
    ]


def write_rows(path: Path, listed: list[dict[str, Any]]) -> str:
    import datasets

    datasets.Dataset.from_list(listed).to_parquet(path)
    return str(path)


def write_model(folder: Path) -> str:
    """A Llama that has learnt from the teacher, in a second or two."""
    import torch

    from didact.training.small_model import SmallModelConfig, build_model, build_tokenizer

    words = [f"word{index}" for index in range(NUM_PROMPTS)] + [str(digit) for digit in range(10)] + ["."]
    tokenizer = build_tokenizer(words, max_length=32)
    shape = SmallModelConfig(hidden_size=32, num_layers=1, num_heads=2, intermediate_size=48, max_length=32)
    model = build_model(shape, tokenizer, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    ids = tokenizer.get_vocab()
    for _ in range(150):
        sequences = [_taught(index, ids, generator) for index in range(NUM_PROMPTS) for _ in range(4)]
        tokens = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=ids["<pad>"])
        logits = model(tokens[:, :-1]).logits
        targets = tokens[:, 1:].clone()
        targets[:, 0] = targets[targets == ids["<pad>"]] = -100  # the word itself is not learnt
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def pass_rates(model: Any, tokenizer: Any) -> list[float]:
    """The exact pass rate of every prompt under a model."""
    import torch

    ids = tokenizer.get_vocab()
    prompts = torch.tensor([[ids["<bos>"], ids[f"word{index}"]] for index in range(NUM_PROMPTS)])
    with torch.no_grad():
        probabilities = torch.softmax(model(prompts).logits[:, -1].double(), -1)
    return [float(probabilities[index, ids[answer(index)]]) for index in range(NUM_PROMPTS)]


def _taught(index: int, ids: dict[str, int], generator: Any) -> Any:
    import torch

    right = float(torch.rand(1, generator=generator)) < SHARES[index % len(SHARES)]
    digit = answer(index) if right else str((int(answer(index)) + 1 + index % 3) % 10)
    return torch.tensor([ids["<bos>"], ids[f"word{index}"], ids[digit], *[ids["."]] * dots(index), ids["<eos>"]])
