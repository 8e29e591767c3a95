"""A realistic run and two stories to draw: figures of the size that a small language model gives."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ofmu.report.story import Estimate, MethodRow, Plane, ShownExample, Story, StoryColumn


@dataclass
class Run:
    """The arguments of ``page.write``, to be changed by a test before it writes."""

    title: str = "Unlearning 40 records from tofu-mini with ofmu"
    config: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    distributions: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    shown: list[ShownExample] | None = None
    ids: dict[str, list[str]] | None = None
    log_ratios: dict[str, dict[str, list[float]]] | None = None
    membership: dict[str, dict[str, tuple[list[float], list[float]]]] | None = None
    brought_back: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)

    def without_role(self, *roles: str) -> Run:
        self.metrics["scores"] = [s for s in self.metrics["scores"] if s["role"] not in roles]
        for role in roles:
            self.distributions.pop(role, None)
            (self.log_ratios or {}).pop(role, None)
            for roles_of_attack in (self.membership or {}).values():
                roles_of_attack.pop(role, None)
        return self

    def without_set(self, name: str) -> Run:
        for sets in self.distributions.values():
            sets.pop(name, None)
        if name == "holdout":
            self.membership = {}
        return self


DRAWINGS = 7 + 5 + 2 + 10  # of the run: a metric each, outcome, relearning, course


_VALUES = {  # metric → original, unlearned, retrained, half-width of the interval, direction
    "forget_loss": (0.0812, 5.831, 5.93, 0.21, "as_retrained"),
    "forget_probability": (0.925, 0.0072, 0.0069, 0.002, "as_retrained"),
    "forget_exact_memorization": (0.981, 0.232, 0.241, 0.02, "as_retrained"),
    "mia_loss": (1.0, 0.726, 0.686, 0.06, "as_retrained"),
    "retain_loss": (0.0702, 0.0788, 0.0301, 0.004, "down"),
    "retain_probability": (0.937, 0.926, 0.977, 0.006, "up"),
    "holdout_loss": (7.42, 7.91, 6.83, 0.3, "as_retrained"),
}


def score(name: str, role: str, value: float | None, **more: Any) -> dict[str, Any]:
    """A score of metrics.json."""
    base = {"name": name, "role": role, "mode": "correct", "version": 1, "reference": None, "excluded": {}}
    base |= {"half": "report", "value": value, "interval": None, "n": 200, "clusters": 10, "reason": None}
    return base | {"direction": "as_retrained", "gap": None} | more


def _scores() -> list[dict[str, Any]]:
    found = []
    for name, (original, unlearned, retrained, half, direction) in _VALUES.items():
        for role, value in (("original", original), ("unlearned", unlearned), ("retrained", retrained)):
            gap = unlearned - retrained if role == "unlearned" else None
            ends = [max(value / 2, value - half), min(1.0, value + half) if value <= 1 else value + half]
            found.append(score(name, role, value, interval=ends, gap=gap, direction=direction))
    return found


def _history(steps: int = 240) -> list[dict[str, Any]]:
    generator = np.random.default_rng(3)
    lines = []
    for step in range(1, steps + 1):
        done = 1 - np.exp(-step / 60)
        noise = generator.normal(size=4)
        line: dict[str, Any] = {
            "step": step,
            "forget_loss": float(0.08 + 5.8 * done * np.exp(0.1 * noise[0])),
            "retain_loss": float(0.07 * np.exp(0.2 * noise[1]) + 0.15 * done * np.exp(-step / 40)),
            "similarity": float(0.35 - 0.6 * done + 0.08 * noise[2]),
            "norm_forget": float(np.exp(0.2 * noise[3]) * (0.4 + 3 * done)),
            "norm_retain": float(0.3 * np.exp(0.2 * noise[0])),
            "norm_phi": float(0.5 + 3 * done),
            "kappa": float(1.5 - 3 * done) if step % 4 == 0 else None,
            "guarded": step < 60,
            "rho": 0.01 * 1.01**step,
            "beta": 0.1,
            "lambda_eff": 0.2,
            "learning_rate": 6.5e-4 * min(1, step / 24) * (1 - step / (steps + 1)),
            "gradients": 2.0 * step,
            "forwards": 40,
            "seconds": 0.8 * step,
        }
        if step % 20 == 0:
            line["checks"] = {
                "forget_loss": 5.9 * done,
                "retain_loss": 0.071 + 0.06 * done * np.exp(-step / 60),
                "agreement": float(min(0.4, 1e-6 * 10 ** (step / 40))),
                "progress": float(done),
                "retain_excess": 0.02 * float(done),
                "reached": step > 200,
            }
        lines.append(line)
    return [*lines, {"step": steps, "final": True, "checks": lines[-1]["checks"]}]


def _losses() -> dict[str, dict[str, list[float]]]:
    generator = np.random.default_rng(5)
    means = {  # role → median loss of forget, retain, holdout
        "original": (0.07, 0.06, 7.2),
        "unlearned": (5.8, 0.07, 7.7),
        "retrained": (5.9, 0.028, 6.7),
    }
    sizes = {"forget": 40, "retain": 400, "holdout": 200}
    return {
        role: {
            name: (median * np.exp(generator.normal(size=size) * 0.4)).tolist()
            for (name, size), median in zip(sizes.items(), medians, strict=True)
        }
        for role, medians in means.items()
    }


def _log_ratios() -> dict[str, dict[str, list[float]]]:
    generator = np.random.default_rng(6)
    medians = {"original": (-3.0, -3.1), "unlearned": (-0.4, -2.9), "retrained": (-0.3, -3.2)}
    return {
        role: {name: (median + generator.normal(size=40)).tolist() for name, median in zip(("forget", "retain"), pair)}
        for role, pair in medians.items()
    }


def _membership() -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    generator = np.random.default_rng(7)
    shifts = {"original": 8.0, "unlearned": 0.8, "retrained": 0.3}
    return {
        name: {
            role: (generator.normal(size=40).tolist(), (generator.normal(size=80) + shift * share).tolist())
            for role, shift in shifts.items()
        }
        for name, share in (("mia_loss", 1.0), ("mia_zlib", 0.8), ("mia_min_k", 0.6), ("mia_min_k_plus_plus", 0.4))
    }


def attacked(measure: str, variant: str, *, unlearned: float, retrained: float, **more: Any) -> dict[str, Any]:
    """A figure of attacks.json."""
    before = {"original": 0.9, "unlearned": 0.01, "retrained": 0.007}
    after = {"original": 0.9, "unlearned": unlearned, "retrained": retrained}
    base = {"variant": variant, "measure": measure, "before": before, "after": after, "gap": unlearned - retrained}
    return base | {"gap_interval": None, "recovery": 0.1, "reason": None, "details": {}} | more


def attacks() -> dict[str, Any]:
    """attacks.json: relearning with two settings, quantisation, and one that was left out."""
    steps = [0, 1, 2, 4, 8, 16, 32, 64]
    starts = {"unlearned": 5.8, "original": 0.08, "retrained": 5.9}
    falls = {"unlearned": 3.0, "original": 0.0, "retrained": 1.2}
    curves = [
        {"name": "relearning", "role": role, "seed": seed, "taught": taught, "rate": 0.02, "steps": steps,
         "loss": [starts[role] - falls[role] * (k + seed) / 8 for k in range(len(steps))]}
        for role in starts for seed in (0, 1) for taught in ("cluster", "5%")
    ]  # fmt: skip
    parts = [{"taught": taught, "rate": 0.02, "value": value} for taught, value in (("cluster", 0.312), ("5%", 0.2))]
    gap = {"name": "relearning_gap", "value": 0.312, "interval": [0.25, 0.4], "direction": "down", "parts": parts}
    rounded = [attacked("forget_probability", v, unlearned=0.02, retrained=0.008) for v in ("int8", "int4", "nf4")]
    rounded.append(attacked("mia_loss", "int4", unlearned=0.71, retrained=0.68))
    taught = attacked("untaught_forget_loss", "cluster, r 0.02", unlearned=3.1, retrained=4.8)
    return {
        "run": "run",
        "models": {"unlearned": "11", "original": "12", "retrained": "13"},
        "seeds": [0, 1],
        "attacks": {
            "relearning": {"figures": [taught], "curves": curves, "headline": gap | {"reason": None}, "notes": []},
            "quantisation": {"figures": rounded, "curves": [], "headline": None, "notes": ["rounded in float"]},
        },
        "left_out": {"probe": "there is no holdout set"},
        "notes": ["single retrained model"],
    }


@pytest.fixture
def run() -> Run:
    """A finished run with everything there."""
    verdict = {
        "forgotten": True,
        "over_forgotten": False,
        "utility_kept": None,
        "against": "retrained",
        "words": "The 40 records are forgotten: loss and attack are within 0.1 of a model retrained without them. "
        "Whether abilities were kept is undecided: the retained answers lost 1.1 points of probability "
        "(0.937 to 0.926), retraining reached 0.977.",
    }
    return Run(
        config={
            "model": "models/tofu-mini/full",
            "method": {
                "name": "ofmu",
                "beta": 0.1,
                "rho": 0.01,
                "inner_steps": 1,
                "similarity": "squared_hinge",
            },
            "forget": "forget10.jsonl",
            "retain": "retain90.jsonl",
            "holdout": "holdout10.jsonl",
            "retrained": ["models/tofu-mini/retain90"],
            "seed": 0,
            "budget": 480,
            "lora": None,
        },
        manifest={
            "ended": "finished: the level was reached at step 200, then 40 more steps while the step size fell.",
            "files": {"config.yaml": "a3" * 32, "history.jsonl": "0f" * 32, "metrics.json": "7b" * 32},
            "model": {"sha256": "11" * 32, "name": "tofu-mini"},
            "data": {"forget": "22" * 32, "retain": "33" * 32},
            "versions": {"python": "3.11.2", "torch": "2.13.0", "ofmu": "0.1.0"},
            "hardware": {"cpu": "x86_64, 2 cores", "gpu": None},
            "seeds": [0],
        },
        metrics={
            "scores": _scores(),
            "verdict": verdict,
            "cost": {"gradients": 480, "forwards": 40, "seconds": 192.4, "peak_mb": 912.0},
        },
        history=_history(),
        distributions=_losses(),
        log_ratios=_log_ratios(),
        membership=_membership(),
        brought_back=attacks(),
        ids={
            "forget": [f"author-181/question-{i:02d}" for i in range(40)],
            "retain": [f"retain-{i:04d}" for i in range(400)],
            "holdout": [f"holdout-{i:03d}" for i in range(200)],
        },
    )


def png(size: int = 8) -> bytes:
    """A small grey PNG."""
    pixels = np.random.default_rng(0).integers(0, 255, size=(size, size), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _row(method: str, values: dict[str, tuple[float, float]], kind: Any = "method", *cost: float) -> MethodRow:
    estimates = {key: Estimate(mean, spread) for key, (mean, spread) in values.items()}
    return MethodRow(method, estimates, *(cost or (None, None)), kind=kind)


@pytest.fixture
def stories() -> list[Story]:
    """The demo's two stories; a rival wins a column of the first."""
    images = Story(
        name="Images: wrong labels that were memorised",
        question="A tenth of the training labels of handwritten digits is wrong, and the classifier has learnt "
        "them by heart. Does forgetting those images give the true labels back?\n\nThe retrained model never "
        "saw the wrong labels.",
        columns=[
            StoryColumn("forget", "True label on the forgotten images"),
            StoryColumn("test", "Test accuracy", "up"),
            StoryColumn("gap", "Gap of the confidence attack", "down"),
        ],
        rows=[
            _row("before", {"forget": (0.0, 0.0), "test": (0.928, 0.004)}, "before"),
            _row(
                "ofmu",
                {"forget": (0.951, 0.01), "test": (0.981, 0.004), "gap": (0.03, 0.01)},
                "method",
                240,
                6.1,
            ),
            _row(
                "grad_ascent",
                {"forget": (0.31, 0.2), "test": (0.29, 0.2), "gap": (0.5, 0.1)},
                "method",
                240,
                4.2,
            ),
            _row(
                "grad_diff",
                {"forget": (0.92, 0.02), "test": (0.93, 0.01), "gap": (0.21, 0.03)},
                "method",
                240,
                4.4,
            ),
            _row(
                "npo",
                {"forget": (0.981, 0.006), "test": (0.996, 0.002), "gap": (0.05, 0.02)},
                "method",
                240,
                4.6,
            ),
            _row(
                "simnpo",
                {"forget": (0.94, 0.01), "test": (0.97, 0.01), "gap": (0.08, 0.01)},
                "method",
                240,
                4.5,
            ),
            _row("retrained without the data", {"forget": (0.98, 0.005), "test": (0.988, 0.003)}, "retrained"),
        ],
        verdict="NPO gives the true labels back most exactly; ofmu comes within 0.03 of the retrained model.",
        seeds=3,
        plane=Plane(
            "accuracy of the true label, forgotten images",
            "test accuracy",
            {
                "ofmu": [(0, 0.928), (0.4, 0.94), (0.8, 0.97), (0.951, 0.981)],
                "npo": [(0, 0.928), (0.5, 0.97), (0.981, 0.996)],
                "grad_diff": [(0, 0.928), (0.6, 0.91), (0.92, 0.93)],
                "grad_ascent": [(0, 0.928), (0.2, 0.6), (0.31, 0.29)],
                "simnpo": [(0, 0.928), (0.6, 0.95), (0.94, 0.97)],
            },
            (0.98, 0.988),
        ),
        shown=[ShownExample(f"digit {i}", png(), "said 7", "said 1", "said 1", truth="1") for i in range(3)],
    )
    text = Story(
        name="Text: four people are forgotten",
        question="A small Llama has learnt facts about fictitious people. It must forget four of them.",
        columns=[
            StoryColumn("loss", "Loss on the forgotten facts"),
            StoryColumn("kept", "Probability of the kept facts", "up"),
        ],
        rows=[
            MethodRow("before", {"loss": Estimate(0.05), "kept": Estimate(0.97)}, kind="before"),
            MethodRow("ofmu", {"loss": Estimate(4.1), "kept": Estimate(0.95)}, 160, 41.0),
            MethodRow("grad_ascent", {"loss": Estimate(83.2), "kept": Estimate(0.02)}, 160, 38.0),
            MethodRow("npo", {"loss": Estimate(2.2), "kept": Estimate(None, reason="the run diverged")}, 160, 40.0),
            MethodRow(
                "retrained without the data",
                {"loss": Estimate(4.3), "kept": Estimate(0.97)},
                kind="retrained",
            ),
        ],
        verdict="ofmu ends where retraining ends.",
        distributions=_losses(),
    )
    return [images, text]
