"""Multiple choice by log-likelihood.

Legend: N questions with O options (four); log p is the summed log-probability of an option's continuation tokens.

Source: METRICS.md §6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

from ofmu.errors import InputError
from ofmu.evaluation.statistics import Floats, Ints

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, eq=False)
class MultipleChoice:
    """What a model chose.

    Args:
        choices: (N,) chosen option, 0 = A.
        correct: (N,) 1.0 where it is the gold one.
        prob_gold: (N,) softmax over the options, at the gold one.
        accuracy: mean of ``correct``; over questions, not over subjects.
        standard_error: √(p(1 − p)/N).
        letter_balance: (O,) share of each letter among the choices; ¼ each without letter bias.
    """

    choices: Ints
    correct: Floats
    prob_gold: Floats
    accuracy: float
    standard_error: float
    letter_balance: Floats


def multiple_choice(log_likelihoods: ArrayLike, gold: ArrayLike) -> MultipleChoice:
    """Choose the likeliest option of each question; a tie goes to the lowest letter.

    Args:
        log_likelihoods: (N, O) log p, nats.
        gold: (N,) the right option, 0 = A.

    Raises:
        InputError: a value that is not finite. The largest of four NaN is option A, so a collapsed model would score
            as well as chance and look perfectly unlearned.

    >>> found = multiple_choice([[-2.1, -1.7, -1.7, -3.0]], [1])
    >>> found.choices.tolist(), found.accuracy, round(float(found.prob_gold[0]), 3)
    ([1], 1.0, 0.34)
    """
    log_p, right = _checked(log_likelihoods, gold)
    options = log_p.shape[1]
    choices = log_p.argmax(axis=1)
    correct = (choices == right).astype(np.float64)
    accuracy = float(correct.mean())
    return MultipleChoice(
        choices=choices,
        correct=correct,
        prob_gold=np.asarray(softmax(log_p, axis=1))[np.arange(len(right)), right],
        accuracy=accuracy,
        standard_error=float(np.sqrt(accuracy * (1 - accuracy) / len(right))),
        letter_balance=np.bincount(choices, minlength=options) / len(right),
    )


def shifted_options(options: list[str], shift: int) -> list[str]:
    """Options moved on by ``shift`` letters, cyclically: what stood at letter j stands at j + shift.

    >>> shifted_options(["w", "x", "y", "z"], 1)
    ['z', 'w', 'x', 'y']
    """
    return [options[(letter - shift) % len(options)] for letter in range(len(options))]


def permutation_accuracy(log_likelihoods: ArrayLike, gold: ArrayLike) -> Floats:
    """Share of the O cyclic orders of its options in which each question is answered right; catches letter bias.

    Args:
        log_likelihoods: (O, N, O) log p of each letter; the first axis is the shift of :func:`shifted_options`.
        gold: (N,) the right option unshifted.

    Returns:
        (N,), in [0, 1]; a model that always says A has ¼ on every question. The score is their mean.

    Raises:
        InputError: a value that is not finite, or as many shifts as there are not options.
    """
    log_p = np.asarray(log_likelihoods, dtype=np.float64)
    if log_p.ndim != 3 or log_p.shape[0] != log_p.shape[2]:
        raise InputError(f"cyclic permutations need (options, questions, options) values, found {log_p.shape}")
    right = np.asarray(gold, dtype=np.int64)
    options = len(log_p)
    each = [multiple_choice(log_p[shift], (right + shift) % options).correct for shift in range(options)]
    return np.mean(each, axis=0)


def _checked(log_likelihoods: ArrayLike, gold: ArrayLike) -> tuple[Floats, Ints]:
    log_p, right = np.asarray(log_likelihoods, dtype=np.float64), np.asarray(gold, dtype=np.int64)
    if log_p.ndim != 2 or len(log_p) != len(right) or len(right) == 0:
        raise InputError(f"one row of log-likelihoods a question is needed, found {log_p.shape} for {len(right)}")
    broken = np.flatnonzero(~np.isfinite(log_p).all(axis=1))
    if len(broken):
        raise InputError(f"{len(broken)} questions have a log-likelihood that is not finite; the first is {broken[0]}")
    if right.min() < 0 or right.max() >= log_p.shape[1]:
        raise InputError(f"the right option must be 0 to {log_p.shape[1] - 1}, found {right.min()} to {right.max()}")
    return log_p, right
