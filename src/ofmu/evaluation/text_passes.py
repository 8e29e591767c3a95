"""The forward passes over texts: those that begin alike as trees, the others as padded batches."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ofmu.data.tokens import TokenSet
from ofmu.engine.forward import innermost, logits_at, rows_with_content
from ofmu.evaluation.branches import Branches, attending
from ofmu.evaluation.passes import Pass, Piece, batches
from ofmu.evaluation.prefix_trees import Tree, trees
from ofmu.evaluation.token_statistics import TokenStatistics, token_statistics

LONGEST = 512  # tokens of a text in a tree: there, each token is held against all before it
AGREE = 1e-4  # nats: what another way of computing may change
_OTHERWISE = ("sliding_window", "attention_chunk_size", "attn_logit_softcapping", "sub_configs")  # of a configuration


def text_passes(model: nn.Module, encoded: TokenSet, batch_size: int, device: torch.device) -> list[Pass]:
    """Passes over all examples, each over ``batch_size`` of them, the longest first.

    Args:
        model: a causal language model in evaluation mode.
        encoded: the examples.
        batch_size: ≥ 1.
        device: where the model is.
    """
    short = encoded.lengths <= LONGEST if _can_be_told(model, device) else np.zeros(len(encoded), dtype=bool)
    if short.any() and not _agrees(model, encoded, np.flatnonzero(short), device):
        short[:] = False
    found: list[Pass] = []
    left = np.flatnonzero(~short)
    left = left[np.argsort(-encoded.lengths[left], kind="stable")]
    found += [partial(_batch_piece, model, encoded, some, device) for some in batches(left, batch_size)]
    grown = sorted(_trees(encoded, np.flatnonzero(short), batch_size), key=len, reverse=True)
    return found + [partial(_tree_piece, model, encoded, tree, device) for tree in grown]


def _trees(encoded: TokenSet, chosen: NDArray[np.int64], most: int) -> list[Tree]:
    """Trees of these examples. No example's last token: nothing after it is predicted."""
    grown = trees([encoded.tokens[encoded.part(number)][:-1] for number in chosen], most)
    return [replace(tree, members=tuple(int(chosen[member]) for member in tree.members)) for tree in grown]


def _can_be_told(model: nn.Module, device: torch.device) -> bool:
    """Whether a model is of a kind that can be told which token sees which, and precise enough to check that it did.

    A language model of ``transformers`` in which every token sees all before it, with the caller's positions and an
    attention that is looked up by name, in float32 or wider.
    """
    inner: Any = innermost(model)
    config = getattr(inner, "config", None)
    tuned = getattr(model, "active_peft_config", None)  # prompt tuning puts tokens in front
    return (
        getattr(type(inner), "_supports_attention_backend", False)
        and getattr(config, "_attn_implementation", None) in ("sdpa", "eager")
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
        and not any(getattr(config, name, None) for name in _OTHERWISE)
        and not getattr(tuned, "is_prompt_learning", False)
        and not torch.is_autocast_enabled(device.type)
        and all(p.dtype in (torch.float32, torch.float64) for p in inner.parameters() if p.is_floating_point())
    )


def _agrees(model: nn.Module, encoded: TokenSet, chosen: NDArray[np.int64], device: torch.device) -> bool:
    """Whether a tree gives what its members give one by one: that of two short texts that part."""
    two = _parting(encoded, chosen)
    (tree,) = _trees(encoded, two, most=2)
    as_tree, plainly = _tree_piece(model, encoded, tree, device), _batch_piece(model, encoded, two, device)
    pairs = zip(*(piece.columns["nll"][np.argsort(piece.example, kind="stable")] for piece in (as_tree, plainly)))
    return all(abs(one - other) <= AGREE * max(1.0, abs(other)) for one, other in pairs)


def _parting(encoded: TokenSet, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """The shortest text, and the next one of which it is not the beginning (which would make no branch)."""
    first, *others = chosen[np.argsort(encoded.lengths[chosen], kind="stable")]
    begun = encoded.tokens[encoded.part(first)][:-1]
    for other in others:
        if not np.array_equal(encoded.tokens[encoded.part(other)][: len(begun)], begun):
            return np.array([first, other])
    return np.array([first, *others[:1]])


def _batch_piece(model: nn.Module, encoded: TokenSet, chosen: NDArray[np.int64], device: torch.device) -> Piece:
    rows, content = rows_with_content(model, encoded.batch(chosen.tolist()).to(device))
    statistics = token_statistics(rows.logits, rows.labels)
    return _piece(chosen[rows.example.cpu().numpy()], statistics, content.cpu().numpy(), rows.logits.shape[1])


def _tree_piece(model: nn.Module, encoded: TokenSet, tree: Tree, device: torch.device) -> Piece:
    """One row of logits for each distinct beginning, however many tokens it predicts."""
    example, place, node = _scored(tree, encoded)
    nodes, row = np.unique(node, return_inverse=True)
    given = {"input_ids": tree.tokens[None], "position_ids": tree.depths()[None]}
    inputs = {name: torch.from_numpy(each).to(device) for name, each in given.items()}
    at, labels, rows = (torch.from_numpy(each).long().to(device) for each in (nodes, encoded.tokens[place], row))
    with attending(innermost(model), Branches.of(tree, device)):
        logits = logits_at(model, inputs, torch.zeros_like(at), at)
    return _piece(example, token_statistics(logits, labels, rows), encoded.content[place], logits.shape[1])


def _piece(example: NDArray[np.int64], statistics: TokenStatistics, content: NDArray, classes: int) -> Piece:
    starts = np.flatnonzero(np.diff(example, prepend=-1))  # the rows of an example lie together
    position = np.arange(len(example)) - np.repeat(starts, np.diff(starts, append=len(example)))
    columns = {
        "position": position.astype(np.int32),
        "nll": -statistics.log_p.cpu().double().numpy(),
        "z": statistics.z.cpu().double().numpy(),
        "correct": statistics.correct.cpu().numpy(),
        "content": content,
    }
    return Piece(example, columns, classes)


def _scored(tree: Tree, encoded: TokenSet) -> tuple[NDArray, NDArray, NDArray]:
    """Of each scored token its example, its place in all tokens, and the node before it."""
    examples, places, nodes = [], [], []
    for member, path in zip(tree.members, tree.paths):
        part = encoded.part(member)
        before = np.flatnonzero(encoded.scored[part][1:])
        examples.append(np.full(len(before), member))
        places.append(part.start + 1 + before)
        nodes.append(path[before])
    return np.concatenate(examples), np.concatenate(places), np.concatenate(nodes)
