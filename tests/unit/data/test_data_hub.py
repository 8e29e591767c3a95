"""Hub names: what is asked for, where the library may keep things, and one clear line without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest

from ofmu.data import hub, read
from ofmu.errors import InputError

datasets = pytest.importorskip("datasets")
ROWS = [{"question": f"q{row}", "answer": f"a{row}"} for row in range(3)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A hub that has one data set; what it was asked is noted."""
    asked: list[dict[str, Any]] = []

    def load_dataset(name: str, config: str | None, *, split: str | None, streaming: bool, cache_dir: str) -> Any:
        assert Path(cache_dir).is_dir()
        asked.append({"name": name, "config": config, "split": split, "streaming": streaming, "cache": cache_dir})
        if name == "org/none":
            raise datasets.exceptions.DatasetNotFoundError("Dataset 'org/none' doesn't exist on the Hub\nmore")
        stream = datasets.Dataset.from_list(ROWS).to_iterable_dataset()
        names = {"org/open": ["a", "b"], "org/one": ["test"]}.get(name, ["test", "train"])
        return stream if split else datasets.IterableDatasetDict(dict.fromkeys(names, stream))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(hub, "_reach", lambda: None)
    return asked


@pytest.mark.parametrize(
    ("source", "name", "config", "split"),
    [
        ("org/name", "org/name", None, None),
        ("org/one", "org/one", None, None),
        ("locuslab/TOFU:forget10", "locuslab/TOFU", "forget10", None),
        ("org/na.me-2:conf:test", "org/na.me-2", "conf", "test"),
        ("org/name::validation", "org/name", None, "validation"),
    ],
)
def test_names(calls: list[dict[str, Any]], source: str, name: str, config: str | None, split: str | None) -> None:
    assert read(source).fingerprint == read(ROWS).fingerprint
    (asked,) = calls
    assert (asked["name"], asked["config"], asked["split"], asked["streaming"]) == (name, config, split, True)
    assert not Path(asked["cache"]).exists()  # nothing of the data is left behind


def test_errors(calls: list[dict[str, Any]]) -> None:
    with pytest.raises(InputError, match=r"retain set: org/open has the splits a, b: name one, e.g. org/open::a"):
        read("org/open", name="retain")
    with pytest.raises(InputError) as caught:
        read("org/none")
    assert str(caught.value) == (
        "forget set: no file or folder 'org/none' here, and the Hugging Face hub cannot give it as a data set: "
        "Dataset 'org/none' doesn't exist on the Hub"
    )
    assert not any(Path(asked["cache"]).exists() for asked in calls)  # on failure too


def test_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: Any, **__: Any) -> None:
        raise URLError("nobody there")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "urlopen", nobody)
    with pytest.raises(InputError, match=r"cannot give it as a data set: no network \(nobody there\)$"):
        read("org/name")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        read("org/name")


def test_any_answer_is_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise HTTPError("address", 405, "not this way", None, None)  # type: ignore[arg-type]

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "urlopen", refuse)
    hub._reach()


def test_what_is_no_hub_name() -> None:
    for source in ("name", "a/b/c", "/a/b", "./a", "org/", "org/name:a:b:c"):
        assert not hub.is_hub_name(source)
