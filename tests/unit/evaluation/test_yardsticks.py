"""What the verdict says of models whose truth is known, against each yardstick: retrained, base, the holdout alone."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch

from ofmu.evaluation.against_holdout import Attacked, attacks, distinguishable, set_gaps
from ofmu.evaluation.evaluate import measure
from ofmu.evaluation.headlines import forgetting_gap, headlines, privacy_gap, retention_gap
from ofmu.evaluation.records import Records
from ofmu.evaluation.scoring import score
from ofmu.evaluation.verdict import verdict
from toys import facts, llama, taught, tokenizer

RETRAINED = ("retrained",)
Story = Callable[..., Records]
MODELS = {  # role → logit of the label on the forget set and on what should stay
    "untouched": (6.0, 6.0),
    "as retrained": (0.5, 6.0),
    "random": (0.0, 0.0),
    "pushed too far": (-9.0, 6.0),
}


@pytest.fixture
def pictures_story(image_record: Callable) -> Story:
    """Records of classifiers of five classes: logit of the label by role; the holdout is at .5 for all but a random."""

    def build(roles: Mapping[str, tuple[float, float]]) -> Records:
        rng = np.random.default_rng(1)
        labels = [n % 5 for n in range(40)]
        noise = {name: rng.normal(0, 0.8, size=(40, 5)) for name in ("forget", "retain", "test")}
        noise["holdout"] = noise["forget"]  # as difficult: whoever never saw the forget set has an AUC of .5
        found = Records(removed_classes=())
        for role, (forget, kept) in roles.items():
            own = np.random.default_rng(sum(map(ord, role))).normal(0, 0.8, size=(40, 5))
            levels = {"forget": forget, "holdout": min(kept, 0.5), "retain": kept, "test": kept}
            for name, level in levels.items():
                logits = (noise[name] if kept else own) + level * np.eye(5)[labels]
                found.add(role, name, image_record(logits, labels, model=role, data=name))
        return found

    return build


def with_original(unlearned: str, **more: tuple[float, float]) -> dict[str, tuple[float, float]]:
    return {"original": MODELS["untouched"], "unlearned": MODELS[unlearned], **more}


def judged(records: Records, measured: dict | None = None) -> dict:
    return verdict(measured or measure(records), records)


# Against a retrained model


def test_the_retrained_model_has_the_ideal_value_of_every_gap(pictures_story: Story) -> None:
    records = pictures_story(with_original("as retrained", retrained=MODELS["as retrained"]))
    measured = measure(records)
    gaps = [m.scores["unlearned"] for m in measured.values() if math.isfinite(m.scores["unlearned"].value)]
    assert len(gaps) >= 12
    assert {s.gap for s in gaps} == {0.0}
    assert {s.residual for s in gaps if s.residual is not None} == {0.0}
    for headline in headlines(measured, records):
        assert (headline.value, headline.interval) == (0.0, (0.0, 0.0))
    said = judged(records, measured)
    assert (said["forgotten"], said["over_forgotten"], said["utility_kept"]) == (True, False, True)


def test_the_untouched_model_has_forgotten_nothing(pictures_story: Story) -> None:
    records = pictures_story(with_original("untouched", retrained=MODELS["as retrained"]))
    measured = measure(records)
    found = forgetting_gap(measured, records, RETRAINED)
    assert found.value == 1.0
    assert found.defined == 3
    assert retention_gap(measured, records, RETRAINED).value == 0.0
    said = judged(records, measured)
    assert (said["forgotten"], said["over_forgotten"], said["utility_kept"]) == (False, False, True)
    assert "Forgotten: no, nothing." in said["words"]


def test_a_model_with_random_weights_is_useless_and_not_forgetful(pictures_story: Story) -> None:
    records = pictures_story(with_original("random", retrained=MODELS["as retrained"]))
    measured = measure(records)
    lost = retention_gap(measured, records, RETRAINED)
    assert lost.value > 0.9
    said = judged(records, measured)
    assert said["utility_kept"] is False
    assert said["forgotten"] is not True
    assert "Forgotten: yes" not in said["words"]
    assert "The model is useless" in said["words"]


def test_what_would_pass_for_forgotten_does_not_if_the_model_is_broken(story: Story) -> None:
    """The forget set is just as the retrained model has it, but so is everything: all answers are unlikely."""
    good = {"original": (0.1, 0.1), "retrained": (5.0, 0.1)}
    kept, broken = (judged(story(good | {"unlearned": (5.0, retain)})) for retain in (0.1, 5.7))
    assert (kept["forgotten"], kept["utility_kept"]) == (True, True)
    assert (broken["forgotten"], broken["utility_kept"]) == (None, False)
    assert "Forgotten: cannot be told. The model is useless" in broken["words"]
    assert "useless" not in kept["words"]


def test_ascent_that_went_too_far_is_over_forgotten(pictures_story: Story) -> None:
    records = pictures_story(with_original("pushed too far", retrained=MODELS["as retrained"]))
    measured = measure(records)
    said = judged(records, measured)
    assert (said["forgotten"], said["over_forgotten"], said["utility_kept"]) == (False, True, True)
    assert "Gone too far: yes" in said["words"]
    assert privacy_gap(measured, records, RETRAINED).value > 0.9
    assert measured["mia_confidence"].scores["unlearned"].value < 0.1
    assert measured["mia_confidence"].scores["retrained"].value == pytest.approx(0.5)


def test_an_attack_alone_shows_that_it_went_too_far(story: Story) -> None:
    """Every residual is small or undefined: the original stood as far off as the unlearned model does now."""
    records = story({"original": (9.0, 0.1), "unlearned": (9.0, 0.1), "retrained": (5.0, 0.1)})
    said = judged(records)
    assert said["over_forgotten"] is True


# Against the base model


@pytest.mark.parametrize(
    ("unlearned", "forgotten", "over"),
    [("as retrained", True, False), ("untouched", False, False), ("pushed too far", False, True)],
)
def test_against_a_base_model(unlearned: str, forgotten: bool, over: bool, pictures_story: Story) -> None:
    records = pictures_story(with_original(unlearned, base=(0.5, 1.0)))
    said = judged(records)
    assert (said["forgotten"], said["over_forgotten"]) == (forgotten, over)
    assert said["against"] == "never-seen data"
    assert said["utility_kept"] is True
    assert "against_holdout" not in said


def test_a_base_model_without_holdout_decides_nothing_and_is_not_denied(story: Story) -> None:
    said = judged(story({"original": (0.1, 0.1), "unlearned": (5.0, 0.1), "base": (5.0, 3.0)}, holdout=False))
    assert (said["forgotten"], said["over_forgotten"], said["against"]) == (None, None, "nothing")
    assert "without a holdout the base model says nothing" in said["words"]
    assert "no base model" not in said["words"]


# Against the holdout alone


@pytest.mark.parametrize(
    ("unlearned", "apart", "side", "said"),
    [
        ("untouched", True, "remembered", "yes, as if remembered"),
        ("as retrained", None, None, "undecided. The intervals contain .5"),
        ("pushed too far", True, "over-forgotten", "yes, to both sides"),
    ],
)
def test_against_the_holdout(
    unlearned: str, apart: bool | None, side: str | None, said: str, pictures_story: Story
) -> None:
    found = judged(pictures_story(with_original(unlearned)))
    assert (found["forgotten"], found["over_forgotten"], found["against"]) == (None, None, "nothing")
    held = found["against_holdout"]
    assert held["distinguishable"] is apart
    attack = next(a for a in held["attacks"] if a["name"] == "mia_confidence")
    assert attack["side"] == side
    low, high = attack["interval"]
    assert low < attack["auc"] < high or attack["auc"] in (0.0, 1.0)
    assert f"Stands out against the holdout: {said}" in found["words"]
    assert "95 % interval" in found["words"]
    assert "gap against the holdout" in found["words"]
    assert "cannot be told from remembering" in found["words"]
    assert "as retrained" not in found["words"]
    assert "gap to" not in found["words"]
    assert found["utility_kept"] is True  # the retain side, against the model before
    assert "Lost compared with the model before" in found["words"]


def test_near_guessing_is_said_to_be_so(story: Story) -> None:
    records = story({"original": (0.1, 0.1), "unlearned": (5.0, 0.1)}, clusters=40)
    found = [Attacked(a.name, a.auc, (0.45, 0.55), a.before) for a in attacks(measure(records))]
    assert found
    assert distinguishable(found) is False
    assert distinguishable([]) is None


@pytest.mark.parametrize(
    ("interval", "side", "apart"),
    [
        ((0.51, 0.6), "remembered", True),
        ((0.5, 0.6), None, False),
        ((0.4, 0.49), "over-forgotten", True),
        ((0.41, 0.59), None, False),
        ((0.39, 0.59), None, None),
        ((0.45, 0.61), None, None),
        (None, None, None),
    ],
)
def test_sides_by_hand(interval: tuple[float, float] | None, side: str | None, apart: bool | None) -> None:
    attack = Attacked("mia_loss", 0.5, interval, None)
    assert (attack.side, attack.apart) == (side, apart)


def test_the_gap_between_the_sets_and_its_interval(story: Story) -> None:
    records = story({"unlearned": (5.0, 0.1)})
    found = {gap.name: gap for gap in set_gaps(measure(records))}["loss"]
    losses = {name: records["unlearned", name].means("nll") for name in ("forget", "holdout")}
    assert found.value == pytest.approx(losses["forget"].mean() - losses["holdout"].mean())
    assert found.interval is not None
    # The usual error of a difference of two independent means over ten clusters of four.
    error = math.sqrt(sum(v.reshape(4, 10).mean(axis=0).var() / 10 for v in losses.values()))
    low, high = found.interval
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_a_useless_model_is_called_so_without_any_yardstick(story: Story) -> None:
    found = judged(story({"original": (0.1, 0.1), "unlearned": (5.7, 5.7)}))
    assert found["utility_kept"] is False
    assert "The model is useless" in found["words"]


def test_too_few_clusters_tell_nothing_about_the_sides(story: Story) -> None:
    found = judged(story({"original": (0.1, 0.1), "unlearned": (5.0, 0.1)}, clusters=3))
    assert found["against_holdout"]["distinguishable"] is None
    assert {a["side"] for a in found["against_holdout"]["attacks"]} == {None}
    assert {g["interval"] for g in found["against_holdout"]["gaps"]} == {None}


# Real models

PAST = 1.5
"""By how much the ascent takes each example's loss past that of the retrained model."""


@pytest.fixture(scope="module")
def real() -> Callable[[str], Records]:
    """Tiny language models: before, retrained, and four that claim to have forgotten ten invented codes."""
    from ofmu.data.examples import TextExamples
    from ofmu.data.formats import read
    from ofmu.data.tokens import TokenSet, encode_text
    from ofmu.engine.forward import rows

    draw = np.random.default_rng(0)

    def codes(first: int) -> list[dict[str, str]]:
        letters = ["".join(draw.choice(list("bcdfghjklmnpqrstvwxz"), 6)) for _ in range(12)]
        return [{"id": f"{first + n}", "question": f"Code {first + n}?", "answer": a} for n, a in enumerate(letters)]

    forget, holdout, retain = codes(0), codes(50), facts(range(10))
    original = taught(llama(), [*forget, *retain], steps=60)
    retrained = taught(llama(), retain, steps=60)
    ascended = copy.deepcopy(original)

    def encoded(rows_: list[dict[str, str]]) -> TokenSet:
        found = read(rows_)
        assert isinstance(found, TextExamples)
        return encode_text(found, tokenizer(), max_length=96)

    data = {"forget": encoded(forget), "holdout": encoded(holdout), "retain": encoded(retain)}
    optimiser, everything = torch.optim.Adam(ascended.parameters(), lr=3e-3), data["forget"].batch(range(12))
    with torch.no_grad():
        enough = PAST * rows(retrained, everything).nll_means()
    for _ in range(400):
        losses = rows(ascended, everything).nll_means()
        if bool((losses > enough).all()):
            break
        optimiser.zero_grad()
        (-losses.mean()).backward()
        optimiser.step()
    else:
        raise AssertionError("the ascent did not take every example past the retrained model")
    claims = {
        "untouched": original,
        "retrained": retrained,
        "random": llama(seed=9),
        "ascended": ascended,
    }
    scored = {
        role: {name: score(model.eval(), examples, batch_size=12, device=torch.device("cpu"), fingerprint=role)
               for name, examples in data.items()}
        for role, model in claims.items()
    }  # fmt: skip

    def records(claim: str) -> Records:
        roles = {"original": "untouched", "retrained": "retrained", "unlearned": claim}
        return Records({(role, n): r for role, model in roles.items() for n, r in scored[model].items()})

    return records


@pytest.mark.parametrize("claim", ["untouched", "retrained", "random", "ascended"])
def test_real_models_get_the_verdict_that_they_deserve(claim: str, real: Callable[[str], Records]) -> None:
    records = real(claim)
    measured = measure(records)
    found = judged(records, measured)
    if claim == "retrained":
        assert (found["forgotten"], found["over_forgotten"], found["utility_kept"]) == (True, False, True)
    if claim == "untouched":
        assert (found["forgotten"], found["utility_kept"]) == (False, True)
        assert forgetting_gap(measured, records, RETRAINED).value == 1.0
    if claim == "random":
        assert found["forgotten"] is not True
        assert found["utility_kept"] is False
    if claim == "ascended":
        # Each example's loss is past the retrained model's, so that of any resample is: on every machine the whole
        # interval lies beyond (1.5 m_r − m_r)/(m_o − m_r) ≤ −.5. Of the attacks one may straddle its bound.
        residual = measured["forget_loss"].scores["unlearned"].residual_interval
        assert residual is not None
        assert residual[1] < 1 - PAST
        assert found["over_forgotten"] is True
        assert "Gone too far: yes" in found["words"]
        assert found["forgotten"] is not True
        assert "Forgotten: yes" not in found["words"]
