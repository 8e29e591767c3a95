"""The truth ratio: are wrong answers as likely as a correct one?

Legend: λ_c is the mean token loss of the correct (paraphrased) answer, λ_w that of a wrong answer, both nats;
TR = p(wrong)/p(correct). Everything stays a logarithm until the last step: where a model has collapsed,
exp(−λ) and the public 1e-10 would decide instead of the model.

Source: METRICS.md §2.2, §2.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logsumexp

from ofmu.errors import InputError
from ofmu.evaluation.statistics import Floats

Answers = ArrayLike | Sequence[ArrayLike]  # (N,), (N, J), or N rows of different length
EPSILON = 1e-10  # in the public code


def log_truth_ratio(correct: Answers, wrong: Answers) -> Floats:
    """The geometric log TR = λ_c − mean_j λ_wj: that of both public harnesses.

    Args:
        correct: λ_c of each example; of several paraphrases the mean is taken.
        wrong: λ_w of each example's wrong answers.

    Returns:
        (N,), below 0 where the correct answer is the likelier; NaN where an example has no answer of a kind.

    >>> float(np.exp(log_truth_ratio([2.0], [[3.0, 2.0, 4.0]]))[0].round(4))
    0.3679
    """
    return _paired(*(_means(rows) for rows in (correct, wrong)))


def log_truth_ratio_arithmetic(correct: Answers, wrong: Answers) -> Floats:
    """The arithmetic log TR_a = log mean_j exp(−λ_wj) + λ_c: the TOFU paper's form; never compare across forms.

    Args and returns as :func:`log_truth_ratio`.

    >>> float(np.exp(log_truth_ratio_arithmetic([2.0], [[3.0, 2.0, 4.0]]))[0].round(4))
    0.5011
    """
    averaged = np.array([-_log_mean_exp(-np.atleast_1d(np.asarray(row, dtype=np.float64))) for row in _rows(wrong)])
    return _paired(_means(correct), averaged)


def closer(log_ratio: ArrayLike) -> Floats:
    """min(TR, 1/TR) of each example, in [0, 1]: 1 if it cannot tell right from wrong; for the forget set."""
    return np.exp(-np.abs(np.asarray(log_ratio, dtype=np.float64)))


def true_better(log_ratio: ArrayLike) -> Floats:
    """max(0, 1 − TR) of each example, in [0, 1]; up, for sets that should stay known."""
    return 0.0 - np.expm1(np.minimum(np.asarray(log_ratio, dtype=np.float64), 0.0))


def knowledge(log_ratio: ArrayLike) -> Floats:
    """1/(1 + TR) = p_c/(p_c + p_w) of each example, in [0, 1]: 1 it knows, ½ it cannot tell."""
    return np.asarray(expit(-np.asarray(log_ratio, dtype=np.float64)), dtype=np.float64)


def normalised_probability(correct: ArrayLike, wrong: Answers) -> Floats:
    """P(y)/(P(y) + Σ_j P(w_j)) of each example, P = exp(−λ): a softmax over −λ.

    Args:
        correct: (N,) λ of the true answer.
        wrong: λ of each example's wrong answers.

    Returns:
        (N,), in [0, 1]; up on sets that should stay known.

    >>> float(normalised_probability([1.0], [[2.0, 2.0, 3.0]])[0].round(4))
    0.5344
    """
    log_wrong = np.array([_log_sum_exp(-np.atleast_1d(np.asarray(row, dtype=np.float64))) for row in _rows(wrong)])
    log_correct = -np.asarray(correct, dtype=np.float64)
    return np.asarray(expit(_paired(log_correct, log_wrong)), dtype=np.float64)


def truth_ratio_open_unlearning(correct: Answers, wrong: Answers) -> Floats:
    """``parity:open_unlearning``: exp(−λ̄_w)/(exp(−λ_c) + 1e-10), a ratio and not its logarithm.

    Differs: from the true ratio once λ_c is about 20 nats or more.
    """
    lambda_c, lambda_w = _means(correct), _means(wrong)
    return np.exp(-lambda_w) / (np.exp(-lambda_c) + EPSILON)


def closer_open_unlearning(ratio: ArrayLike) -> Floats:
    """``parity:open_unlearning``: min(r, 1/(r + 1e-10)) of each example."""
    given = np.asarray(ratio, dtype=np.float64)
    return np.minimum(given, 1 / (given + EPSILON))


def true_better_open_unlearning(ratio: ArrayLike) -> Floats:
    """``parity:open_unlearning``: max(0, 1 − r) of each example."""
    return np.maximum(0.0, 1 - np.asarray(ratio, dtype=np.float64))


def normalised_probability_open_unlearning(correct: ArrayLike, wrong: Answers) -> Floats:
    """``parity:open_unlearning``: P(y)/(P(y) + Σ_j P(w_j) + 1e-10); 0 instead of a ratio when all λ exceed 23."""
    p = np.exp(-np.asarray(correct, dtype=np.float64))
    q = np.array([np.exp(-np.atleast_1d(np.asarray(row, dtype=np.float64))).sum() for row in _rows(wrong)])
    return p / (p + q + EPSILON)


def _rows(answers: Answers) -> Sequence[ArrayLike]:
    return answers if isinstance(answers, Sequence) else list(np.asarray(answers))


def _means(answers: Answers) -> Floats:
    """Mean over each example's answers: (N,), NaN without any."""
    rows = [np.atleast_1d(np.asarray(row, dtype=np.float64)) for row in _rows(answers)]
    return np.array([row.mean() if len(row) else np.nan for row in rows])


def _paired(first: Floats, second: Floats) -> Floats:
    """First − second, which must be about the same examples."""
    if first.shape != second.shape:
        raise InputError(f"{len(first)} examples have a correct answer and {len(second)} wrong ones; they must pair")
    return first - second


def _log_sum_exp(values: Floats) -> float:
    return float(logsumexp(values)) if len(values) else float("nan")


def _log_mean_exp(values: Floats) -> float:
    return _log_sum_exp(values) - float(np.log(len(values))) if len(values) else float("nan")
