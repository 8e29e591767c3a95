"""Small models on disk for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM


@pytest.fixture(scope="session")
def stories(data_dir: Path) -> Path:
    return data_dir / "models/stories260K"


@pytest.fixture(scope="session")
def resnet20(data_dir: Path) -> Path:
    return data_dir / "models/resnet20_cifar10"


def tiny_llama(*, tied: bool = True) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=32,
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(3, 64, (2, 12), generator=torch.Generator().manual_seed(1))


class WordTokenizer:
    """What this room asks of a tokenizer: a length and a way to be saved."""

    def __init__(self, size: int = 64) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def save_pretrained(self, folder: Path) -> None:
        (Path(folder) / "words.txt").write_text(str(self.size))
