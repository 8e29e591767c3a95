from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from ofmu.errors import InputError
from ofmu.evaluation.attacks.quantisation import GROUP, Quantisation, int4, int8, nf4, nf4_levels, quantised
from toys import convnet, llama

EXAMPLE = torch.tensor([[0.5, -1.27, 0.01]])
PRINTED = (-1, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0, 0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626,
           0.7230, 1)  # fmt: skip


def test_the_worked_example_of_section_12():
    assert int8(EXAMPLE)[0].tolist() == [[50, -127, 1]]
    assert int4(EXAMPLE)[0].tolist() == [[3, -7, 0]]
    assert torch.allclose(int8(EXAMPLE)[1], EXAMPLE)
    assert torch.allclose(int4(EXAMPLE)[1], torch.tensor([[3, -7, 0]]) * 1.27 / 7)


def test_the_levels_of_nf4_are_the_printed_ones_and_follow_from_the_formula():
    assert np.allclose(nf4_levels(), PRINTED, atol=6e-5)
    q = 0.9677083
    by_hand = [norm.ppf(q + (0.5 - q) * k / 8) for k in range(8)] + [0.0]
    by_hand += [-norm.ppf(q + (0.5 - q) * k / 7) for k in range(7)]
    assert np.allclose(nf4_levels(), sorted(np.array(by_hand) / max(by_hand)), atol=1e-12)
    assert nf4_levels()[7] == 0


def slow(matrix: np.ndarray, kind: str) -> np.ndarray:
    """Weight by weight, as the definition says."""
    found = np.zeros_like(matrix)
    if kind == "nf4":
        flat, out = matrix.reshape(-1), found.reshape(-1)
        for start in range(0, len(flat), GROUP):
            largest = np.abs(flat[start : start + GROUP]).max()
            for i in range(start, min(start + GROUP, len(flat))):
                share = flat[i] / largest if largest else 0.0
                out[i] = min(nf4_levels(), key=lambda level: (abs(level - share), level)) * largest
        return found
    largest_code, width = (127, matrix.shape[1]) if kind == "int8" else (7, GROUP)
    for row in range(matrix.shape[0]):
        for start in range(0, matrix.shape[1], width):
            part = matrix[row, start : start + width]
            s = np.abs(part).max() / largest_code
            codes = [max(-largest_code, min(largest_code, round(w / s))) if s else 0 for w in part.tolist()]
            found[row, start : start + width] = np.array(codes) * s  # Python's round is half to even too
    return found


@pytest.mark.parametrize(("kind", "quantise"), [("int8", int8), ("int4", int4), ("nf4", nf4)])
@given(seed=st.integers(0, 50), rows=st.integers(1, 4), width=st.integers(1, 150))
def test_they_agree_with_the_definition_weight_by_weight(kind, quantise, seed, rows, width):
    matrix = torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, width)))
    matrix[0] = 0 if seed % 5 == 0 else matrix[0]
    assert np.allclose(quantise(matrix)[1].numpy(), slow(matrix.numpy(), kind), atol=1e-12)


@pytest.mark.parametrize(("quantise", "half_step"), [(int8, 1 / 254), (int4, 1 / 14), (nf4, (1 - 0.6962) / 2)])
@given(seed=st.integers(0, 100))
def test_no_weight_moves_by_more_than_half_a_step_and_rounding_again_changes_nothing(quantise, half_step, seed):
    matrix = torch.from_numpy(np.random.default_rng(seed).normal(size=(3, 70)))
    values = quantise(matrix)[1]
    assert float((values - matrix).abs().max()) <= half_step * float(matrix.abs().max()) * 1.001
    assert torch.allclose(quantise(values)[1], values, atol=1e-12)


@pytest.mark.parametrize("make", [llama, convnet], ids=["llama", "convnet"])
def test_head_embedding_and_vectors_stay_and_everything_comes_back_bit_for_bit(make):
    model = make()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with quantised(model, "int4"):
        changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    matrices = {name for name, tensor in before.items() if tensor.ndim > 1}
    kept = matrices - changed
    assert changed < matrices
    assert all("embed" in name or "head" in name or "classifier" in name for name in kept), kept
    assert kept
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_input_of_a_gpt2_layer_is_its_first_axis():
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=40, n_positions=16)).eval()
    layer = model.transformer.h[0].mlp.c_fc  # (in, out)
    wanted = int4(layer.weight.detach().T)[1].T
    with quantised(model, "int4"):
        assert torch.equal(layer.weight, wanted)


def test_what_cannot_be_rounded_is_refused():
    with pytest.raises(InputError, match=r"unknown rounding 'int3' \(did you mean 'int"):
        Quantisation(kinds=("int3",))
    with (
        pytest.raises(InputError, match="Sequential has no layer to round besides its head"),
        quantised(nn.Sequential(nn.Linear(2, 2)), "int8"),
    ):
        pass


def test_the_weights_come_back_after_a_failure_too():
    model = llama()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(KeyError), quantised(model, "nf4"):
        raise KeyError
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
