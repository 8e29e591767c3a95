"""How likely another model finds what a model has said: gibberish is unlikely to every model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from ofmu.data.prompts import Prompts
from ofmu.data.tokens import TokenSet
from ofmu.evaluation.answers import AnswerFacts
from ofmu.evaluation.generation import Generations
from ofmu.evaluation.scoring import score

FACT = "ref_nll"


def reference_losses(
    model: nn.Module,
    prompts: Prompts,
    said: Generations,
    *,
    context: int | None = None,
    batch_size: int = 16,
    device: torch.device | str | None = None,
) -> AnswerFacts:
    """λ_b of each answer: the mean of −log p_b over its tokens, given its prompt, in nats ≥ 0.

    The end of the turn, which the answers are kept without, is not counted.

    Args:
        model: b, which has the tokenizer of the model that spoke.
        prompts: N prompts that were asked.
        said: the answers to them; of several to a prompt the first counts.
        context: longest input of b in tokens; None: no limit.
        batch_size: answers of one forward pass.
        device: where b is; None: where its first parameter is.

    Returns:
        The fact ``ref_nll``: NaN for an answer without a token and one that does not fit into the context, +inf where
        the logits of either model were not finite.

    Source: METRICS.md §2.9.
    """
    answers, broken = [each[0] for each in said.tokens], said.broken[:, 0]
    lengths = np.array([len(asked) + len(answer) for asked, answer in zip(prompts.tokens, answers)], dtype=np.int64)
    some = np.array([len(answer) > 0 for answer in answers], dtype=bool)
    read = np.flatnonzero(some & ~broken & (lengths <= (context or lengths.max(initial=0))))
    losses = np.where(broken, np.inf, np.nan)
    if len(read):
        record = score(model, _after(prompts, answers, read), batch_size=batch_size, device=device)
        found = record.means("nll")
        losses[read] = np.where(np.isfinite(found), found, np.inf)
    return AnswerFacts(said.ids, {FACT: losses})


def _after(prompts: Prompts, answers: Sequence[np.ndarray], read: np.ndarray) -> TokenSet:
    """Prompts with the answers after them, of which the answers alone are scored."""
    parts = [(prompts.tokens[index], answers[index]) for index in read]
    scored = np.concatenate([np.arange(len(asked) + len(answer)) >= len(asked) for asked, answer in parts])
    counts = np.array([len(answer) for _, answer in parts], dtype=np.int64)
    return TokenSet(
        ids=tuple(prompts.ids[index] for index in read),
        clusters=tuple(prompts.clusters[index] for index in read),
        tokens=np.concatenate([tokens for part in parts for tokens in part]).astype(np.int32),
        scored=scored,
        content=scored,
        lengths=counts + np.array([len(asked) for asked, _ in parts], dtype=np.int64),
        counts=counts,
        pad=prompts.pad,
    )
