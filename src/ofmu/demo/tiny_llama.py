"""The demo's language model before its first step: a tokenizer of the demo's own text and a small Llama's shape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ofmu.demo.people import Example

VOCABULARY = 2048
CONTEXT = 64


def make_tokenizer(examples: Iterable[Example]) -> Any:
    r"""Train a byte-level BPE tokenizer on the questions and answers.

    Every byte has a token, so no text is unknown; most words of the demo become one token. It has no chat template:
    a question is read as ``Question: …\nAnswer: …``. ``<pad>`` is 0, ``<bos>`` 1 (put in front of every text),
    ``<eos>`` 2; padding is on the right.

    Args:
        examples: the demo's examples; the same examples in the same order give the same tokenizer.

    Returns:
        A ``PreTrainedTokenizerFast`` with at most 2,048 tokens (about 1,100 are used) and a context of 64.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<bos>", "<eos>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [f"Question: {example['question']}\nAnswer: {example['answer']}" for example in examples]
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", special.index("<bos>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        padding_side="right",
        model_max_length=CONTEXT,
    )


def make_config(tokenizer: Any) -> Any:
    """The shape of the demo's language model: a Llama with tied embeddings.

    Args:
        tokenizer: of :func:`make_tokenizer`.

    Returns:
        A ``LlamaConfig``; weights are drawn by whoever builds the model from it, under a seed of their own.
    """
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        dtype="float32",
    )
