"""Figures and their names as they stand in sentences."""

from __future__ import annotations

from ofmu.evaluation.gaps import Interval

NAMES = {
    "probability": "mean probability of the true answers",
    "accuracy": "share of images given the label they have in the data",
    "loss": "mean loss",
    "exact_memorization": "share of answer tokens known by heart",
    "extraction_strength": "share of the answer completed by heart (extraction strength)",
    "paraphrase_probability": "mean probability of the true answers in other words",
    "rougeL_recall": "share of the true answer in what the model says (ROUGE-L)",
    "rougeL_f1": "agreement of what the model says with the true answer (ROUGE-L F1)",
    "rouge1_recall": "share of the true answer's words in what the model says (ROUGE-1)",
    "truth_ratio_knowledge": "mean share of a right answer against a wrong one",
    "truth_ratio": "mean truth ratio of right and wrong answers",
    "normalised_probability": "share of the true answer among wrong ones",
    "wrong_probability": "mean probability of wrong answers",
    "generated_tokens": "mean length of what the model says, in tokens",
    "rep4": "repetition in what the model says",
    "ref_nll": "how unlikely the base model finds what the model says (loss)",
    "cut": "share of answers cut off by the length limit",
    "empty": "share of empty answers",
    "margin": "mean margin of the label over all other classes",
    "entropy": "mean uncertainty (entropy)",
    "mia_loss": "loss",
    "mia_zlib": "loss for how well the text compresses (zlib)",
    "mia_zlib_total": "length in bits for how well the text compresses (zlib, both whole)",
    "mia_min_k": "least likely tokens (min-k)",
    "mia_min_k_plus_plus": "least likely tokens for their place (min-k++)",
    "mia_gradnorm": "length of the gradient",
    "mia_reference": "loss against the base model's (reference)",
    "mia_confidence": "probability of the label",
    "mia_entropy": "model's uncertainty (entropy)",
    "mia_modified_entropy": "model's uncertainty about the label (modified entropy)",
    "mia_correctness": "right or wrong label",
}
"""Kind of figure → what it is called in a sentence."""


def bounds(interval: Interval | None, title: str = "95 % interval") -> str:
    """An interval in brackets, with what it is; nothing where there is none."""
    return "" if interval is None else f" ({title}: {number(interval[0])} to {number(interval[1])})"


def number(value: float | None) -> str:
    """Four significant digits, at most four decimals.

    >>> number(0.92537), number(5.93214), number(-0.00001)
    ('0.9254', '5.932', '0.0000')
    """
    if value is None:
        return "not measured"
    digits = 4 if abs(value) < 1 else 3 if abs(value) < 10 else 2 if abs(value) < 100 else 1
    return f"{value + 0.0:.{digits}f}" if round(value, digits) else f"{0:.{digits}f}"


def percent(share: float) -> str:
    """A share in per cent.

    >>> percent(0.2371), percent(-0.0001)
    ('23.7', '0.0')
    """
    return f"{100 * share:.1f}" if round(100 * share, 1) else "0.0"


def count(many: int, noun: str) -> str:
    """How many there are of something.

    >>> count(1, "example"), count(1200, "example")
    ('1 example', '1,200 examples')
    """
    return f"{many:,} {noun}{'' if many == 1 else 's'}"


def capital(text: str) -> str:
    """The same with a capital letter first."""
    return text[:1].upper() + text[1:]
