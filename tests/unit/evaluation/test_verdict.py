from __future__ import annotations

import pytest

from ofmu.evaluation.ability import Cost
from ofmu.evaluation.evaluate import measure
from ofmu.evaluation.verdict import verdict

BEFORE, RETRAINED = (0.1, 0.1), (5.0, 0.1)


def judge(records) -> dict:
    return verdict(measure(records), records)


@pytest.mark.parametrize(
    ("unlearned", "forgotten", "over", "kept"),
    [
        ((5.0, 0.1), True, False, True),  # as retrained
        ((0.1, 0.1), False, False, True),  # as before
        ((2.5, 0.1), False, False, True),  # half way
        ((9.0, 0.1), False, True, True),  # far past it: an attack sees that too
        ((5.0, 0.6), True, False, False),  # forgotten at a price
    ],
)
def test_with_a_retrained_model(story, unlearned, forgotten, over, kept):
    found = judge(story({"original": BEFORE, "unlearned": unlearned, "retrained": RETRAINED}))
    assert (found["forgotten"], found["over_forgotten"], found["utility_kept"]) == (forgotten, over, kept)
    assert found["against"] == "retrained"
    words = {True: "Forgotten: yes", False: "Forgotten: no"}[forgotten]
    assert words in found["words"]
    assert ("Gone too far: yes" in found["words"]) == over
    assert "To be forgotten: 40 examples in 10 clusters" in found["words"]
    assert "single seed" in found["words"]
    assert "quantisation" in found["words"]


def test_near_the_bound_it_is_undecided(story):
    near = 5.0 - 0.1 * 4.9  # a residual of .1: the interval straddles it
    found = judge(story({"original": BEFORE, "unlearned": (near, 0.1), "retrained": RETRAINED}))
    assert found["forgotten"] is not True
    alone = story({"original": BEFORE, "unlearned": (near, 0.1), "retrained": RETRAINED}, holdout=False)
    found = judge(alone)
    assert found["forgotten"] is None
    assert "Forgotten: undecided" in found["words"]
    assert "needs a holdout" in found["words"]


def test_against_the_base_model(story):
    roles = {"original": BEFORE, "unlearned": (5.0, 0.1), "base": (5.0, 3.0)}
    found = judge(story(roles))
    assert (found["forgotten"], found["over_forgotten"], found["utility_kept"]) == (True, False, True)
    assert found["against"] == "never-seen data"
    assert "retrained" not in found["words"].replace("model retrained without", "")
    assert "base model" in found["words"]
    assert judge(story(roles | {"unlearned": BEFORE}))["forgotten"] is False


def test_with_nothing_to_compare_it_says_what_cannot_be_told(story):
    found = judge(story({"original": BEFORE, "unlearned": (5.0, 0.1)}))
    assert (found["forgotten"], found["over_forgotten"], found["against"]) == (None, None, "nothing")
    assert found["utility_kept"] is True  # against the model before
    assert "cannot be told from remembering" in found["words"]
    assert "as retrained" not in found["words"]
    assert "Mean loss on the holdout" in found["words"]
    without = judge(story({"original": BEFORE, "unlearned": (5.0, 0.1)}, holdout=False))
    assert "no holdout set" in without["words"]


def test_a_retain_set_learned_by_heart_shows_no_ability(story):
    before = (0.1, 2.0)
    found = judge(story({"original": before, "unlearned": (5.0, 0.15)}))
    assert found["utility_kept"] is None
    assert "learning by heart" in found["words"]
    assert "--abilities" in found["words"]
    little = judge(story({"original": before, "unlearned": (5.0, 1.9)}))
    assert little["utility_kept"] is True
    assert "what it can do beyond them is not shown" in little["words"]
    assert judge(story({"original": before, "unlearned": (5.0, 3.0)}))["utility_kept"] is False


def test_figures_of_other_data_show_ability_even_beside_a_retain_set_learned_by_heart():
    other = {"lost": 0.0, "interval": (0.0, 0.01), "defined": 2, "parts": 2, "risen": 5.6}
    assert Cost(**other, elsewhere=True).kept is True
    assert Cost(**other, elsewhere=False).kept is None
    assert (
        Cost(**(other | {"interval": (0.2, 0.3)}), elsewhere=False).kept is False
    )  # by heart on one, lost on the other


def test_too_few_clusters_decide_nothing(story):
    roles = {"original": BEFORE, "unlearned": (5.0, 0.1), "retrained": RETRAINED}
    found = judge(story(roles, clusters=2))
    assert (found["forgotten"], found["over_forgotten"], found["utility_kept"]) == (None, None, None)
    assert "too few clusters" in found["words"]
    assert "in 2 clusters" in found["words"]


def test_without_an_unlearned_model_there_is_no_verdict(story):
    found = judge(story({"original": BEFORE, "retrained": RETRAINED}))
    assert found["forgotten"] is None
    assert found["words"].startswith("No unlearned model was measured")


def test_a_single_model_gets_its_figures_and_no_judgement(story):
    found = judge(story({"unlearned": (5.0, 0.1)}))
    assert (found["forgotten"], found["over_forgotten"], found["utility_kept"]) == (None, None, None)
    assert "What it cost in ability cannot be told" in found["words"]


def test_several_seeds_are_no_single_seed(story):
    roles = {"original": BEFORE, "unlearned": (5.0, 0.1), "retrained": RETRAINED, "retrained-2": (5.05, 0.1)}
    found = judge(story(roles))
    assert found["forgotten"] is True
    assert "single seed" not in found["words"]
