"""The small model of the test bed: a word-level tokenizer and a randomly initialised Llama.

Some two hundred thousand parameters, built from a config and saved with ``save_pretrained``, so everything downstream
(`AutoModelForCausalLM`, `AutoTokenizer`, TRL, vLLM) sees an ordinary model folder and needs no network. It is not a
language model: it knows the few hundred words it is given (`didact.training.beds`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL_TOKENS = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}

# The contents of all messages in one line: the model knows no roles.
CHAT_TEMPLATE = "{{ bos_token }}{% for message in messages %} {{ message['content'] }}{% endfor %}"


@dataclass(frozen=True, kw_only=True)
class SmallModelConfig:
    """Shape of the model. One key/value head: with queries of length one it is the cheapest to decode on a CPU."""

    hidden_size: int = 96
    num_layers: int = 2
    num_heads: int = 4
    num_key_value_heads: int = 1
    intermediate_size: int = 128
    max_length: int = 128


def build_tokenizer(
    words: Sequence[str], *, max_length: int = 128, skipped: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """A fast tokenizer of whole words: splits at white space, starts with ``<bos>``, pads on the left.

    Text in `skipped` is left out, such as the sentence that is the same in every prompt of a task.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    specials = list(SPECIAL_TOKENS.values())
    ids = {word: index for index, word in enumerate([*specials, *words])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=SPECIAL_TOKENS["unk_token"]))
    if skipped:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(text, "") for text in skipped])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", ids["<bos>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side="left",
        model_max_length=max_length,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        **SPECIAL_TOKENS,
    )


def build_model(config: SmallModelConfig, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> LlamaForCausalLM:
    """A Llama with random weights, the same for the same seed; torch's global generator is left as it was."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    llama = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_key_value_heads,
        max_position_embeddings=config.max_length,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(llama)
