"""How much the choice of retain examples matters: conflict by nearness, and what each way of drawing them keeps.

    OFMU_DATA_DIR=… python benchmarks/retain_sampling.py --subjects tofu cifar --seeds 0 1 2

tofu: tofu-mini/full, forget10 forgotten, retain90 kept, holdout10 never seen, 480 gradients. cifar: the class *cat*
removed from ResNet-20, until that is reached. The retain set is cut into quarters by nearness to the forget set in the
model before (ofmu.engine.nearness). *Conflict* is the cosine of the whole forget set's gradient and a quarter's, before
unlearning and a quarter of the way. The arm *far only* is given the last quarter and nothing else: an off-topic retain
set. Results so far are kept: the same call goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import ofmu
from ofmu.core.vector import Vector
from ofmu.data.formats import read
from ofmu.engine.forward import Encoded
from ofmu.engine.loss import Draw
from ofmu.engine.nearness import nearness
from ofmu.engine.processes import Processes, processes
from ofmu.engine.task import Task
from ofmu.evaluation.scoring import score
from ofmu.evaluation.seeds import over_seeds
from ofmu.evaluation.statistics import auc
from ofmu.losses import nll
from ofmu.methods.ofmu import OFMU
from ofmu.models.loading import load
from ofmu.runs.config import Unlearn
from ofmu.runs.inputs import encoder, read_model, read_sets
from ofmu.runs.setup import prepare

CAT = 3
ARMS: dict[str, dict[str, Any]] = {
    "uniform": {},
    "near": {"retain_sampling": "near"},
    "mixed": {"retain_sampling": "mixed"},
    "far only": {},
}
MEASURES = {
    "tofu": {
        "forget_loss": "forget loss",
        "mia_loss": "loss attack",
        "retain_prob": "retain probability",
        "near_prob": "nearest quarter",
        "far_prob": "farthest quarter",
    },
    "cifar": {
        "forget_prob": "probability of the class",
        "retain_prob": "retain probability",
        "near_prob": "nearest quarter",
        "far_prob": "farthest quarter",
        "unseen_near": "unseen, nearest quarter",
        "unseen_far": "unseen, farthest quarter",
    },
}


@dataclass(frozen=True)
class Subject:
    """A model with what it is to forget and to keep.

    Args:
        model: where it lies.
        sets: forget, retain, and holdout (texts) or test (images).
        options: of every run.
        early: gradients after which the conflict is looked at again.
        stride: the retain examples that are measured: one of so many.
    """

    model: str
    sets: dict[str, Any]
    options: dict[str, Any]
    early: float
    stride: int = 1

    @cached_property
    def quarters(self) -> list[list[int]]:
        """The retain set's positions in four parts, the nearest first."""
        return quarters(self.nearness(self.sets))

    @cached_property
    def unseen(self) -> dict[str, Encoded]:
        """The nearest and the farthest quarter of the test images that are not of the forget set's class."""
        if "test" not in self.sets:
            return {}
        test = self.sets["test"].take(np.flatnonzero(self.sets["test"].labels != CAT).tolist())
        parts = quarters(self.nearness({"forget": self.sets["forget"], "retain": test}))
        encode = encoder(load(self.model), None)
        return {"unseen_near": encode(test.take(parts[0])), "unseen_far": encode(test.take(parts[-1]))}

    def nearness(self, sets: dict[str, Any]) -> np.ndarray:
        """Of each retain example of these sets, in the model before unlearning."""
        with processes(device="cpu", precision="fp32", parallel="auto") as ranks:
            return nearness(self.task(self.model, sets, ranks))

    def task(self, model: Any, sets: dict[str, Any], ranks: Processes) -> Task:
        """The task of a run before its first step."""
        config = Unlearn(model=model, tokenizer=self.tokenizer(model), method=OFMU(), **sets)
        loaded = read_model(config.model, config)
        return prepare(config, loaded, read_sets(config, loaded), ranks, cache=None).task

    def tokenizer(self, model: Any) -> str | None:
        """Of a language model in memory, which has none with it."""
        return None if isinstance(model, str) or "test" in self.sets else self.model

    def conflict(self, model: Any) -> dict[str, Any]:
        """Losses of the forget set and of each quarter of the retain set, and the cosines of their gradients."""
        with processes(device="cpu", precision="fp32", parallel="auto") as ranks:
            task = self.task(model, self.sets, ranks)
            forget, loss = gradient(task, "forget", range(len(task.data["forget"].ids)))
            found: dict[str, Any] = {"forget_loss": loss, "cosines": [], "retain_losses": []}
            for quarter in self.quarters:
                retain, loss = gradient(task, "retain", quarter)
                found["cosines"].append(float(forget.dot(retain) / (forget.norm() * retain.norm())))
                found["retain_losses"].append(loss)
        return found

    def early_conflict(self) -> dict[str, Any]:
        """The same a part of the way, of the arm `uniform`."""
        return self.conflict(self.run("uniform", 0, budget=self.early).model)

    def run(self, arm: str, seed: int, **more: Any) -> Any:
        """One unlearning."""
        sets = dict(self.sets)
        if arm == "far only":
            sets["retain"] = sets["retain"].take(self.quarters[-1])
        return ofmu.unlearn(self.model, **sets, **{**self.options, **ARMS[arm], **more}, seed=seed, evaluation=False)

    def measured(self, model: nn.Module) -> dict[str, float]:
        """Losses and probabilities of the sets, of the retain set's quarters, and of unseen images near and far."""
        encode = encoder(load(self.model), None)
        named: dict[str, Encoded] = {
            name: encode(self.sets[name]) for name in ("forget", "holdout") if name in self.sets
        }
        named |= {
            f"quarter {k}": encode(self.sets["retain"].take(part[:: self.stride]))
            for k, part in enumerate(self.quarters)
        }
        losses = {
            name: score(model, found, batch_size=64).means("nll") for name, found in (named | self.unseen).items()
        }
        probabilities = {name: float(np.exp(-each).mean()) for name, each in losses.items()}
        found = {"forget_loss": float(losses["forget"].mean()), "forget_prob": probabilities["forget"]}
        found |= {name: probabilities[name] for name in self.unseen}
        if "holdout" in losses:
            found |= {
                "holdout_loss": float(losses["holdout"].mean()),
                "mia_loss": auc(losses["forget"], losses["holdout"]),
            }
        parts = [probabilities[f"quarter {k}"] for k in range(4)]
        return found | {"retain_prob": float(np.mean(parts)), "near_prob": parts[0], "far_prob": parts[-1]}


def subjects(data: Path) -> dict[str, Subject]:
    """Both, from the folder of data."""
    texts = {"forget": "forget10", "retain": "retain90", "holdout": "holdout10"}
    train, test = (
        read(str(data / "cifar10" / f"{part}-00000-of-00001.parquet"), name=part) for part in ("train", "test")
    )
    images = {
        "forget": train.take(np.flatnonzero(train.labels == CAT).tolist()),
        "retain": train.take(np.flatnonzero(train.labels != CAT).tolist()),
        "test": test,
    }
    return {
        "tofu": Subject(
            str(data / "models" / "tofu-mini" / "full"),
            {name: read(str(data / "tofu" / f"{file}.jsonl"), name=name) for name, file in texts.items()},
            {"budget": 480},
            early=120,
            stride=4,
        ),
        "cifar": Subject(str(data / "models" / "resnet20_cifar10"), images, {}, early=76),
    }


def quarters(near: np.ndarray) -> list[list[int]]:
    """Positions in four parts, the nearest first."""
    return [sorted(part.tolist()) for part in np.array_split(np.argsort(-near, kind="stable"), 4)]


def gradient(task: Task, name: str, indices: Sequence[int]) -> tuple[Vector, float]:
    """Gradient and value of the mean loss of the tokens of a part of a set."""
    loss = task.loss(lambda rows, _: nll(rows), Draw(task.data[name], tuple(indices)), "tokens")
    found = task.derivatives().gradient(loss)
    return found, loss.value


def main() -> None:
    """Run what is missing, write the results and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", nargs="+", choices=["tofu", "cifar"], default=["cifar", "tofu"])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=[*ARMS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/retain_sampling.json"))
    options = parser.parse_args()
    rows: dict[str, Any] = json.loads(options.output.read_text()) if options.output.exists() else {}
    known = subjects(Path(os.environ["OFMU_DATA_DIR"]))

    def keep(key: str, find: Callable[[], Any]) -> None:
        if key not in rows:
            rows[key] = find()
            options.output.write_text(json.dumps(rows, indent=1) + "\n")
            print(key, rows[key], flush=True)

    for name in options.subjects:
        subject = known[name]
        keep(f"{name} | conflict before", partial(subject.conflict, subject.model))
        keep(f"{name} | conflict after {subject.early:g} gradients", subject.early_conflict)
        keep(f"{name} | before", partial(subject.measured, load(subject.model).model))
        for seed in options.seeds:
            for arm in options.arms:
                keep(f"{name} | {arm} | seed {seed}", partial(one, subject, arm, seed))
    print("\n\n".join([conflicts(rows), *(table(rows, name) for name in options.subjects)]))


def one(subject: Subject, arm: str, seed: int) -> dict[str, Any]:
    """One run, measured, with its cost."""
    run = subject.run(arm, seed)
    return subject.measured(run.model) | {name: run.manifest[name] for name in ("gradients", "forwards", "ended")}


def conflicts(rows: dict[str, Any]) -> str:
    """Cosine of the forget gradient with that of each quarter, and the quarter's loss."""
    lines = ["| | nearest quarter | second | third | farthest |", "|---" * 5 + "|"]
    for key, row in rows.items():
        if "conflict" in key:
            pairs = zip(row["cosines"], row["retain_losses"])
            lines.append(
                f"| {key.replace(' | conflict', ',')} | " + " | ".join(f"{c:+.2f} ({x:.2g})" for c, x in pairs) + " |"
            )
    return "\n".join(lines)


def table(rows: dict[str, Any], subject: str) -> str:
    """Mean ± standard deviation over seeds of each arm."""
    measures = MEASURES[subject]
    groups: dict[str, list[dict[str, Any]]] = {}
    for key, row in rows.items():
        if key.startswith(f"{subject} | ") and "conflict" not in key:
            groups.setdefault(key.split(" | ")[1], []).append(row)
    lines = ["| | seeds | " + " | ".join(measures.values()) + " |", "|---" * (len(measures) + 2) + "|"]
    for name, found in groups.items():
        cells = " | ".join(cell([row[measure] for row in found]) for measure in measures)
        lines.append(f"| {name} | {len(found)} | {cells} |")
    return "\n".join(lines)


def cell(values: list[float]) -> str:
    """Mean and spread of one measure."""
    seen = over_seeds(values)
    return f"{seen.mean:.3f}" + (f" ± {seen.sd:.3f}" if seen.sd is not None else "")


if __name__ == "__main__":
    main()
