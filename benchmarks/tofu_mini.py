"""Every method on tofu-mini/full: forget10 forgotten, retain90 kept, holdout10 never seen; equal gradients, seeds.

    OFMU_DATA_DIR=… python benchmarks/tofu_mini.py --seeds 0 1 2 --budget 480 --output benchmarks/results/tofu_mini.json

Measured on the whole forget set and holdout and on every fourth retain example (900 of 3,600). Results so far are kept:
a run that is there already is not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path

import numpy as np
import torch

import ofmu
from ofmu.data.formats import read
from ofmu.evaluation.scoring import score
from ofmu.evaluation.statistics import auc
from ofmu.models.loading import load
from ofmu.runs.inputs import encoder

METHODS = ("ofmu", "grad_ascent", "grad_diff", "npo", "simnpo")
COLUMNS = (
    "forget_loss",
    "forget_prob",
    "retain_loss",
    "retain_prob",
    "holdout_loss",
    "mia_loss",
    "gradients",
    "seconds",
)


def measure(model: torch.nn.Module, sets: dict) -> dict[str, float]:
    """Losses and probabilities on the whole sets, and the AUC of the loss attack."""
    losses = {name: score(model, encoded, batch_size=64).means("nll") for name, encoded in sets.items()}
    found = {f"{name}_loss": float(values.mean()) for name, values in losses.items()}
    found |= {f"{name}_prob": float(np.exp(-values).mean()) for name, values in losses.items()}
    return found | {"mia_loss": auc(losses["forget"], losses["holdout"])}


def main() -> None:
    """Run what is missing, write the results and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--budget", type=float, default=480)
    parser.add_argument("--models", type=Path, help="folder that keeps the unlearned models, for further measurements")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/tofu_mini.json"))
    options = parser.parse_args()
    data = Path(os.environ["OFMU_DATA_DIR"])
    models = data / "models" / "tofu-mini"
    files = {"forget": "forget10", "retain": "retain90", "holdout": "holdout10"}
    paths = {name: str(data / "tofu" / f"{file}.jsonl") for name, file in files.items()}
    encode = encoder(load(str(models / "full")), None)
    sets = {name: encode(read(path, name=name)) for name, path in paths.items()}
    sets["retain"] = sets["retain"].take(range(0, len(sets["retain"]), 4))
    rows = json.loads(options.output.read_text()) if options.output.exists() else {}
    for name in ("full", "retain90"):
        if name not in rows:
            rows[name] = measure(load(str(models / name)).model, sets)
    for seed in options.seeds:
        for method in options.methods:
            key = f"{method} seed {seed} budget {options.budget:g}"
            if key in rows:
                continue
            run = ofmu.unlearn(
                str(models / "full"), **paths, method=method, seed=seed, budget=options.budget, evaluation=False
            )
            cost = {key: run.manifest[key] for key in ("gradients", "forwards", "seconds", "ended")}
            if options.models is not None:
                place = options.models / f"{method}-{seed}"
                run.model.save_pretrained(place)
                load(str(models / "full")).tokenizer.save_pretrained(place)
            rows[key] = {**measure(run.model, sets), **cost}
            options.output.write_text(json.dumps(rows, indent=1) + "\n")
            print(key, rows[key], flush=True)
    print(table(rows))


def table(rows: dict[str, dict]) -> str:
    """Mean ± standard deviation over seeds, as Markdown."""
    groups: dict[str, list[dict]] = {}
    for key, row in rows.items():
        groups.setdefault(key.split(" seed ")[0], []).append(row)
    lines = ["| run | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, found in groups.items():
        lines.append(f"| {name} | " + " | ".join(_cell(found, column) for column in COLUMNS) + " |")
    return "\n".join(lines)


def _cell(rows: list[dict], column: str) -> str:
    values = [row[column] for row in rows if column in row]
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


if __name__ == "__main__":
    main()
