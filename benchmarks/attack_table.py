"""What brings the forgotten back, model by model: `ofmu evaluate` and `ofmu attack` on what one original became.

    OFMU_DATA_DIR=… python benchmarks/attack_table.py --work DIR --models ofmu=DIR/ofmu-0 npo=DIR/npo-2 …

tofu-mini/full, forget10, with retain90 as the retrained model. A small fixed grid: one step size, two taught sets,
three seeds; int8, int4, nf4. With --sampling leak@k for k = 1, 2, 4, 8: 16 answers (n ≥ 2k, METRICS.md §2.7) of at most
64 tokens to each of 40 questions: a tenth of the cost of all 400 questions, and 64 tokens hold more than half of every
true answer (the longest has 116), so that each can leak. What the original and the retrained model do is
measured once. The same call goes on where it was stopped; benchmarks/results/tofu_attacks.json has the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

import ofmu
from ofmu.evaluation.attacks.sampling import DrawnAnswers
from ofmu.runs.attack_folder import RESULT, AttackFolder

ATTACKS = ("relearning", "quantisation")
SAMPLING = DrawnAnswers(samples=16, questions=40, max_new_tokens=64)
LEAKS = (1, 2, 4, 8)
OWN = "unlearned"


def main() -> None:
    """Measure what is missing, write the results and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", required=True, help="NAME=FOLDER")
    parser.add_argument("--work", type=Path, required=True, help="folder for runs and attacks")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sampling", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/tofu_attacks.json"))
    options = parser.parse_args()
    attacks = (*ATTACKS, *([SAMPLING] if options.sampling else []))
    rows: dict[str, Any] = json.loads(options.output.read_text()) if options.output.exists() else {}
    for given in options.models:
        name, source = given.split("=", 1)
        run = evaluated(options.work / name, source)
        folder = options.work / f"{name}-attacks"
        if not folder.exists():
            AttackFolder(folder, run).begin({}, tuple(range(options.seeds)))
            share(options.work, folder)
        ofmu.attack(run, attacks, folder, seeds=range(options.seeds))
        rows[name] = figures(json.loads((folder / RESULT).read_text()))
        options.output.write_text(json.dumps(rows, indent=1) + "\n")
        print(name, json.dumps(rows[name])[:400], flush=True)
    print(table(rows))


def evaluated(run: Path, model: str) -> Path:
    """The run that is attacked, made once."""
    data = Path(os.environ["OFMU_DATA_DIR"])
    models, tofu = data / "models/tofu-mini", data / "tofu"
    if not (run / "manifest.json").is_file():
        shutil.rmtree(run, ignore_errors=True)
        ofmu.evaluate(
            model,
            forget=str(tofu / "forget10.jsonl"),
            retain=str(tofu / "retain_perturbed.jsonl"),
            holdout=str(tofu / "holdout10.jsonl"),
            original=str(models / "full"),
            retrained=[str(models / "retain90")],
            output=run,
        )
    return run


def share(work: Path, folder: Path) -> None:
    """Take over what another folder has of original and retrained model: they are attacked in the same way."""
    for other in sorted(set(work.glob("*-attacks")) - {folder}):
        for file in other.rglob("*"):
            place = folder / file.relative_to(other)
            own = f".{OWN}." in file.name or file.name.startswith(f"{OWN}.")
            if file.is_file() and file.parent != other and not own and not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, place)


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """Headline and figures of each attack, without curves."""
    kept = ("headline", "figures", "value", "interval", "reason")
    return {
        name: {key: part for key, part in found.items() if key in kept} for name, found in result["attacks"].items()
    }


def table(rows: dict[str, Any]) -> str:
    """For each model the relearning gap, what each rounding gives back, and leak@k where answers were drawn."""
    columns = ("model", "relearning gap", "95 %", "int8", "int4", "nf4", *(f"leak@{k}" for k in LEAKS))
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for name, found in rows.items():
        headline = found["relearning"]["headline"]
        rounded = {
            each["variant"]: each["after"][OWN]
            for each in found["quantisation"]["figures"]
            if each["measure"] == "forget_probability"
        }
        bounds = " to ".join(f"{bound:.3f}" for bound in headline["interval"] or [])
        drawn = {each["variant"]: each["after"][OWN] for each in found.get("sampling", {}).get("figures", ())}
        cells = [f"{rounded[kind]:.4f}" for kind in ("int8", "int4", "nf4")]
        cells += [f"{drawn[leak]:.3f}" if (leak := f"leak@{k}") in drawn else "" for k in LEAKS]
        lines.append(f"| {name} | {headline['value']:.3f} | {bounds} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
