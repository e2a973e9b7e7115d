"""Fast decoding of small Llama models on a CPU, for comparisons that train hundreds of them.

For a model of a few hundred thousand parameters nearly all the time of `generate` is spent around the arithmetic. This
decodes with preallocated key/value caches, one prefill per distinct prompt, fused projections and one matrix product
for all the heads that share keys, and drops rows that have ended. It reads the weights of a `LlamaForCausalLM` and
computes what its forward computes (tests compare the logits); it samples at temperature 1 or greedily, nothing else.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import linear, rms_norm, silu

Response = list[int]


class Sampler:
    """Decodes with the current weights of a model.

    Raises:
        ValueError: a model of another layout (other classes, scaled rotary embeddings, biases).
    """

    def __init__(self, model: Any, eos_token_id: int) -> None:
        config = model.config
        scaling = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
        if config.model_type != "llama" or scaling != "default" or config.attention_bias or config.mlp_bias:
            raise ValueError(
                f"the fast sampler decodes plain Llama models, got {config.model_type!r} with rotary embeddings of "
                f"type {scaling!r}; train such a model with `didact train`"
            )
        self._model, self._eos = model, eos_token_id
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._epsilon, self._rotary = config.rms_norm_eps, model.model.rotary_emb

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def sample(
        self, prompts: Sequence[Sequence[int]], num: Sequence[int], uniforms: NDArray[np.float64] | None, limit: int
    ) -> list[Response]:
        """Responses, prompt by prompt, with the end token where there is one.

        Args:
            prompts: token ids of each prompt.
            num: how many responses of each prompt.
            uniforms: shape (sum(num), limit), the randomness: one number in [0, 1) for each token. None decodes
                greedily.
            limit: response tokens at most.
        """
        weights = self._weights()
        width, rows = max(map(len, prompts)), int(sum(num))
        tokens, pad = torch.zeros(len(prompts), width, dtype=torch.long), torch.zeros(len(prompts), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            pad[row] = width - len(prompt)
            tokens[row, pad[row] :] = torch.tensor(prompt)
        cos, sin = self._angles(width + limit)
        slots = torch.arange(width)
        hidden_slots = slots[None, :] < pad[:, None]
        causal = torch.where((slots[None, :] > slots[:, None])[None] | hidden_slots[:, None], -1e9, 0.0)
        positions = (slots[None, :] - pad[:, None]).clamp(min=0)
        caches = [
            torch.zeros(2, len(prompts) * self._kv_heads, width + limit, self._size) for _ in self._model.model.layers
        ]
        logits = self._forward(weights, tokens, cos[positions], sin[positions], caches, 0, causal)
        repeat = torch.tensor(num)
        logits, pad, hidden_slots = (each.repeat_interleave(repeat, 0) for each in (logits, pad, hidden_slots))
        caches = [cache.repeat_interleave(repeat.repeat_interleave(self._kv_heads), 1) for cache in caches]
        if self._kv_heads > 1:  # repeat_interleave kept the copies of each key/value head together: order by row
            caches = [_by_row(cache, num, self._kv_heads) for cache in caches]
        draws = None if uniforms is None else torch.from_numpy(uniforms).float()
        output = torch.full((rows, limit), -1, dtype=torch.long)
        alive = torch.arange(rows)
        for step in range(limit):
            chosen = _choose(logits, None if draws is None else draws[alive, step])
            output[alive, step] = chosen
            going = chosen != self._eos
            left = int(going.sum())
            if left == 0 or step + 1 == limit:
                break
            if left < 0.75 * len(alive):
                keep = going.nonzero()[:, 0]
                alive, chosen, pad, hidden_slots = alive[keep], chosen[keep], pad[keep], hidden_slots[keep]
                rows_kept = (keep[:, None] * self._kv_heads + torch.arange(self._kv_heads)).reshape(-1)
                caches = [cache[:, rows_kept] for cache in caches]
            slot = width + step
            mask = torch.zeros(len(alive), 1, slot + 1)
            mask[:, 0, :width].masked_fill_(hidden_slots, -1e9)
            where = (slot - pad)[:, None]
            logits = self._forward(weights, chosen[:, None], cos[where], sin[where], caches, slot, mask)
        return [_ended(row, self._eos) for row in output.tolist()]

    def _weights(self) -> list[tuple[torch.Tensor, ...]]:
        return [
            (
                layer.input_layernorm.weight,
                torch.cat(
                    [layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight, layer.self_attn.v_proj.weight]
                ),
                layer.self_attn.o_proj.weight,
                layer.post_attention_layernorm.weight,
                torch.cat([layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight]),
                layer.mlp.down_proj.weight,
            )
            for layer in self._model.model.layers
        ]

    def _angles(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        cos, sin = self._rotary(torch.zeros(1), torch.arange(length)[None])
        return cos[0], sin[0]

    def _forward(
        self,
        weights: list[tuple[torch.Tensor, ...]],
        tokens: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        caches: list[torch.Tensor],
        start: int,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """Logits after the last of `tokens`, shape (rows, vocabulary); their keys and values go into the caches."""
        model, heads, kv_heads, size = self._model.model, self._heads, self._kv_heads, self._size
        rows, length = tokens.shape
        end, group = start + length, heads // kv_heads
        x = model.embed_tokens.weight[tokens]
        cos, sin = cos[:, :, None], sin[:, :, None]
        mask = mask[:, None].expand(rows, group, length, end).reshape(rows, group * length, end)
        if kv_heads > 1:
            mask = mask.repeat_interleave(kv_heads, 0)
        for (norm_1, qkv, out, norm_2, up, down), cache in zip(weights, caches, strict=True):
            mixed = linear(rms_norm(x, norm_1.shape, norm_1, self._epsilon), qkv).view(rows, length, -1, size)
            turned, values = mixed[:, :, : heads + kv_heads], mixed[:, :, heads + kv_heads :]
            half = size // 2
            turned = turned * cos + torch.cat([-turned[..., half:], turned[..., :half]], -1) * sin
            queries = turned[:, :, :heads].view(rows, length, kv_heads, group, size)
            queries = queries.permute(0, 2, 3, 1, 4).reshape(rows * kv_heads, group * length, size)
            cache[0, :, start:end] = turned[:, :, heads:].transpose(1, 2).reshape(rows * kv_heads, length, size)
            cache[1, :, start:end] = values.transpose(1, 2).reshape(rows * kv_heads, length, size)
            scores = torch.baddbmm(mask, queries, cache[0, :, :end].transpose(1, 2), alpha=size**-0.5)
            seen = torch.bmm(scores.softmax(-1), cache[1, :, :end]).view(rows, kv_heads, group, length, size)
            x = x + linear(seen.permute(0, 3, 1, 2, 4).reshape(rows, length, heads * size), out)
            gate, value = linear(rms_norm(x, norm_2.shape, norm_2, self._epsilon), up).chunk(2, -1)
            x = x + linear(silu(gate) * value, down)
        last = rms_norm(x[:, -1], model.norm.weight.shape, model.norm.weight, self._epsilon)
        return linear(last, self._model.lm_head.weight)


def _choose(logits: torch.Tensor, draws: torch.Tensor | None) -> torch.Tensor:
    """Inverse transform sampling, or the most likely token."""
    if draws is None:
        return logits.argmax(-1)
    below = logits.softmax(-1).cumsum(-1) <= draws[:, None]
    return below.sum(-1).clamp(max=logits.shape[-1] - 1)


def _by_row(cache: torch.Tensor, num: Sequence[int], kv_heads: int) -> torch.Tensor:
    """From (prompt, head, copy) to (prompt, copy, head)."""
    parts = cache.split([count * kv_heads for count in num], 1)
    return torch.cat(
        [
            part.unflatten(1, (kv_heads, count)).transpose(1, 2).flatten(1, 2)
            for part, count in zip(parts, num, strict=True)
        ],
        1,
    )


def _ended(tokens: list[int], eos: int) -> Response:
    """Up to and with the end token; -1 stands where a row had already been dropped."""
    length = tokens.index(eos) + 1 if eos in tokens else len(tokens)
    return [token for token in tokens[:length] if token >= 0]
