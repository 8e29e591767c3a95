"""What the verdict card says that the verdict rests on."""

from __future__ import annotations

from typing import Any

import pytest

from ofmu.report.verdict import card

HELD = {"distinguishable": True, "attacks": [], "gaps": []}


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ({"against": "retrained"}, "Measured against a model retrained without the data."),
        ({"against": "never-seen data"}, "Measured against a base model"),
        ({"against": "nothing", "against_holdout": HELD}, "the forget set is held against the holdout"),
        ({"against": "nothing"}, "the numbers are shown, but not judged"),
        ({}, "the numbers are shown, but not judged"),
    ],
)
def test_the_card_names_the_yardstick(verdict: dict[str, Any], said: str) -> None:
    assert said in card({"verdict": verdict}, {}, {}, [], None).against
