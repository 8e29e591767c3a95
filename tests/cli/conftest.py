"""A model of a few kilobytes, a handful of examples, and the command itself, run in this process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ofmu.cli.main import main

from .command import Command, Ended, Flags, facts, write_lines


@pytest.fixture
def ofmu(capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*words: object) -> Ended:
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return run


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("given")


@pytest.fixture(scope="session")
def model(folder: Path) -> Path:
    """A Llama with random weights and a byte-level tokenizer; its context is 48 tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    path = folder / "llama"
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words.train_from_iterator([f"{row['question']} {row['answer']}" for row in facts(range(10))], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=words.get_vocab_size(),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=48,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def wide(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with a context that holds TOFU's answers in bytes."""
    place = tmp_path_factory.mktemp("wide") / "model"
    shutil.copytree(model, place)
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 1024}))
    return place


@pytest.fixture(scope="session")
def forget(folder: Path) -> Path:
    return write_lines(folder / "forget.jsonl", facts(range(4)))


@pytest.fixture(scope="session")
def retain(folder: Path) -> Path:
    return write_lines(folder / "retain.jsonl", facts(range(4, 14)))


@pytest.fixture
def given(model: Path, forget: Path, retain: Path, tmp_path: Path) -> Flags:
    """Flags of a run of two steps that works."""
    return {
        "--model": model,
        "--forget": forget,
        "--retain": retain,
        "--output": tmp_path / "run",
        "--steps": 2,
        "--batch-size": 2,
        "--device": "cpu",
    }
