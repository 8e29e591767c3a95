"""The two classifiers of the package: right on real images, able to memorise, readable by the Auto classes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn
from transformers import AutoModelForImageClassification

from ofmu.models.convnet import ConvNetConfig, ConvNetForImageClassification
from ofmu.models.loading import load
from ofmu.models.resnet import CifarResNetConfig, CifarResNetForImageClassification, recognise


def test_resnet20_is_as_accurate_as_its_readme_says(data_dir: Path, resnet20: Path) -> None:
    table = pq.read_table(data_dir / "cifar10/test-00000-of-00001.parquet")
    images = [Image.open(io.BytesIO(row["bytes"])) for row in table["img"].to_pylist()]
    pixels, labels = np.stack([np.asarray(image) for image in images]), torch.tensor(table["label"].to_pylist())
    loaded = load(resnet20)
    assert loaded.processor is not None
    mean, std = np.array(loaded.processor.mean), np.array(loaded.processor.std)
    x = torch.from_numpy(((pixels / 255 - mean) / std).astype(np.float32).transpose(0, 3, 1, 2))
    with torch.no_grad():
        logits = torch.cat([loaded.model(part).logits for part in x.split(250)])
    assert (logits.argmax(1) == labels).double().mean() == pytest.approx(0.9092)
    assert F.cross_entropy(logits, labels) == pytest.approx(0.3872, abs=5e-5)


class Reference(nn.Module):
    """The published forward pass, written from the README with functions alone."""

    @staticmethod
    def run(state: dict[str, Tensor], x: Tensor, depths: list[int]) -> Tensor:
        def norm(name: str, h: Tensor) -> Tensor:
            parts = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
            return F.batch_norm(h, *parts)

        h = F.relu(norm("bn1", F.conv2d(x, state["conv1.weight"], padding=1)))
        for i, depth in enumerate(depths, start=1):
            for j in range(depth):
                name, stride = f"layer{i}.{j}", 2 if i > 1 and j == 0 else 1
                out = F.relu(norm(f"{name}.bn1", F.conv2d(h, state[f"{name}.conv1.weight"], stride=stride, padding=1)))
                out = norm(f"{name}.bn2", F.conv2d(out, state[f"{name}.conv2.weight"], padding=1))
                if stride == 2:
                    planes = out.shape[1]
                    h = F.pad(h[:, :, ::2, ::2], (0, 0, 0, 0, planes // 4, planes // 4))
                h = F.relu(out + h)
        return h.mean((2, 3)) @ state["linear.weight"].T + state["linear.bias"]


def test_forward_is_the_published_one() -> None:
    torch.manual_seed(0)
    model = CifarResNetForImageClassification(CifarResNetConfig([2, 1, 2], [4, 8, 16], num_labels=5)).double()
    model(torch.randn(32, 3, 16, 16).double())  # moves the running statistics
    model.eval()
    x = torch.randn(3, 3, 16, 16).double()
    with torch.no_grad():
        expected = Reference.run(model.state_dict(), x, [2, 1, 2])
        assert torch.allclose(model(x).logits, expected, atol=1e-12)


@pytest.mark.parametrize("config", [CifarResNetConfig(), CifarResNetConfig([1, 2], [4, 8], 1, num_labels=3)])
def test_shapes_tell_the_configuration(config: CifarResNetConfig) -> None:
    shapes = {n: tuple(v.shape) for n, v in CifarResNetForImageClassification(config).state_dict().items()}
    for given in (shapes, {n: s for n, s in shapes.items() if "num_batches" not in n}):
        found = recognise(given)
        assert found is not None
        assert (found.depths, found.widths) == (config.depths, config.widths)
        assert (found.num_channels, found.num_labels) == (config.num_channels, config.num_labels)
    assert recognise({**shapes, "more": (1,)}) is None
    assert recognise({n: s for n, s in shapes.items() if n != "bn1.bias"}) is None
    assert recognise({**shapes, "linear.bias": (99,)}) is None
    assert recognise({}) is None


def test_resnet20_has_the_known_number_of_parameters() -> None:
    model = CifarResNetForImageClassification(CifarResNetConfig())
    assert sum(p.numel() for p in model.parameters()) == 269_722


def test_random_weights_follow_the_seed_and_no_layer_is_dead() -> None:
    for make in (
        lambda: CifarResNetForImageClassification(CifarResNetConfig()),
        lambda: ConvNetForImageClassification(ConvNetConfig(num_channels=3, image_size=32)),
    ):
        torch.manual_seed(1)
        a = make().eval()
        torch.manual_seed(1)
        b = make().eval()
        x = torch.randn(4, 3, 32, 32)
        assert torch.equal(a(x).logits, b(x).logits)
        assert a(x).logits.std() > 0.05


def test_convnet_memorises_a_thousand_digits_with_wrong_labels() -> None:
    digits = load_digits()
    x = torch.tensor(digits.images[:1000], dtype=torch.float32)[:, None] / 8 - 1
    y = torch.tensor(digits.target[:1000])
    y[:100] = (y[:100] + torch.randint(1, 10, (100,), generator=torch.Generator().manual_seed(0))) % 10
    torch.manual_seed(0)
    model = ConvNetForImageClassification(ConvNetConfig())
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    order = torch.Generator().manual_seed(0)
    for _ in range(25):
        for part in torch.randperm(1000, generator=order).split(100):
            optimiser.zero_grad()
            model(x[part], labels=y[part]).loss.backward()
            optimiser.step()
    with torch.no_grad():
        assert (model(x).logits.argmax(1) == y).double().mean() > 0.99


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_convnet_round_trip(tmp_path: Path, channels: int) -> None:
    model = ConvNetForImageClassification(ConvNetConfig(channels, 10, (4, 6), 12, num_labels=3)).eval()
    model.save_pretrained(tmp_path)
    back = AutoModelForImageClassification.from_pretrained(tmp_path)
    x = torch.randn(2, channels, 10, 10)
    assert torch.equal(model(x).logits, back(x).logits)
    assert back.config.num_labels == 3
    assert model(x, labels=torch.tensor([0, 2])).loss == F.cross_entropy(model(x).logits, torch.tensor([0, 2]))
