"""What would have measured a score that is missing: a gap that cannot be closed by who reads of it helps nobody."""

from __future__ import annotations

NEEDS = "not measured: needs "
"""How a reason begins that names what to give."""

_ANSWERS = "ofmu evaluate --generate (the models answer)"
_FORMS = "the columns paraphrased_answer and perturbed_answer (answers in other words, wrong answers) in the data"
_WRONG = "the column perturbed_answer (wrong answers) in the data"
_CURES = {
    "rougeL_recall": _ANSWERS,
    "truth_ratio": _FORMS,
    "truth_ratio_knowledge": _FORMS,
    "paraphrase_probability": _FORMS,
    "normalised_probability": _WRONG,
}


def reason(name: str) -> str:
    """Why a score is missing from an evaluation, with what to give where that is known.

    Args:
        name: of the score, the set first.

    >>> reason("forget_rougeL_recall")
    'not measured: needs ofmu evaluate --generate (the models answer)'
    >>> reason("u_lira")
    'not measured in this evaluation'
    """
    cure = next((cure for kind, cure in _CURES.items() if name.endswith(f"_{kind}")), None)
    if name == "test_accuracy":
        cure = "--test, unseen images of the kept classes"
    return NEEDS + cure if cure else "not measured in this evaluation"
