"""The probe of the right letter: it finds what the states say of it, and nothing where they say nothing."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ofmu.data.formats import read
from ofmu.data.halves import steer_report
from ofmu.data.tokens import encode_text
from ofmu.evaluation.attack import Attacked, Compared
from ofmu.evaluation.attacks.probe import Probe
from ofmu.evaluation.choice_probe import question_sets
from ofmu.evaluation.choices import before_the_letter
from ofmu.evaluation.records import Records
from toys import facts, llama, tokenizer

WORDS = ["red", "old", "far", "new"]


def questions(count: int, *, told: bool) -> Any:
    """The question says which word is right, or says nothing of it."""
    draw = np.random.default_rng(0)
    gold = draw.integers(0, 4, count).tolist()
    rows = [
        {"question": f"{n}: {WORDS[right] if told else 'any'}?", "choices": WORDS, "answer": right}
        for n, right in enumerate(gold)
    ]
    return read(rows, name="quiz")


def target(model: Any, **sets: Any) -> Any:
    def encode(examples: Any) -> Any:
        return encode_text(examples, tokenizer(), max_length=256)

    halves = {name: steer_report(each.clusters) for name, each in sets.items()}
    places = {
        wanted: {name: [i for i, half in enumerate(each) if half == wanted] for name, each in halves.items()}
        for wanted in ("steer", "report")
    }
    return SimpleNamespace(
        **places,
        model=model,
        modality="text",
        examples=sets,
        sets={name: encode(each) for name, each in sets.items()},
        encode=encode,
        seeds=(0,),
        removed=(),
        device="cpu",
        batch_size=16,
        autocast=nullcontext,
    )


@pytest.fixture(scope="module")
def model() -> Any:
    return llama(seed=4, max_position_embeddings=256)


def probed(model: Any, told: bool) -> dict[str, Any]:
    return dict(Probe().run(target(model, forget=questions(64, told=told))).facts["choices"]["forget"])


def test_what_the_states_say_is_read_and_chance_is_told_apart(model: Any):
    told, silent = probed(model, True), probed(model, False)
    accuracy = np.mean(told["right"][told["layer"]])
    assert accuracy > 0.75
    assert told["shuffled"] < 0.5
    assert np.mean(silent["right"][silent["layer"]]) < 0.5
    assert len(told["right"]) == 2
    assert len(told["right"][0]) == len(told["clusters"]) == 32  # the reporting half


def test_the_figure_compares_at_the_unlearned_models_layer(model: Any):
    told = probed(model, True)
    at_chance = (np.arange(32) % 4 == 0).astype(float).tolist()
    silent = told | {"right": [at_chance, at_chance]}
    both = {"unlearned": told, "retrained": silent, "base": silent}
    attacked = {role: Attacked({"choices": {"forget": each}}) for role, each in both.items()}
    (figure,) = Probe().compare(attacked, Compared(Records())).figures
    layer = told["layer"]
    assert figure.measure == "forget_probe_accuracy"
    assert figure.gap == pytest.approx(np.mean(told["right"][layer]) - np.mean(silent["right"][layer]))
    assert figure.gap_interval is not None
    assert figure.gap_interval[0] < figure.gap < figure.gap_interval[1]
    assert figure.details["above_base"] == pytest.approx(figure.gap)
    assert figure.details["above_shuffled"]["unlearned"] == pytest.approx(
        np.mean(told["right"][layer]) - told["shuffled"]
    )


def test_the_prompt_ends_before_the_letter_and_no_text_tells_the_right_one():
    asked, gold = before_the_letter(questions(8, told=False))
    assert {example.completion for example in asked.examples} == {" A"}
    assert all(str(example.prompt).endswith("D. new\nAnswer:") for example in asked.examples)
    assert len(set(gold.tolist())) > 1


def test_questions_beside_the_forget_set_are_probed_and_kept_ones_are_not(model: Any):
    quiz, plain = questions(40, told=True), read(facts(range(16)))
    sets = {"forget": plain, "retain": quiz, "quiz": quiz}
    assert question_sets(sets) == ["quiz"]
    assert Probe().impossible(sets) is None
    assert Probe().impossible({"forget": plain, "retain": quiz}) == "no holdout set to tell the forget set from"
    found = Probe().run(target(model, **sets)).facts
    assert set(found) == {"choices"}
    assert set(found["choices"]) == {"quiz"}


def test_too_few_questions_are_no_accuracy(model: Any):
    facts = probed_few(model)
    assert "reason" in facts
    attacked = {"unlearned": Attacked({"choices": {"forget": facts}})}
    findings = Probe().compare(attacked, Compared(Records()))
    assert findings.figures == ()
    assert "too few clusters of questions" in findings.notes[0]


def probed_few(model: Any) -> dict[str, Any]:
    return dict(Probe().run(target(model, forget=questions(1, told=True))).facts["choices"]["forget"])
