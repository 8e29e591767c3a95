"""Small models on disk for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="session")
def stories(data_dir: Path) -> Path:
    return data_dir / "models/stories260K"


@pytest.fixture(scope="session")
def resnet20(data_dir: Path) -> Path:
    return data_dir / "models/resnet20_cifar10"


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(3, 64, (2, 12), generator=torch.Generator().manual_seed(1))
