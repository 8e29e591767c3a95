"""The forward passes over texts: those that begin alike as trees, the others as padded batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ofmu.data.tokens import TokenSet
from ofmu.engine.forward import innermost, logits_at, rows_with_content
from ofmu.evaluation.passes import Pass, Piece, batches
from ofmu.evaluation.prefix_trees import Tree, trees
from ofmu.evaluation.token_statistics import TokenStatistics, token_statistics

AGREE = 1e-4  # nats: what another way of computing may change


def text_passes(model: nn.Module, encoded: TokenSet, batch_size: int, device: torch.device) -> list[Pass]:
    """Passes over all examples, each with at most ``batch_size`` of them (or one tree), the longest first.

    Args:
        model: a causal language model in evaluation mode.
        encoded: the examples.
        batch_size: ≥ 1.
        device: where the model is.
    """
    grown = _shared(encoded) if _can_be_told(model, device) else []
    if grown and not _agrees(model, encoded, grown, device):
        grown = []
    alone = np.ones(len(encoded), dtype=bool)
    alone[[member for tree in grown for member in tree.members]] = False
    left = np.flatnonzero(alone)
    left = left[np.argsort(-encoded.lengths[left], kind="stable")]
    found: list[Pass] = [partial(_tree_piece, model, encoded, some, device) for some in _filled(grown, batch_size)]
    return found + [partial(_batch_piece, model, encoded, some, device) for some in batches(left, batch_size)]


def _shared(encoded: TokenSet) -> list[Tree]:
    """Trees of several examples, the largest first. No example's last token: nothing after it is predicted."""
    grown = trees([encoded.tokens[encoded.part(number)][:-1] for number in range(len(encoded))])
    return sorted((tree for tree in grown if len(tree.members) > 1), key=len, reverse=True)


def _filled(grown: Sequence[Tree], batch_size: int) -> Iterator[list[Tree]]:
    """Trees in portions with at most ``batch_size`` members, or of one tree."""
    portion, size = [], 0
    for tree in grown:
        if portion and size + len(tree.members) > batch_size:
            yield portion
            portion, size = [], 0
        portion.append(tree)
        size += len(tree.members)
    if portion:
        yield portion


def _can_be_told(model: nn.Module, device: torch.device) -> bool:
    """Whether a model is of a kind that can be told which token sees which, and precise enough to check that it did.

    A language model of ``transformers`` in which every token sees all before it, with the caller's mask and positions,
    in float32 or wider.
    """
    inner: Any = innermost(model)
    config = getattr(inner, "config", None)
    tuned = getattr(model, "active_peft_config", None)  # prompt tuning puts tokens in front
    return (
        getattr(type(inner), "_supports_attention_backend", False)
        and getattr(config, "_attn_implementation", None) in ("sdpa", "eager")
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
        and not any(getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
        and not getattr(tuned, "is_prompt_learning", False)
        and not torch.is_autocast_enabled(device.type)
        and all(p.dtype in (torch.float32, torch.float64) for p in inner.parameters() if p.is_floating_point())
    )


def _agrees(model: nn.Module, encoded: TokenSet, grown: Sequence[Tree], device: torch.device) -> bool:
    """Whether a tree gives what its members give one by one: the smallest one in which texts part."""
    parting = [tree for tree in grown if len(tree) > max(map(len, tree.paths))]
    tree = min(parting or grown, key=lambda each: sum(map(len, each.paths)))
    as_tree = _tree_piece(model, encoded, [tree], device)
    plainly = _batch_piece(model, encoded, np.asarray(tree.members), device)
    pairs = zip(*(piece.columns["nll"][np.argsort(piece.example, kind="stable")] for piece in (as_tree, plainly)))
    return all(abs(one - other) <= AGREE * max(1.0, abs(other)) for one, other in pairs)


def _batch_piece(model: nn.Module, encoded: TokenSet, chosen: NDArray[np.int64], device: torch.device) -> Piece:
    rows, content = rows_with_content(model, encoded.batch(chosen.tolist()).to(device))
    statistics = token_statistics(rows.logits, rows.labels)
    return _piece(chosen[rows.example.cpu().numpy()], statistics, content.cpu().numpy(), rows.logits.shape[1])


def _tree_piece(model: nn.Module, encoded: TokenSet, grown: Sequence[Tree], device: torch.device) -> Piece:
    """One row of logits for each distinct beginning, however many tokens it predicts."""
    width = max(map(len, grown))
    example, place, node = _scored(grown, encoded, width)
    nodes, row = np.unique(node, return_inverse=True)
    at, labels, rows = (torch.from_numpy(each).long().to(device) for each in (nodes, encoded.tokens[place], row))
    logits = logits_at(model, _inputs(model, grown, encoded.pad, width, device), at // width, at % width)
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


def _scored(grown: Sequence[Tree], encoded: TokenSet, width: int) -> tuple[NDArray, NDArray, NDArray]:
    """Of each scored token its example, its place in all tokens, and the node before it (tree · width + node)."""
    examples, places, nodes = [], [], []
    for number, tree in enumerate(grown):
        for member, path in zip(tree.members, tree.paths):
            part = encoded.part(member)
            before = np.flatnonzero(encoded.scored[part][1:])
            examples.append(np.full(len(before), member))
            places.append(part.start + 1 + before)
            nodes.append(number * width + path[before])
    return np.concatenate(examples), np.concatenate(places), np.concatenate(nodes)


def _inputs(model: nn.Module, grown: Sequence[Tree], pad: int, width: int, device: torch.device) -> dict[str, Tensor]:
    """Nodes as tokens (B, N), their depths as positions, and a mask (B, 1, N, N) to be added to attention scores."""
    ids = np.full((len(grown), width), pad, dtype=np.int64)
    depths = np.zeros_like(ids)
    visible = np.zeros((len(grown), 1, width, width), dtype=bool)
    visible[:, 0, np.arange(width), np.arange(width)] = True  # padding sees itself: no row is empty
    for number, tree in enumerate(grown):
        ids[number, : len(tree)], depths[number, : len(tree)] = tree.tokens, tree.depths()
        visible[number, 0, : len(tree), : len(tree)] |= tree.visible()
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    hidden = torch.from_numpy(~visible).to(device)
    mask = torch.zeros(hidden.shape, dtype=dtype, device=device).masked_fill_(hidden, torch.finfo(dtype).min)
    places = torch.from_numpy(depths).to(device)
    return {"input_ids": torch.from_numpy(ids).to(device), "position_ids": places, "attention_mask": mask}
