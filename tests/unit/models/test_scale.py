"""The step-size rule's scale: against exact singular values, on real models."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest
import torch
from torch import nn

from ofmu.errors import InputError
from ofmu.models.adapters import add_lora
from ofmu.models.convnet import ConvNetConfig, ConvNetForImageClassification
from ofmu.models.hidden import hidden_layers
from ofmu.models.loading import load
from ofmu.models.scale import hidden_matrices, spectral_norm, spectral_scale


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (1, 50), (50, 1), (300, 300), (2, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_power_iteration_finds_the_largest_singular_value(shape: tuple[int, int], dtype: torch.dtype) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(dtype)
    found = spectral_norm(matrix, torch.Generator().manual_seed(0))
    assert found == pytest.approx(float(torch.linalg.matrix_norm(matrix, ord=2)), rel=1e-3)


def test_power_iteration_where_singular_values_lie_close() -> None:
    generator = torch.Generator().manual_seed(0)
    q = torch.linalg.qr(torch.randn(200, 200, generator=generator)).Q
    matrix = q * torch.linspace(1, 0.98, 200)
    assert spectral_norm(matrix, generator) == pytest.approx(1, rel=1e-3)
    assert spectral_norm(torch.zeros(4, 5), generator) == 0


def exact(matrices: list[torch.Tensor]) -> float:
    return statistics.median(float(torch.linalg.matrix_norm(w, ord=2)) / math.sqrt(w.numel()) for w in matrices)


@pytest.mark.parametrize(
    ("name", "expected"), [("tofu-mini/full", 0.0143), ("stories260K", 0.0324), ("resnet20_cifar10", 0.0333)]
)
def test_real_models(data_dir: Path, name: str, expected: float) -> None:
    model = load(data_dir / "models" / name).model
    found = spectral_scale(model)
    assert found == pytest.approx(exact(hidden_matrices(model)), rel=1e-3)
    assert found == pytest.approx(expected, rel=0.01)
    assert spectral_scale(model) == found  # seeded
    assert spectral_scale(model, seed=1) == pytest.approx(found, rel=1e-3)


def test_hidden_means_no_embedding_no_head_no_first_convolution(stories: Path, resnet20: Path) -> None:
    assert len(hidden_layers(load(stories).model)) == 5 * 7
    names = list(hidden_layers(load(resnet20).model))
    assert len(names) == 18
    assert names[0] == "layer1.0.conv1"
    assert list(hidden_layers(ConvNetForImageClassification(ConvNetConfig()))) == ["conv2", "hidden"]
    assert list(hidden_layers(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)))) == ["0"]
    assert list(hidden_layers(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))) == ["1"]  # nothing else is left


def test_convolutions_are_flattened() -> None:
    model = ConvNetForImageClassification(ConvNetConfig(widths=(4, 6), hidden_size=5))
    assert [tuple(w.shape) for w in hidden_matrices(model)] == [(6, 36), (5, 96)]


def test_scale_follows_the_weights_and_the_width() -> None:
    def net(width: int) -> nn.Module:
        torch.manual_seed(0)
        layers = [nn.Linear(width, width, bias=False) for _ in range(3)]
        for layer in layers:
            nn.init.normal_(layer.weight, std=width**-0.5)
        return nn.Sequential(*layers)

    small = net(64)
    assert spectral_scale(net(256)) == pytest.approx(spectral_scale(small) / 4, rel=0.1)  # ∝ 1/width
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.mul_(3)
    assert spectral_scale(small) == pytest.approx(3 * spectral_scale(net(64)), rel=1e-6)


def test_a_step_of_lora_changes_a_matrix_by_no_more_than_its_share(stories: Path) -> None:
    torch.manual_seed(0)
    loaded = add_lora(load(stories), 8)
    r = 0.05
    lr = r * spectral_scale(loaded.model)
    shares = []
    generator = torch.Generator().manual_seed(1)
    for layer in (m for m in loaded.model.modules() if type(m).__module__.startswith("peft.tuners.lora")):
        if not isinstance(getattr(layer, "base_layer", None), nn.Linear):
            continue
        a, b = layer.lora_A["default"].weight.detach(), layer.lora_B["default"].weight.detach()
        step_a = a.sign().where(torch.rand(a.shape, generator=generator) < 0.5, -a.sign())
        step_b = torch.randn(b.shape, generator=generator).sign()
        changed = 2.0 * ((b + lr * step_b) @ (a + lr * step_a) - b @ a)
        shares.append(
            float(torch.linalg.matrix_norm(changed, 2) / torch.linalg.matrix_norm(layer.base_layer.weight, 2))
        )
    assert len(shares) == 35
    assert 0.1 * r < statistics.median(shares) < 1.5 * r


def test_a_model_without_matrices() -> None:
    with pytest.raises(InputError, match="give --learning-rate"):
        spectral_scale(nn.LayerNorm(4))
