"""Forward passes of a model over sets of examples: from the model to the facts that metrics read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from ofmu.data.tokens import TokenSet, joined
from ofmu.engine.forward import Encoded, rows_with_content
from ofmu.engine.modes import evaluating
from ofmu.engine.processes import Processes
from ofmu.evaluation.passes import Pass, Piece, batches, done
from ofmu.evaluation.record import COLUMNS, Modality, Record
from ofmu.evaluation.text_passes import text_passes
from ofmu.losses.rows import Rows

_FLOOR = 1e-30  # arguments of logarithms in the modified entropy


def score(
    model: nn.Module,
    encoded: Encoded,
    *,
    batch_size: int = 16,
    device: torch.device | str | None = None,
    fingerprint: str = "",
) -> Record:
    """Measure what a model does on every example of a set: :func:`score_sets` of one set, in this process."""
    return score_sets(model, {"": encoded}, batch_size=batch_size, device=device, fingerprint=fingerprint)[""]


def score_sets(
    model: nn.Module,
    sets: Mapping[str, Encoded],
    *,
    batch_size: int = 16,
    device: torch.device | str | None = None,
    fingerprint: str = "",
    ranks: Processes | None = None,
) -> dict[str, Record]:
    """Measure what a model does on every example of some sets, all texts or all images.

    Texts that begin alike (a question with its answer, the same with another answer) share a forward pass as a tree,
    where the model allows it and a first tree gives what plain texts give. All others run in batches of like length,
    longest first (so that memory runs out at once or never). Records are in the order of the data. The model is in
    eval mode meanwhile; each of its modules gets its own mode back, after an exception too. Log-softmax is in float32
    or wider, sums over tokens in float64: another batch size changes no value by more than 1e-4 nat.

    Args:
        model: a causal language model or a classifier of images.
        sets: name → examples.
        batch_size: examples a forward pass, ≥ 1.
        device: where the model is; None: where its first parameter is.
        fingerprint: of the model, kept in the record.
        ranks: processes that share the passes, each with the model; all get all records. None: this one does all.

    Returns:
        Name → record of all examples but those of which no token can be scored; these it lists as excluded.

    Raises:
        ValueError: texts and images together.
    """
    if not sets:
        return {}
    device = torch.device(next(model.parameters()).device if device is None else device)
    kinds = {type(encoded) for encoded in sets.values()}
    if len(kinds) > 1:
        raise ValueError("texts and images are measured apart")
    texts = [encoded for encoded in sets.values() if isinstance(encoded, TokenSet)]
    with evaluating(model), torch.no_grad():
        if texts:
            passes = text_passes(model, joined(texts), batch_size, device)
        else:
            passes = _image_passes(model, list(sets.values()), batch_size, device)
        pieces = done(passes, ranks)
    example, columns = _in_order(pieces, "text" if texts else "image")
    classes = pieces[0].classes if pieces else 0
    ends = np.cumsum([len(encoded) for encoded in sets.values()])
    records = {}
    for (name, encoded), end in zip(sets.items(), ends.tolist()):
        start = end - len(encoded)
        rows = slice(*np.searchsorted(example, [start, end]).tolist())
        own = {column: values[rows] for column, values in columns.items()}
        records[name] = _record(encoded, example[rows] - start, own, fingerprint, classes)
    return records


def _image_passes(model: nn.Module, sets: Sequence[Encoded], batch_size: int, device: torch.device) -> list[Pass]:
    """Batches in the order of the data; examples are numbered through all sets."""
    found, before = [], 0
    for encoded in sets:
        for chosen in batches(np.arange(len(encoded)), batch_size):
            found.append(partial(_image_piece, model, encoded, chosen, before, device))
        before += len(encoded)
    return found


def _image_piece(
    model: nn.Module, encoded: Encoded, chosen: NDArray[np.int64], before: int, device: torch.device
) -> Piece:
    rows, _ = rows_with_content(model, encoded.batch(chosen.tolist()).to(device))
    return Piece(chosen + before, image_facts(rows), int(rows.logits.shape[1]))


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


def _record(
    encoded: Encoded, example: NDArray[np.int64], columns: Mapping[str, NDArray], fingerprint: str, classes: int
) -> Record:
    text = isinstance(encoded, TokenSet)
    return Record(
        modality="text" if text else "image",
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


def _excluded(encoded: TokenSet) -> dict[str, str]:
    """Why examples have no row."""
    reasons = dict.fromkeys(encoded.dropped, "no token of the answer can be scored")
    return reasons | dict.fromkeys(encoded.too_long, "the answer does not fit into the model's context")


def _in_order(pieces: Sequence[Piece], modality: Modality) -> tuple[NDArray[np.int64], dict[str, NDArray]]:
    """Rows of all passes in the order of the data."""
    if not pieces:
        return np.zeros(0, np.int64), {name: np.zeros(0, kind) for name, kind in COLUMNS[modality].items()}
    example = np.concatenate([piece.example for piece in pieces])
    order = np.argsort(example, kind="stable")
    columns = {
        name: np.concatenate([piece.columns[name] for piece in pieces])[order].astype(kind)
        for name, kind in COLUMNS[modality].items()
    }
    return example[order], columns
