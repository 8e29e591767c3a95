"""Metrics of one's own: how they are found, and that the example of the documentation computes what it says."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ofmu.errors import InputError
from ofmu.evaluation.evaluate import summarise
from ofmu.evaluation.metrics import all_metrics, find, with_further
from ofmu.evaluation.records import Records

PAGE = Path(__file__).parents[3] / "docs/how-to/own-metric.md"
NAME = "best_remembered:BestRemembered"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The metric of the page as a file in the present folder, which is not yet a place of modules."""
    found = re.search(r"```python best_remembered\.py\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    (tmp_path / "best_remembered.py").write_text(found[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "best_remembered", raising=False)
    find(NAME)
    yield sys.modules["best_remembered"]
    sys.modules.pop("best_remembered", None)


def test_the_example_is_the_quantile_that_it_says(example: ModuleType):
    rng = np.random.default_rng(0)
    losses = rng.gamma(2.0, size=30)
    losses[3] = np.nan
    times = rng.integers(0, 4, size=(50, 30)).astype(float)
    found = example.low(losses, times)
    for draw, value in zip(times, found):
        drawn = np.sort(np.repeat(losses, draw.astype(int)))
        drawn = drawn[np.isfinite(drawn)]
        assert value == drawn[int(np.ceil(0.05 * len(drawn))) - 1]


def test_the_example_is_measured_beside_the_others(example: ModuleType, story: Callable[..., Records]):
    records = story({"original": (0.1, 0.2), "unlearned": (3.0, 0.3), "retrained": (5.0, 0.2)})
    found = summarise(records, metrics=with_further([NAME]))
    scores = {(score["name"], score["role"]): score for score in found["scores"]}
    score = scores["forget_best_remembered", "unlearned"]
    losses = np.sort(records["unlearned", "forget"].means("nll"))
    assert score["value"] == losses[int(np.ceil(0.05 * len(losses))) - 1]
    low, high = score["interval"]
    assert low <= score["value"] <= high
    assert score["gap"] is not None
    assert ("forget_loss", "unlearned") in scores


def test_a_place_is_found_by_name_too(example: ModuleType):
    assert find(NAME) is example.BestRemembered
    assert with_further([NAME, NAME])[-1] is example.BestRemembered
    assert with_further([]) == list(all_metrics().values())


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("best", "give it as my_module:MyMetric"),
        ("no_such_module:Metric", "cannot be loaded"),
        ("math:Metric", "cannot be loaded"),
        ("math:sqrt", "is no metric"),
        ("ofmu.evaluation.metric:SetMean", "is no metric"),
    ],
)
def test_what_is_no_metric_is_one_line(name: str, part: str):
    with pytest.raises(InputError, match=part):
        with_further([name])


def test_the_name_of_another_metric_cannot_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example: ModuleType
):
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "loss.py").write_text("from best_remembered import BestRemembered\nclass Loss(BestRemembered): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="would be called 'loss'"):
        with_further(["mine.loss:Loss"])
    for name in ("mine", "mine.loss"):
        sys.modules.pop(name, None)
    assert importlib.util.find_spec("mine")
