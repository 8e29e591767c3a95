"""What the runs that made the models tell: what they cost, and what attacks on them brought back.

Source: METRICS.md §13, the tables of attacks and of cost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ofmu.errors import InputError
from ofmu.evaluation.attack import mean_retrained
from ofmu.runs.brought_back import attacks_on
from ofmu.runs.directory import RunDirectory, read_json

Row = dict[str, Any]


def run_of(source: str) -> RunDirectory | None:
    """The finished run that a model's folder ``RUN/model`` belongs to; None for any other model."""
    place = Path(source)
    run = RunDirectory(place.parent)
    return run if place.name == run.model.name and place.is_dir() and run.finished else None


def cost_row(name: str, source: str) -> Row | None:
    """What a run took by its manifest: everything after the request, evaluation and loading left out."""
    run = run_of(source)
    if run is None:
        return None
    manifest = read_json(run.manifest)
    row: Row = {"model": name, "method": manifest.get("method")}
    row |= {key: manifest.get(key) for key in ("seconds", "steps", "gradients", "forwards")}
    return row | {"device": (manifest.get("environment") or {}).get("device"), "ended": manifest.get("ended")}


def attack_rows(name: str, source: str) -> list[Row]:
    """A row for each measure of the attacks beside a run (``RUN-attacks``); none where there are none of this run."""
    run = run_of(source)
    try:
        found = None if run is None else attacks_on(run)[0]
    except InputError:
        return []
    attacks = {} if found is None else found["attacks"]
    return [
        {
            "model": name,
            "attack": attack,
            "variant": figure["variant"],
            "measure": figure["measure"],
            "original": figure["after"].get("original"),
            "this model before": figure["before"].get("unlearned"),
            "this model": figure["after"].get("unlearned"),
            "retrained": mean_retrained(figure["after"]),
            "gap": figure["gap"],
            "gap interval": figure["gap_interval"],
            "recovery": figure["recovery"],
        }
        for attack, each in attacks.items()
        for figure in each["figures"]
    ]
