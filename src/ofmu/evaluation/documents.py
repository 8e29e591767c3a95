"""Documents of any length under a model: summed loss and number of scored tokens of each, long ones in windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ofmu.data.tokens import TokenSet
from ofmu.evaluation.answers import AnswerFacts
from ofmu.evaluation.perplexity import windows
from ofmu.evaluation.scoring import score

LOSS, TOKENS = "document_nll", "document_tokens"
"""Facts of a document: L in nats, T."""


def document_losses(
    model: nn.Module,
    documents: TokenSet,
    context: int,
    *,
    batch_size: int = 16,
    device: torch.device | str | None = None,
) -> AnswerFacts:
    """L and T of whole documents, each scored token read once, with half a context or all there is before it.

    Args:
        model: a causal language model.
        documents: N texts, tokenised without a limit.
        context: C, longest input in tokens, ≥ 2.
        batch_size: windows of one forward pass.
        device: where the model is; None: where its first parameter is.

    Returns:
        The facts ``document_nll`` and ``document_tokens``; L is +inf where the logits were not finite.

    Source: METRICS.md §2.8.
    """
    pieces, of = _in_windows(documents, context)
    record = score(model, pieces, batch_size=batch_size, device=device)
    sums = np.bincount(of, weights=record.sums("nll"), minlength=len(documents))
    losses = np.where(np.isfinite(sums), sums, np.inf)
    return AnswerFacts(documents.ids, {LOSS: losses, TOKENS: documents.counts.astype(np.float64)})


def _in_windows(documents: TokenSet, context: int) -> tuple[TokenSet, NDArray[np.int64]]:
    """Every window as an example of its own, and the number of the document that it is from."""
    places, scored, of = [], [], []
    for number, length in enumerate(documents.lengths.tolist()):
        whole = np.arange(len(documents.tokens))[documents.part(number)]
        for window in windows(length, context):
            places.append(whole[window.start : window.end])
            fresh = np.arange(window.start, window.end) >= window.first_scored
            scored.append(documents.scored[places[-1]] & fresh)
            of.append(number)
    kept = [index for index, each in enumerate(scored) if each.any()]
    places, scored = [places[index] for index in kept], [scored[index] for index in kept]
    flat, marks, numbers = np.concatenate(places), np.concatenate(scored), np.array(of, dtype=np.int64)[kept]
    pieces = replace(
        documents,
        ids=tuple(f"{documents.ids[number]}@{index}" for index, number in enumerate(numbers)),
        clusters=tuple(documents.clusters[number] for number in numbers),
        tokens=documents.tokens[flat],
        scored=marks,
        content=documents.content[flat] & marks,
        lengths=np.array([len(each) for each in places], dtype=np.int64),
        counts=np.array([each.sum() for each in scored], dtype=np.int64),
        facts={},
    )
    return pieces, numbers
