"""Code of one's own that fails is an error of one line, with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofmu import methods
from ofmu.core import similarity
from ofmu.errors import InputError
from ofmu.evaluation import attacks, metrics


@pytest.mark.parametrize("find", [methods.find, attacks.find, metrics.find, similarity.find])
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("broken", "x = 1\ndef f(:\n", r"SyntaxError: .*broken_\w+\.py, line 2"),
        ("fails", "\n1 / 0\n", r"ZeroDivisionError: .*line 2"),
    ],
)
def test_whatever_a_module_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, find: object, name: str, text: str, said: str
) -> None:
    module = f"{name}_{abs(hash(str(find)))}"
    (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=said) as caught:
        find(f"{module}:Mine")  # type: ignore[operator]
    assert "\n" not in str(caught.value)
