"""φ, the one number an example gets from each model of an ensemble: how sure the model is of the true answer."""

from __future__ import annotations

from ofmu.evaluation.record import Record
from ofmu.evaluation.statistics import Floats


def phi(record: Record) -> Floats:
    """φ of each example: the margin of an image, −λ of a text.

    Image: φ = logit_y − log Σ_{j≠y} exp(logit_j). Text: φ = −λ, λ the mean −log p of the scored tokens.

    Args:
        record: what one model did on N examples.

    Returns:
        (N,), nats, any sign; high: the model is sure of the true answer.

    Source: METRICS.md §8.
    """
    return record.means("margin") if record.modality == "image" else -record.means("nll")
