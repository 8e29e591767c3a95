"""MUSE: what of a generation and of the truth is compared, and how a score changes over its folds.

Source: METRICS.md §5; Shi et al., "MUSE: Machine Unlearning Six-Way Evaluation", 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ofmu.errors import unknown
from ofmu.evaluation.rouge import rouge

STOPS = ("\n\n", "\nQuestion", "Question:")  # where a few-shot answer ends
VERBMEM_TOKENS = 128
KNOWMEM_TOKENS = 32


@dataclass(frozen=True)
class Rules:
    """How verbatim and knowledge memorisation are scored.

    Args:
        stem: Porter-stem before ROUGE.
        cut_truth: cut the true continuation to as many tokens as may be generated.
        count_bos: a beginning-of-text token is one of them, so that a perfect copy of a long text scores below 1.
        strip_prompt: the prompt ends without trailing space.
    """

    stem: bool
    cut_truth: bool
    count_bos: bool
    strip_prompt: bool


RULES = {
    "correct": Rules(stem=False, cut_truth=True, count_bos=False, strip_prompt=True),
    "parity:muse": Rules(stem=False, cut_truth=True, count_bos=True, strip_prompt=False),
    "parity:open_unlearning": Rules(stem=True, cut_truth=False, count_bos=False, strip_prompt=False),
}


def rules(mode: str) -> Rules:
    """The rules of a mode: ``correct``, ``parity:muse`` or ``parity:open_unlearning``."""
    if mode not in RULES:
        raise unknown("mode", mode, RULES)
    return RULES[mode]


def cut_answer(generation: str) -> str:
    r"""A few-shot answer up to the first of the three strings that begin a further question.

    >>> cut_answer(" Paris\n\nQuestion: and Italy?")
    ' Paris'
    """
    for stop in STOPS:
        generation = generation.split(stop, maxsplit=1)[0]
    return generation


def cut_truth(tokens: Sequence[int], limit: int = VERBMEM_TOKENS, mode: str = "correct") -> list[int]:
    """The tokens of the true continuation that a generation is compared with.

    Args:
        tokens: of the truth, without special tokens.
        limit: how many may be generated.
        mode: see ``RULES``.
    """
    chosen = rules(mode)
    return list(tokens[: limit - chosen.count_bos]) if chosen.cut_truth else list(tokens)


def few_shot_prompt(question: str, shots: Sequence[tuple[str, str]] = (), mode: str = "correct") -> str:
    r"""Solved questions, then the question; each ``Question: q`` and ``Answer: a`` on lines of their own.

    >>> few_shot_prompt("Who?", [("Where?", "Here.")])
    'Question: Where?\nAnswer: Here.\n\nQuestion: Who?\nAnswer:'
    """
    solved = "".join(f"Question: {asked}\nAnswer: {answer}\n\n" for asked, answer in shots)
    prompt = f"{solved}Question: {question}\nAnswer: "
    return prompt.rstrip(" ") if rules(mode).strip_prompt else prompt


def memorisation(truth: str, generation: str, mode: str = "correct") -> float:
    """100 · rougeL_f1 of a generation, in [0, 100]; wanted as retrained on the forget set, up on the retain set.

    Args:
        truth: the text, cut by :func:`cut_truth`, or the answer.
        generation: continuation, or answer cut by :func:`cut_answer`.
        mode: see ``RULES``.
    """
    return 100 * rouge(truth, generation, stem=rules(mode).stem).rougeL_f1


def slope_per_fold(values: ArrayLike) -> float:
    """Least-squares slope of a score over folds 1, 2, … (growing forget sets, or successive requests); flat is wanted.

    Args:
        values: (F,) the score of each fold in order.

    Returns:
        Change a fold; NaN for fewer than two folds or a fold without a value.

    >>> slope_per_fold([40, 44, 45, 51])
    3.4
    """
    given = np.asarray(values, dtype=np.float64)
    if len(given) < 2:
        return float("nan")
    fold = np.arange(len(given)) - (len(given) - 1) / 2
    return float(fold @ given / (fold @ fold))
