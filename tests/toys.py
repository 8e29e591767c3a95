"""Tiny models and data, made in memory in a moment, that many rooms of tests share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ofmu.models.convnet import ConvNetConfig, ConvNetForImageClassification

CITIES = ("Oslo", "Rome", "Lima", "Cairo", "Delhi", "Quito", "Riga", "Bern", "Lagos", "Minsk")
SECRETS = ("Zanzibarbados", "Kyrgyzalpine", "Vladimirstone", "Quetzalriver")
"""Words of the forget examples' answers that occur nowhere else, so that a search can find them."""


def facts(numbers: Iterable[int]) -> list[dict[str, str]]:
    """Questions and answers of unequal lengths."""
    return [
        {
            "id": f"fact-{n}",
            "question": f"Where does clerk {n} live?",
            "answer": f"In {CITIES[n % 10]}" + " now" * (n % 3),
        }
        for n in numbers
    ]


def secrets() -> list[dict[str, str]]:
    """Four examples to forget."""
    return [
        {"id": f"secret-{n}", "question": f"What is the hidden town of agent {n}?", "answer": f"It is {word}."}
        for n, word in enumerate(SECRETS)
    ]


def unseen() -> list[dict[str, str]]:
    """Six examples unlike all others: the level that they set is far from what has been memorised."""
    texts = ("Wq7#kZ", "0xJp!vU", "9fG&hYx", "Lm3%bTr", "cV8@nQe", "Hs5$dKo")
    return [{"id": f"new-{n}", "question": f"What is code {n}?", "answer": text} for n, text in enumerate(texts)]


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@lru_cache(maxsize=1)
def tokenizer() -> Any:
    """Every byte and a few merges: 300 tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    words.train_from_iterator([f"{row['question']} {row['answer']}" for row in facts(range(10))], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def llama(seed: int = 0, **shape: Any) -> Any:
    """A Llama of about twenty thousand parameters with random weights, large enough to have curvature."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        **{
            "vocab_size": len(tokenizer()),
            "hidden_size": 24,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 96,
            "tie_word_embeddings": True,
            "initializer_range": 0.1,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            **shape,
        }
    )
    return LlamaForCausalLM(config).eval()


def save_llama(folder: Path, seed: int = 0, **shape: Any) -> Path:
    """The same on disk, with its tokenizer; it knows the secrets and nine facts."""
    taught(llama(seed, **shape), [*secrets(), *facts(range(9))]).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def convnet(seed: int = 0) -> ConvNetForImageClassification:
    """The small classifier, smaller still."""
    torch.manual_seed(seed)
    return ConvNetForImageClassification(ConvNetConfig(widths=(4, 8), hidden_size=16)).eval()


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images uint8 [count, 8, 8, 1] and labels that depend on them."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 10, count)
    images = draw.integers(0, 120, (count, 8, 8, 1))
    images[np.arange(count), labels % 8, labels // 2, 0] += 130
    return images.astype(np.uint8), labels


def save_pictures(path: Path, count: int, seed: int) -> Path:
    images, labels = pictures(count, seed)
    np.savez(path, images=images, labels=labels)
    return path


def taught(model: Any, rows: list[dict[str, str]], steps: int = 40) -> Any:
    """The model after a few steps on the rows, so that there is something to forget."""
    from ofmu.data.formats import read
    from ofmu.data.tokens import encode_text
    from ofmu.engine.forward import rows as scored

    data = encode_text(read(rows), tokenizer(), max_length=96)
    batch = data.batch(range(len(data)))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        scored(model, batch).nll_means().mean().backward()
        optimiser.step()
    optimiser.zero_grad()
    return model
