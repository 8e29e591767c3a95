"""What models do on the examples that are reported: records of original, unlearned, retrained and base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ofmu.engine.forward import Encoded
from ofmu.engine.processes import Processes
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records
from ofmu.evaluation.scoring import score_sets
from ofmu.models.loaded import Loaded
from ofmu.runs.answering import Further
from ofmu.runs.inputs import Sets, others, read_model
from ofmu.runs.listener import Listener


def reported(sets: Sets, seed: int) -> dict[str, Encoded]:
    """Set → the examples that are measured: all to be forgotten, the reporting half of every other set."""
    found: dict[str, Encoded] = {}
    for name, encoded in sets.encoded.items():
        found[name] = encoded if name == "forget" else encoded.take(_measured(sets, name, seed))
    for name, encoded in list(found.items()):
        found |= sets.views(name, encoded.ids)
    return found


def _measured(sets: Sets, name: str, seed: int) -> list[int]:
    """The reporting half; of images both, since attacks on them are fitted on the half that steers."""
    chosen = set(sets.half(name, "report", seed=seed))
    if sets.encoded[name].modality == "image":
        chosen |= set(sets.half(name, "steer", seed=seed))
    return sorted(chosen)


def measure(
    model: nn.Module,
    chosen: dict[str, Encoded],
    *,
    processes: Processes,
    batch_size: int,
    fingerprint: str,
) -> dict[str, Record]:
    """Set → record of a placed model; the ranks share the passes and all get all records."""
    measured = {name: encoded for name, encoded in chosen.items() if len(encoded.ids)}
    with processes.autocast():
        return score_sets(
            model,
            measured,
            batch_size=batch_size,
            device=processes.device,
            fingerprint=fingerprint,
            ranks=processes,
        )


def measure_others(
    records: Records,
    config: Any,
    chosen: dict[str, Encoded],
    *,
    processes: Processes,
    batch_size: int,
    listener: Listener,
    more: Further | None = None,
) -> dict[str, str]:
    """Add the records of the models to compare with, one model in memory at a time; `more`: further passes.

    Returns:
        Role → fingerprint of the model.
    """
    fingerprints = {}
    for role, source in others(config).items():
        if processes.main:
            listener.note(f"measuring the {role} model")
        loaded = read_model(source, config)
        with loaded.handed_back():
            measure_one(records, role, loaded, chosen, processes=processes, batch_size=batch_size, more=more)
        fingerprints[role] = loaded.fingerprint
    return fingerprints


def measure_one(
    records: Records,
    role: str,
    loaded: Loaded,
    chosen: dict[str, Encoded],
    *,
    processes: Processes,
    batch_size: int,
    more: Further | None = None,
) -> None:
    """Add the records of one model; `more`: further passes."""
    model = loaded.model.to(processes.device)
    found = measure(model, chosen, processes=processes, batch_size=batch_size, fingerprint=loaded.fingerprint)
    if more is not None:
        found = more.add(found, loaded, processes)
    for name, record in found.items():
        records.add(role, name, record)


def save_records(records: Records, folder: Path) -> None:
    """Write all records into a folder, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    records.save(folder)


def distributions(records: Records) -> tuple[dict[str, dict[str, list[float]]], dict[str, list[str]]]:
    """For the report: role → set → mean loss of each example, and set → ids in the same order."""
    losses: dict[str, dict[str, list[float]]] = {}
    ids: dict[str, list[str]] = {}
    for (role, name), record in records.items():
        losses.setdefault(role, {})[name] = record.means("nll").tolist()
        ids[name] = list(record.ids)
    return losses, ids
