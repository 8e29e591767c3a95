"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # tests run beside each other; more threads slow them all down


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data and small models; tests that need it are skipped (and counted) without it.

    With OFMU_REQUIRE_DATA=1 nothing may be skipped for lack of it.
    """
    folder = os.environ.get("OFMU_DATA_DIR")
    if not folder and os.environ.get("OFMU_REQUIRE_DATA") == "1":
        pytest.fail("OFMU_REQUIRE_DATA=1, but OFMU_DATA_DIR is not set")
    if not folder:
        pytest.skip("OFMU_DATA_DIR is not set: real data and models are needed")
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"OFMU_DATA_DIR={folder} is not a folder")
    return path
