"""Models of other families than the ones in the data folder: the same doors work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import (
    CLIPImageProcessorPil,
    GPT2Config,
    GPT2LMHeadModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from ofmu.models.adapters import add_lora
from ofmu.models.hidden import hidden_layers
from ofmu.models.loading import load
from ofmu.models.processors import describe
from ofmu.models.saving import save
from ofmu.models.scale import spectral_scale
from ofmu.models.sharding import full_state

from .small import WordTokenizer


def test_gpt2_whose_layers_are_transposed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=20, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(shape).save_pretrained(tmp_path / "in")
    loaded = load(tmp_path / "in", tokenizer=WordTokenizer(40))
    assert loaded.context == 20
    assert len(hidden_layers(loaded.model)) == 8  # the head is tied to the embedding and neither counts
    assert spectral_scale(loaded.model) > 0
    loaded = add_lora(loaded, 2)
    ids = torch.randint(40, (2, 9))
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
        now = loaded.model(ids).logits
        for state in (None, full_state(loaded.model)):
            save(loaded, tmp_path / "out", card="x", merge=True, state=state)
            back = load(tmp_path / "out", tokenizer=WordTokenizer(40))
            assert torch.allclose(back.model(ids).logits, now, atol=1e-5)


def test_vit_with_its_own_processor(tmp_path: Path) -> None:
    shape = ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=8,
        patch_size=4,
        num_labels=3,
    )
    ViTForImageClassification(shape).save_pretrained(tmp_path / "in")
    bare = load(tmp_path / "in")
    assert bare.processor is None
    assert "a transform must be given" in bare.notes[0]
    ViTImageProcessorPil(size={"height": 8, "width": 8}).save_pretrained(tmp_path / "in")
    loaded = load(tmp_path / "in")
    assert (loaded.modality, loaded.num_classes) == ("image", 3)
    assert loaded.processor is not None
    assert (loaded.processor.mean, loaded.processor.size) == ((0.5, 0.5, 0.5), (8, 8))
    assert loaded.processor.plain
    names = list(hidden_layers(loaded.model))
    assert not any("patch" in name or "classifier" in name for name in names)
    assert len(names) == 6
    save(loaded, tmp_path / "out", card="x")
    assert load(tmp_path / "out").fingerprint == loaded.fingerprint == bare.fingerprint


def test_a_processor_that_crops_is_not_plain_but_can_be_called() -> None:
    processor = describe(CLIPImageProcessorPil(size={"shortest_edge": 12}, crop_size={"height": 8, "width": 8}))
    assert not processor.plain
    assert processor.size is None
    pixels = np.random.default_rng(0).integers(0, 256, (2, 20, 16, 3), dtype=np.uint8)
    assert processor(pixels).shape == (2, 3, 8, 8)
    assert processor(pixels).dtype == torch.float32


def test_constants_are_for_pixels_from_zero_to_one() -> None:
    unscaled = describe(ViTImageProcessorPil(do_rescale=False, do_resize=False, image_mean=[127.5], image_std=[51.0]))
    assert np.allclose((unscaled.mean, unscaled.std), ((0.5,), (0.2,)))
    raw = describe(ViTImageProcessorPil(do_normalize=False, do_resize=False))
    assert (raw.mean, raw.std) == ((0.0,), (1.0,))
