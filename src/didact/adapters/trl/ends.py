"""Which responses ended by themselves, and which were cut off."""

from typing import Any

import numpy as np


def cut_off(trainer: Any, responses: list[list[int]], prompt_tokens: list[int]) -> list[bool]:
    """Which responses fill their room without an end: a token that ends a response, or a stop string.

    TRL itself goes by the last token alone (`completions/clipped_ratio`, `mask_truncated_completions`): what a stop
    string ended is clipped to it, and to TRL 1.9 also what any other token than the tokenizer's own ended.
    """
    given, tokenizer = trainer.args.generation_kwargs or {}, trainer._tokenizer
    model = trainer.accelerator.unwrap_model(trainer.model)
    config = model.generation_config if trainer.use_vllm else trainer.generation_config
    listed = (config.eos_token_id, given.get("stop_token_ids"))
    ends = {tokenizer.eos_token_id, tokenizer.pad_token_id}
    ends.update(token for each in listed if each is not None for token in np.atleast_1d(each).tolist())
    strings = given.get("stop") or given.get("stop_strings") or []
    strings = [strings] if isinstance(strings, str) else strings
    limit = trainer.max_completion_length or np.inf
    total = (trainer.use_vllm and getattr(trainer.args, "vllm_max_model_length", None)) or np.inf

    def cut(response: list[int], tokens: int) -> bool:
        if not response or response[-1] in ends or len(response) < min(limit, total - tokens):
            return False
        return not (strings and any(end in tokenizer.decode(response) for end in strings))

    return [cut(*each) for each in zip(responses, prompt_tokens, strict=True)]
