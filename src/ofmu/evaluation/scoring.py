"""One forward pass of a model over a set of examples: from the model to the facts that metrics read."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ofmu.data.images import ImageSet
from ofmu.data.tokens import TokenSet
from ofmu.engine.forward import rows_with_content
from ofmu.engine.modes import evaluating
from ofmu.evaluation.record import COLUMNS, Modality, Record
from ofmu.evaluation.token_statistics import token_statistics
from ofmu.losses.rows import Rows

_FLOOR = 1e-30  # arguments of logarithms in the modified entropy


def score(
    model: nn.Module,
    encoded: TokenSet | ImageSet,
    *,
    batch_size: int = 16,
    device: torch.device | str | None = None,
    fingerprint: str = "",
) -> Record:
    """Measure what a model does on every example of a set.

    Examples run in batches of like length, longest first (so that memory runs out at once or never), and come
    back in the order of the data. The model is in eval mode meanwhile; each of its modules gets its own mode
    back, after an exception too. Log-softmax is in float32 or wider, sums over tokens in float64: another
    batch size changes no value by more than 1e-4 nat.

    Args:
        model: a causal language model or a classifier of images.
        encoded: the examples.
        batch_size: examples a forward pass, ≥ 1.
        device: where the model is; None: where its first parameter is.
        fingerprint: of the model, kept in the record.

    Returns:
        A record of all examples but those of which no token can be scored; these it lists as excluded.
    """
    if device is None:
        device = next(model.parameters()).device
    text = isinstance(encoded, TokenSet)
    modality: Modality = "text" if text else "image"
    order = np.argsort(-np.asarray(encoded.lengths), kind="stable") if text else np.arange(len(encoded))
    pieces: list[tuple[NDArray[np.int64], dict[str, NDArray]]] = []
    classes = 0
    with evaluating(model), torch.no_grad():
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            rows, content = rows_with_content(model, encoded.batch([int(index) for index in chosen]).to(device))
            classes = int(rows.logits.shape[1])
            facts = token_facts(rows, content) if text else image_facts(rows)
            pieces.append((chosen[rows.example.cpu().numpy()], facts))
    example, columns = _in_order(pieces, modality)
    return Record(
        modality=modality,
        ids=tuple(encoded.ids),
        clusters=tuple(encoded.clusters),
        example=example,
        columns=columns,
        facts=dict(encoded.facts) if text else {},
        model=fingerprint,
        data=encoded.fingerprint,
        classes=classes,
        excluded=_excluded(encoded) if text else {},
    )


def token_facts(rows: Rows, content: Tensor) -> dict[str, NDArray]:
    """The columns of a text record for the R scored tokens of a batch, in the order of the rows.

    Args:
        rows: scored positions.
        content: (R,), True where a token belongs to S⁻.
    """
    example = rows.example.cpu().numpy()
    first = np.unique(example, return_index=True, return_inverse=True)
    position = np.arange(len(example)) - first[1][first[2]]
    log_p, z, correct = token_statistics(rows.logits, rows.labels)
    return {
        "position": position.astype(np.int32),
        "nll": -log_p.cpu().double().numpy(),
        "z": z.cpu().double().numpy(),
        "correct": correct.cpu().numpy(),
        "content": content.cpu().numpy(),
    }


def image_facts(rows: Rows) -> dict[str, NDArray]:
    """The columns of an image record: log p in float64, so that 1 − p_y survives for a p_y close to 1.

    −log p_y, p_y, H = −Σ p log p, M = −(1−p_y) log p_y − Σ_{j≠y} p_j log(1−p_j), φ = logit_y − log Σ_{j≠y}
    e^logit_j.

    Args:
        rows: one row an image, K ≥ 2 classes.
    """
    logits, labels = rows.logits.cpu().double(), rows.labels.cpu()
    log_p = logits.log_softmax(dim=1)  # (B, K)
    p = log_p.exp()
    own = functional.one_hot(labels, logits.shape[1]).bool()
    margin = logits[own] - logits.masked_fill(own, -torch.inf).logsumexp(dim=1)
    nll = functional.softplus(-margin)  # −log p_y = log(1 + e^−φ)
    # log(1 − p) is exact enough where p ≤ ½; for the likeliest class, 1 − p is the sum of the others
    top = log_p.argmax(dim=1, keepdim=True)
    others = p.scatter(1, top, 0.0)
    log_rest = torch.log1p(-others).scatter(1, top, others.sum(dim=1, keepdim=True).clamp_min(_FLOOR).log())
    spread = -(p * log_rest).masked_fill(own, 0.0).sum(dim=1)
    modified = torch.sigmoid(-margin) * nll.clamp(max=-math.log(_FLOOR)) + spread
    facts = {
        "label": labels,
        "predicted": logits.argmax(dim=1),
        "nll": nll,
        "confidence": torch.sigmoid(margin),
        "entropy": -torch.xlogy(p, p).sum(dim=1),
        "modified_entropy": modified,
        "margin": margin,
    }
    return {name: value.numpy().astype(COLUMNS["image"][name]) for name, value in facts.items()}


def _excluded(encoded: TokenSet) -> dict[str, str]:
    """Why examples have no row."""
    reasons = dict.fromkeys(encoded.dropped, "no token of the answer can be scored")
    return reasons | dict.fromkeys(encoded.too_long, "the answer does not fit into the model's context")


def _in_order(
    pieces: list[tuple[NDArray[np.int64], dict[str, NDArray]]], modality: Modality
) -> tuple[NDArray[np.int64], dict[str, NDArray]]:
    """Rows of all batches in the order of the data."""
    if not pieces:
        return np.zeros(0, np.int64), {name: np.zeros(0, kind) for name, kind in COLUMNS[modality].items()}
    example = np.concatenate([rows for rows, _ in pieces])
    order = np.argsort(example, kind="stable")
    columns = {
        name: np.concatenate([facts[name] for _, facts in pieces])[order].astype(kind)
        for name, kind in COLUMNS[modality].items()
    }
    return example[order], columns
