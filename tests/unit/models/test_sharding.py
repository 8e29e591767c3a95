"""What sharding.py does in one process; two ranks are tested elsewhere."""

from __future__ import annotations

import pytest
import torch

from ofmu.errors import RunError
from ofmu.models.resnet import CifarResNetConfig, CifarResNetForImageClassification
from ofmu.models.sharding import blocks, full_state, is_sharded, load_full_state, make_mesh, reshard

from .small import tiny_llama


def test_one_process_cannot_shard() -> None:
    with pytest.raises(RunError, match="needs two processes or more"):
        make_mesh("cpu")


def test_blocks_are_what_the_model_says() -> None:
    assert [type(block).__name__ for block in blocks(tiny_llama())] == ["LlamaDecoderLayer"] * 2
    assert len(blocks(CifarResNetForImageClassification(CifarResNetConfig()))) == 9
    layers = torch.nn.ModuleList([torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.nn.ReLU()])
    assert blocks(layers) == [layers[0]]  # a part without parameters has nothing to shard


def test_states_of_a_plain_model() -> None:
    model = tiny_llama()
    reshard(model)
    assert not is_sharded(model)
    state = full_state(model)
    assert state["lm_head.weight"].data_ptr() == state["model.embed_tokens.weight"].data_ptr()
    other = {name: value + 1 for name, value in state.items()}
    load_full_state(model, other)
    assert all(torch.equal(value, other[name]) for name, value in model.state_dict().items())
    assert not torch.equal(state["model.norm.weight"], other["model.norm.weight"])  # a copy, not a view
    with pytest.raises(RunError, match=r"lacks model\.norm\.weight"):
        load_full_state(model, {name: value for name, value in other.items() if name != "model.norm.weight"})
