"""The switches of OFMU one by one, at equal λ_eff and equal gradients; the inner problem solved against held softly.

    OFMU_DATA_DIR=… python benchmarks/ablation.py --seeds 0 1 2 --output benchmarks/results/ablation.json

tofu-mini/full forgets forget05 (10 authors), keeps retain95, holdout05 is never seen; retain95 is the retrained model.
Batches of 8, λ_eff held, one step size and the same number of gradients for all arms. Runs that are there are not
repeated. Differences to the arm `plain` are paired by seed, with t-intervals. The cheaper forms of a round:

    OFMU_DATA_DIR=… python benchmarks/ablation.py --forms --seeds 0 1 --output benchmarks/results/cheaper_forms.json
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from solved_inner import SolvedInner

import ofmu
from ofmu.data.formats import read
from ofmu.engine.method import Method
from ofmu.engine.objective import Objective
from ofmu.evaluation.scoring import score
from ofmu.evaluation.seeds import over_seeds
from ofmu.evaluation.statistics import auc
from ofmu.methods.ofmu import OFMU
from ofmu.models.loading import load
from ofmu.runs.inputs import encoder

HELD: dict[str, Any] = {
    "objective": Objective(name="level"),
    "balance": "fixed",
    "similarity": "none",
    "rho": 0.0,
}
"""What every arm has in common unless it says otherwise: a weighted sum, written as two loops, of a smooth loss."""

SIMILAR: dict[str, Any] = {"similarity": "squared_hinge", "margin": 0.0, "beta": 0.5}
PENALTY: dict[str, Any] = {"rho": 0.2}

ARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "similarity, against the last retain gradient": SIMILAR,
    "similarity, fresh": {**SIMILAR, "retain_direction": "fresh"},
    "cosine, fresh": {"similarity": "cosine", "beta": 0.5, "retain_direction": "fresh"},
    "penalty, guarded": PENALTY,
    "penalty, no guard": {**PENALTY, "guard": False},
    "similarity and guarded penalty": {**SIMILAR, **PENALTY},
    "projected": {"step": "projected", "similarity": "squared_hinge", "retain_direction": "fresh"},
    "inner problem: 4 steps a round": {"inner_steps": 4, "lambda_eff": 0.8},
    "inner problem: 12 steps a round": {"inner_steps": 12, "lambda_eff": 2.4},
    "plain, two Adam states": {"optimiser_states": "two"},
    "penalty, guarded, by the secant": {**PENALTY, "penalty_derivatives": "secant"},
}
"""Arm → options of the method; λ_eff is .2 where nothing else is said."""

BOTH: dict[str, Any] = {
    "similarity": "cosine",
    "beta": 0.5,
    "retain_direction": "fresh",
    "rho": 0.2,
    "inner_steps": 5,
    "lambda_eff": 1.0,
}
FORMS: dict[str, dict[str, Any]] = {
    "C2 forward": BOTH,
    "C4 secant": {**BOTH, "derivatives": "secant"},
    "C4 and C5": {**BOTH, "derivatives": "secant", "refresh_every": 5},
    "C0 exact": {**BOTH, "derivatives": "exact"},
}
"""The same round, both terms at work and five inner steps, in the forms of the table of costs."""

EXACT: dict[str, Method] = {
    "one inner step, in turns": SolvedInner(tolerance=None),
    "inner problem solved to .3": SolvedInner(tolerance=0.3),
    "inner problem solved to .1": SolvedInner(tolerance=0.1),
}
"""Arm → a method in which each gradient is a step, and the inner steps of a round are as many as they need be."""

MEASURES = ("forget_loss", "forget_prob", "retain_loss", "retain_prob", "mia_loss")


def main() -> None:
    """Run what is missing, write the results and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=[*ARMS, *EXACT])
    parser.add_argument("--forms", action="store_const", dest="arms", const=[*FORMS], help="the cheaper forms instead")
    parser.add_argument("--budget", type=float, default=480)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/ablation.json"))
    options = parser.parse_args()
    data = Path(os.environ["OFMU_DATA_DIR"])
    models = data / "models" / "tofu-mini"
    files = {"forget": "forget05", "retain": "retain95", "holdout": "holdout05"}
    paths = {name: str(data / "tofu" / f"{file}.jsonl") for name, file in files.items()}
    encode = encoder(load(str(models / "full")), None)
    sets = {name: encode(read(path, name=name)) for name, path in paths.items()}
    sets["retain"] = sets["retain"].take(range(0, len(sets["retain"]), 8))
    rows: dict[str, Any] = json.loads(options.output.read_text()) if options.output.exists() else {}
    for name in ("full", "retain95"):
        rows.setdefault(name, {}).setdefault("whole", measure(load(str(models / name)).model, sets))
    for seed in options.seeds:
        for arm in options.arms:
            if str(seed) in rows.setdefault(arm, {}):
                continue
            run = ofmu.unlearn(
                str(models / "full"),
                **paths,
                method=EXACT[arm] if arm in EXACT else OFMU(**{**HELD, **(ARMS | FORMS)[arm]}),
                seed=seed,
                budget=options.budget,
                batch_size=options.batch_size,
                evaluation=False,
            )
            cost = {key: run.manifest[key] for key in ("gradients", "seconds", "ended")}
            rows[arm][str(seed)] = {**measure(run.model, sets), **course(run.history), **cost}
            options.output.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
            print(arm, seed, rows[arm][str(seed)], flush=True)
    print(table(rows))


def measure(model: torch.nn.Module, sets: dict[str, Any]) -> dict[str, float]:
    """Losses, probabilities, and the AUC of the loss attack."""
    losses = {name: score(model, encoded, batch_size=64).means("nll") for name, encoded in sets.items()}
    found = {f"{name}_loss": float(values.mean()) for name, values in losses.items()}
    found |= {f"{name}_prob": float(np.exp(-values).mean()) for name, values in losses.items()}
    return found | {"mia_loss": auc(losses["forget"], losses["holdout"])}


def course(history: Any) -> dict[str, float | None]:
    """Mean ‖∇Φ‖ (stationarity), cosine, share of κ > 0 in the last third of the rounds; how often the guard acted."""
    lines = [line for line in history if not line.get("final")]
    late = lines[-len(lines) // 3 :]

    def mean(name: str, of: list[dict[str, Any]]) -> float | None:
        values = [float(line[name]) for line in of if line.get(name) is not None]
        return float(np.mean(values)) if values else None

    kappas = [line["kappa"] for line in late if line.get("kappa") is not None]
    return {
        "rounds": len(lines),
        "outer_steps": sum(line.get("retain_loss") is not None for line in lines),
        "late_norm_phi": mean("norm_phi", late),
        "late_similarity": mean("similarity", late),
        "kappa_positive": float(np.mean([k > 0 for k in kappas])) if kappas else None,
        "guarded": mean("guarded", lines),
    }


def table(rows: dict[str, Any]) -> str:
    """Mean ± standard deviation over seeds; of each arm the difference to `plain`, paired by seed, with interval."""
    lines = ["| arm | " + " | ".join(MEASURES) + " |", "|---" * (len(MEASURES) + 1) + "|"]
    for arm, found in rows.items():
        lines.append(f"| {arm} | " + " | ".join(cell(rows, arm, found, name) for name in MEASURES) + " |")
    return "\n".join(lines)


def cell(rows: dict[str, Any], arm: str, found: dict[str, Any], name: str) -> str:
    """One measure of one arm."""
    values = [row[name] for row in found.values()]
    if not values:
        return "–"
    seen = over_seeds(values)
    said = f"{seen.mean:.3f}" + (f" ± {seen.sd:.3f}" if seen.sd is not None else "")
    both = [seed for seed in found if seed in rows.get("plain", {})]
    if arm == "plain" or len(both) < 2:
        return said
    gap = over_seeds([found[seed][name] - rows["plain"][seed][name] for seed in both])
    assert gap.interval is not None
    return f"{said} ({gap.mean:+.3f}: {gap.interval[0]:+.3f} to {gap.interval[1]:+.3f})"


if __name__ == "__main__":
    main()
