"""A few steps of fine-tuning on what was forgotten: does the rest of it come back, and faster than by learning it anew?

Source: METRICS.md §12.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ofmu.data.examples import Examples
from ofmu.engine.forward import Encoded
from ofmu.errors import InputError, unknown
from ofmu.evaluation import statistics
from ofmu.evaluation.attack import Attacked, Compared, Figure, Findings, ModelAttack, Target, figure
from ofmu.evaluation.record import Record
from ofmu.evaluation.relearning_curves import Curve, area, headline, steps_to_half

TAUGHT = ("cluster", "5%", "10%", "all", "retain")
"""What may be taught."""

EXAMPLES = 20
"""Examples of whole clusters that are taught together (an author of TOFU has 20)."""

MEASURED = 400
"""Examples of either kind that are measured at most."""


@dataclass(frozen=True)
class Relearning(ModelAttack):
    """Teach the model a few forgotten examples and watch the others, step by step.

    AdamW with a constant step size, batches of 8, no weight decay, no dropout, batch statistics frozen; the same
    examples in the same order for every model. Measured on forget examples not taught, and on those taught apart.

    Taught: `cluster` whole clusters up to 20 examples, never more than half of the forget set; `5%`, `10%`, `all` of
    its examples; `retain` examples of the retain set only. A step size is a share r of the original model's scale
    (without one, of the unlearned one's); models of 10⁹ parameters and more take 1e-5, 2e-5, 5e-5 for r = .005, .02,
    .05.

    Headline: the relearning gap, in [0, 1]; see :func:`ofmu.evaluation.relearning_curves.relearning_gap`.

    Source: METRICS.md §12.
    """

    taught: tuple[str, ...] = ("cluster", "5%")
    """What is taught, one curve each."""
    rates: tuple[float, ...] = (0.02,)
    """r, share of the model's scale that a step has."""
    steps: int = 64
    """Steps of teaching; measured at 0, 1, 2, 4, 8 … and after one pass over what is taught."""
    batch_size: int = 8
    """Examples of one step."""

    def __post_init__(self) -> None:
        for name in self.taught:
            if name not in TAUGHT:
                raise unknown("set to be taught", name, TAUGHT)
        if self.steps < 1 or self.batch_size < 1 or not self.rates or min(self.rates) <= 0:
            raise InputError("relearning: steps and batch_size must be >= 1, rates > 0")

    def impossible(self, examples: Mapping[str, Examples]) -> str | None:
        """Two examples are needed, one to teach and one to watch."""
        return None if len(examples["forget"]) > 1 else "the forget set has one example only"

    def run(self, target: Target) -> Attacked:
        """One curve for each seed, set taught and step size."""
        curves = [
            self._curve(target, taught, rate, seed)
            for seed in target.seeds
            for taught in self.taught
            for rate in self.rates
        ]
        return Attacked({"curves": curves})

    def _curve(self, target: Target, taught: str, rate: float, seed: int) -> dict[str, Any]:
        forget = target.sets["forget"]
        chosen = taught_positions(forget.clusters, taught, seed)
        others = sorted(set(range(len(forget))) - set(chosen))
        lesson = _of_retain(target.sets["retain"], seed) if taught == "retain" else forget.take(chosen)
        watched = {"": _some(forget, others, seed), "taught_": _some(forget, chosen, seed)}
        steps = grid(self.steps, len(lesson), self.batch_size)
        found: dict[str, list[Record]] = {name: [] for name in watched}
        teaching = target.teach(
            target.model,
            lesson,
            steps=steps,
            learning_rate=target.learning_rate(rate),
            batch_size=self.batch_size,
            seed=seed,
        )
        for _ in teaching:
            for name, encoded in watched.items():
                if encoded is not None:
                    found[name].append(target.score(encoded))
        return {
            "name": "relearning",
            "role": target.role,
            "seed": seed,
            "taught": taught,
            "rate": rate,
            "learning_rate": target.learning_rate(rate),
            "taught_examples": len(lesson),
            "epoch_at": math.ceil(len(lesson) / self.batch_size),
            "steps": list(steps),
            **{f"{name}{key}": value for name, records in found.items() for key, value in _course(records).items()},
            "by_cluster": _by_cluster(found[""]),
        }

    def compare(self, attacked: Mapping[str, Attacked], compared: Compared) -> Findings:
        """What came back at the last step, the area between the curves, and the headline."""
        curves = [curve for each in attacked.values() for curve in each.facts["curves"]]
        figures = [
            each
            for taught in self.taught
            for rate in self.rates
            for each in _figures(taught, rate, [c for c in curves if (c["taught"], c["rate"]) == (taught, rate)])
        ]
        shown = tuple({key: value for key, value in curve.items() if key != "by_cluster"} for curve in curves)
        return Findings(tuple(figures), shown, headline(curves))


# Planning


def taught_positions(clusters: Sequence[str], taught: str, seed: int) -> list[int]:
    """Positions of the forget examples that are taught; a pure function of the clusters and the seed.

    Args:
        clusters: the cluster of each forget example.
        taught: ``cluster``: whole clusters in a drawn order, as long as they are no more than 20 examples, the first
            one cut to 20 if it is larger; never more than half of the set. ``5%``, ``10%``, ``all``: a drawn share of
            the examples, at least one. ``retain``: none.
        seed: draws.
    """
    count = len(clusters)
    draw = statistics.generator("relearning", taught, str(seed))
    if taught == "retain":
        return []
    if taught == "all":
        return list(range(count))
    if taught != "cluster":
        share = float(taught.removesuffix("%")) / 100
        return sorted(draw.permutation(count)[: max(1, round(share * count))].tolist())
    most = min(EXAMPLES, max(1, count // 2))
    members: dict[str, list[int]] = {}
    for position, name in enumerate(clusters):
        members.setdefault(name, []).append(position)
    chosen: list[int] = []
    names = sorted(members)
    for index in draw.permutation(len(names)):
        group = members[names[index]]
        if not chosen:
            chosen = group[:most]
        elif len(chosen) + len(group) <= most:
            chosen = chosen + group
    return sorted(chosen)


def grid(steps: int, taught: int, batch_size: int) -> tuple[int, ...]:
    """0, 1, 2, 4, 8 … and the last step, and the end of the first pass where that comes before.

    >>> grid(16, 20, 8)
    (0, 1, 2, 3, 4, 8, 16)
    """
    powers = {2**k for k in range(steps.bit_length()) if 2**k <= steps}
    epoch = math.ceil(taught / batch_size)
    return tuple(sorted({0, steps, *powers, *([epoch] if epoch <= steps else [])}))


SHARES = {0.005: 1e-5, 0.02: 2e-5, 0.05: 5e-5}
"""r → step size of models of 10⁹ parameters and more."""

LARGE = 10**9


def step_size(rate: float, scale: float, parameters: int) -> float:
    """η = r · scale; for models of 10⁹ parameters and more the public step sizes.

    Args:
        rate: r.
        scale: of the model's weights, :func:`ofmu.models.scale.spectral_scale`.
        parameters: how many the model has.

    Raises:
        InputError: a large model, and r is none of .005, .02 and .05.

    >>> step_size(0.02, 0.01, 10**6), step_size(0.02, 0.01, 10**9)
    (0.0002, 2e-05)
    """
    if parameters < LARGE:
        return rate * scale
    if rate not in SHARES:
        raise InputError(f"relearning: rate {rate:g} is not defined for a model of 10⁹ parameters: .005, .02 or .05")
    return SHARES[rate]


def _of_retain(retain: Encoded, seed: int) -> Encoded:
    draw = statistics.generator("relearning", "retain", str(seed))
    return retain.take(sorted(draw.permutation(len(retain))[:512].tolist()))


def _some(forget: Encoded, positions: Sequence[int], seed: int) -> Encoded | None:
    """The examples at these positions, at most 400 of them; None for none."""
    if not positions:
        return None
    if len(positions) > MEASURED:
        draw = statistics.generator("relearning", "measured", str(seed))
        positions = sorted(np.asarray(positions)[draw.permutation(len(positions))[:MEASURED]].tolist())
    return forget.take(list(positions))


def _course(records: Sequence[Record]) -> dict[str, Any]:
    """Mean loss and mean probability of the examples, step by step; empty without examples."""
    losses = [record.means("nll") for record in records]
    return {
        "loss": [_finite(each.mean()) for each in losses],
        "prob": [_finite(np.exp(-each).mean()) for each in losses],
        "n": len(records[0]) if records else 0,
    }


def _by_cluster(records: Sequence[Record]) -> dict[str, Any]:
    """Sum of the losses of each cluster, step by step: {cluster: [examples, [Σλ at each step]]}."""
    if not records:
        return {}
    clusters = np.array(records[0].clusters)
    losses = np.stack([record.means("nll") for record in records])  # (S, n)
    return {
        str(name): [int((clusters == name).sum()), [_finite(v) for v in losses[:, clusters == name].sum(axis=1)]]
        for name in dict.fromkeys(clusters.tolist())
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


# Comparing


def _figures(taught: str, rate: float, curves: Sequence[Curve]) -> list[Figure]:
    """The last step of untaught and taught examples, means over the seeds."""
    found = []
    for kind in ("", "taught_"):
        if not all(curve[f"{kind}loss"] for curve in curves):
            continue
        for measure in ("loss", "prob"):
            before, after = ({r: _mean(curves, r, kind + measure, at) for r in _roles(curves)} for at in (0, -1))
            details = _details(curves, kind + measure) if not kind and measure == "loss" else {}
            name = f"{'taught' if kind else 'untaught'}_forget_{'probability' if measure == 'prob' else measure}"
            found.append(figure(_variant(taught, rate), name, before, after, details=details))
    return found


def _details(curves: Sequence[Curve], measure: str) -> dict[str, Any]:
    """Area, steps until half is back, for each seed."""
    steps = curves[0]["steps"]
    by_role = {role: _mean_course(curves, role, measure) for role in _roles(curves)}
    ours, others = by_role.get("unlearned"), [c for role, c in by_role.items() if role.startswith("retrained")]
    facts: dict[str, Any] = {"last_step": steps[-1], "seeds": len({curve["seed"] for curve in curves})}
    if ours is None or not others or any(c is None for c in others):
        return facts
    retrained = np.mean([c for c in others if c is not None], axis=0)
    facts["area"] = area(steps, ours, retrained)
    facts["mean_gap"] = facts["area"] / math.log2(1 + steps[-1])
    original = by_role.get("original")
    if original is not None:
        span = original[0], retrained[0]
        facts["steps_to_half"] = steps_to_half(steps, ours, *span)
        facts["retrained_steps_to_half"] = steps_to_half(steps, list(retrained), *span)
    return facts


def _variant(taught: str, rate: float) -> str:
    return f"{taught}, r {rate:g}"


def _roles(curves: Sequence[Curve]) -> list[str]:
    return list(dict.fromkeys(curve["role"] for curve in curves))


def _mean(curves: Sequence[Curve], role: str, measure: str, at: int) -> float | None:
    course = _mean_course(curves, role, measure)
    return None if course is None else float(course[at])


def _mean_course(curves: Sequence[Curve], role: str, measure: str) -> list[float] | None:
    """The mean over seeds at each step; None where a value is missing."""
    found = [curve[measure] for curve in curves if curve["role"] == role]
    if not found or any(value is None for course in found for value in course):
        return None
    return np.mean(np.array(found, dtype=float), axis=0).tolist()
