"""Saving the model of a run, and reading back what was saved: what is measured is what the user gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ofmu.engine.processes import Processes
from ofmu.models import sharding
from ofmu.models.loaded import Loaded
from ofmu.models.loading import load
from ofmu.models.saving import save
from ofmu.models.weights import fingerprint


@dataclass(frozen=True)
class After:
    """A model read back, placed.

    Args:
        model: in evaluation mode.
        fingerprint: of its weights.
    """

    model: nn.Module
    fingerprint: str


def save_and_reload(
    loaded: Loaded, placed: nn.Module, folder: Path, ranks: Processes, config: Any, *, card: str, merged: bool
) -> After:
    """Write the model's folder and read it again.

    Args:
        loaded: the model with its tokenizer or processor and the dtype it came in.
        placed: the same model on this rank.
        folder: where to.
        ranks: the processes; the main one writes.
        config: the run's configuration, for the flags of reading.
        card: text of the model card.
        merged: save the whole model instead of an adapter.
    """
    state = sharding.full_state(ranks.unwrap(placed)) if ranks.sharded else None
    if ranks.main:
        save(loaded, folder, card=card, merge=merged, state=state)
    ranks.wait()
    if isinstance(loaded.model, nn.Module) and not _reloadable(loaded):
        return After(placed, fingerprint(ranks.unwrap(placed)))
    again = load(
        folder,
        tokenizer=loaded.tokenizer,
        trust_remote_code=config.trust_remote_code,
        allow_pickle=config.allow_pickle,
    )
    model = again.model.to(ranks.device)
    model.eval()
    return After(model, again.fingerprint)


def _reloadable(loaded: Loaded) -> bool:
    """A plain torch module in memory has no class that a folder could name."""
    from transformers import PreTrainedModel

    from ofmu.models.adapters import is_adapted

    return isinstance(loaded.model, PreTrainedModel) or is_adapted(loaded.model)
