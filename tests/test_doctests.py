"""The examples in docstrings are right."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import ofmu

MODULES = sorted(
    info.name for info in pkgutil.walk_packages(ofmu.__path__, "ofmu.") if not info.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name: str):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert not failed
