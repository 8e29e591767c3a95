"""What comes back of a forgotten set when a part of it is taught again: OFMU with and without what may remove it.

    OFMU_DATA_DIR=… python benchmarks/removal.py --forms plain robust --seeds 0 1 2 --budget 480

tofu-mini/full, forget10 forgotten, retain90 kept, holdout10 never seen, batches of 16, equal gradients. Then the
relearning attack at r = .02 for 64 steps, with the seed of the run: 5 % of the forget set and one author of it are
taught, and the loss of 160 examples not taught is followed, in this model and in the retrained one. Forget set and
holdout are measured whole, the retain set at every fourth example. Results so far are kept: the same call goes on
where it was stopped, and benchmarks/results/removal.json has the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ofmu
from ofmu.data.formats import read
from ofmu.engine.checks import per_example
from ofmu.engine.forward import Encoded
from ofmu.engine.processes import processes
from ofmu.evaluation.attacks.relearning import grid, taught_positions
from ofmu.evaluation.metrics.mia_loss import MiaLoss
from ofmu.evaluation.metrics.mia_min_k import MiaMinK
from ofmu.evaluation.metrics.mia_min_k_plus_plus import MiaMinKPlusPlus
from ofmu.evaluation.metrics.mia_zlib import MiaZlib
from ofmu.evaluation.relearning_curves import relearning_gap
from ofmu.evaluation.scoring import score
from ofmu.evaluation.statistics import auc
from ofmu.models.loading import load
from ofmu.models.scale import spectral_scale
from ofmu.runs.inputs import encoder
from ofmu.runs.relearn import teach

MEAN = {"objective": {"name": "level"}}
FORMS: dict[str, dict[str, Any]] = {
    "plain": {"preset": "default"},
    "plain, level of the mean": {"preset": "default", **MEAN},
    "robust": {"preset": "robust"},
    "robust, level of the mean": {"preset": "robust", "retain_band": 0.01, "band_opening": 1.0, **MEAN},
    "robust, band 1 %, opening 3": {"preset": "robust", "retain_band": 0.01, "band_opening": 3.0},
    "robust, constant band": {"preset": "robust", "retain_band": 0.01, "band_opening": 1.0},
    "robust, constant band .5 %": {"preset": "robust", "band_opening": 1.0, "retain_band": 0.005},
    "robust, constant band .8 %": {"preset": "robust", "band_opening": 1.0, "retain_band": 0.008},
    "sam, radius .5 %": {"sam_radius": 0.005},
    "projected": {"step": "projected"},
}
"""What is compared, as options of `ofmu`."""

FILES = {"forget": "forget10", "retain": "retain90", "holdout": "holdout10"}
TAUGHT, RATE, STEPS, BATCH, WATCHED = ("5%", "cluster"), 0.02, 64, 8, 160
PART = 32
ATTACKS = (MiaLoss(), MiaMinK(), MiaMinKPlusPlus(), MiaZlib())


@dataclass(frozen=True)
class Bench:
    """Models and data, read once."""

    data: Path

    @cached_property
    def paths(self) -> dict[str, str]:
        """Of the three sets."""
        return {name: str(self.data / "tofu" / f"{file}.jsonl") for name, file in FILES.items()}

    @cached_property
    def sets(self) -> dict[str, Encoded]:
        """The three sets, every fourth example of the retain set."""
        encode = encoder(load(self.model("full")), None)
        sets = {name: encode(read(path, name=name)) for name, path in self.paths.items()}
        return sets | {"retain": sets["retain"].take(range(0, len(sets["retain"]), 4))}

    @cached_property
    def learning_rate(self) -> float:
        """Of the attack, by the scale of the original model."""
        return RATE * spectral_scale(load(self.model("full")).model)

    def model(self, name: str) -> str:
        """Where a model lies."""
        return str(self.data / "models" / "tofu-mini" / name)

    def losses(self, model: torch.nn.Module, examples: Encoded) -> np.ndarray:
        """The mean loss of each example."""
        with processes(device="cpu", precision="fp32", parallel="auto") as ranks:
            return per_example(model, examples, range(len(examples)), processes=ranks, meter=None, part_size=PART)

    def attacks(self, model: torch.nn.Module) -> dict[str, float]:
        """AUC of the membership attacks on loss, least likely tokens (two forms) and compressed size."""
        records = [score(model, self.sets[name], batch_size=64) for name in ("forget", "holdout")]
        scores = {attack.name: [attack.values(record) for record in records] for attack in ATTACKS}
        return {name: auc(forget.values, holdout.values) for name, (forget, holdout) in scores.items()}

    def lesson(self, taught: str, seed: int) -> tuple[Encoded, Encoded]:
        """What is taught, and what is watched."""
        forget = self.sets["forget"]
        chosen = taught_positions(forget.clusters, taught, seed)
        others = np.array(sorted(set(range(len(forget))) - set(chosen)))
        watched = sorted(np.random.default_rng(seed).permutation(others)[:WATCHED].tolist())
        return forget.take(chosen), forget.take(watched)

    def curve(self, model: torch.nn.Module, taught: str, seed: int) -> list[float]:
        """The loss of what is watched, step by step."""
        lesson, watched = self.lesson(taught, seed)
        settings = {"learning_rate": self.learning_rate, "batch_size": BATCH, "seed": seed}
        course = teach(model, lesson, steps=grid(STEPS, len(lesson), BATCH), **settings)
        return [float(self.losses(model, watched).mean()) for _ in course]

    def references(self, seed: int) -> dict[str, Any]:
        """The retrained model's curves, and where the original's begin."""
        original, retrained = (load(self.model(name)).model.eval() for name in ("full", "retain90"))
        return {
            taught: {
                "original": float(self.losses(original, self.lesson(taught, seed)[1]).mean()),
                "retrained": self.curve(retrained, taught, seed),
            }
            for taught in TAUGHT
        }

    def measured(self, model: torch.nn.Module, seed: int, references: dict[str, Any]) -> dict[str, Any]:
        """Forgetting, retention, and what relearning brings back."""
        model.eval()
        losses = {name: self.losses(model, examples) for name, examples in self.sets.items()}
        row: dict[str, Any] = {f"{name}_loss": float(each.mean()) for name, each in losses.items()}
        row |= {f"{name}_prob": float(np.exp(-each).mean()) for name, each in losses.items()}
        row |= self.attacks(model)
        for taught, reference in references.items():
            course = self.curve(model, taught, seed)
            steps = grid(STEPS, len(self.lesson(taught, seed)[0]), BATCH)
            retrained = reference["retrained"]
            gap = relearning_gap(steps, np.array(course), np.array(retrained), reference["original"], retrained[0])
            row |= {f"gap {taught}": float(gap), f"curve {taught}": course}
        return row | {"relearning_gap": max(row[f"gap {taught}"] for taught in references)}


def main() -> None:
    """Run what is missing, write the results and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=["plain", "robust"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budget", type=float, default=480)
    parser.add_argument("--models", type=Path, help="folder that keeps the unlearned models, for further measurements")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/removal.json"))
    options = parser.parse_args()
    bench = Bench(Path(os.environ["OFMU_DATA_DIR"]))
    rows: dict[str, Any] = json.loads(options.output.read_text()) if options.output.exists() else {}
    for seed in options.seeds:
        for form in options.forms:
            run(bench, rows, form, seed, options)
    print(table(rows))


def run(bench: Bench, rows: dict[str, Any], form: str, seed: int, options: argparse.Namespace) -> None:
    """One run and its attack, unless it is there."""
    key, reference = f"{form} | budget {options.budget:g} | seed {seed}", f"reference | seed {seed}"
    if key in rows:
        return
    if reference not in rows:
        rows[reference] = bench.references(seed)
    method = {"name": "ofmu", **FORMS[form]}
    found = ofmu.unlearn(
        bench.model("full"), **bench.paths, method=method, seed=seed, budget=options.budget, evaluation=False
    )
    if options.models is not None:
        place = options.models / f"{form.replace(' ', '-')}-{seed}"
        found.model.save_pretrained(place)
        load(bench.model("full")).tokenizer.save_pretrained(place)
    cost = {name: found.manifest[name] for name in ("gradients", "forwards", "steps", "seconds", "ended")}
    rows[key] = {**bench.measured(found.model, seed, rows[reference]), **cost}
    options.output.write_text(json.dumps(rows, indent=1) + "\n")
    print(key, {name: value for name, value in rows[key].items() if "curve" not in name}, flush=True)


COLUMNS = ("relearning_gap", "gap 5%", "gap cluster", "retain_prob", "forget_loss", "forget_prob", "mia_loss")


def table(rows: dict[str, Any]) -> str:
    """Mean ± standard deviation over seeds, as Markdown."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for key, row in rows.items():
        if not key.startswith("reference"):
            groups.setdefault(key.rsplit(" | ", 1)[0], []).append(row)
    lines = ["| form | seeds | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for name, found in groups.items():
        cells = " | ".join(_cell([row[column] for row in found]) for column in COLUMNS)
        lines.append(f"| {name.replace(' | ', ', ')} | {len(found)} | {cells} |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


if __name__ == "__main__":
    main()
