"""Where each forget objective turns concave (42): the forget loss at which the bare penalty no longer undoes it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ofmu import ranges
from ofmu.errors import InputError, unknown
from ofmu.ranges import Range

if TYPE_CHECKING:
    from ofmu.benchmarks.memorised import Memorised

RUNNING = 10
"""Steps in a row with κ < 0 that count as a change of sign."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """`ofmu bench objectives`."""

    models: tuple[Literal["mlp", "llama", "clusters", "classifier"], ...] = ("mlp", "llama", "clusters")
    """`mlp`: a tanh network on points with random labels; `llama`: two layers on random sequences; `clusters`: a tanh
    network that is to lose one class of ten; `classifier`: one's own, likewise; all in float64."""
    seeds: Annotated[int, Range(ge=1, le=100)] = 3
    """Models of each kind, each with data of its own; of a classifier the first classes, one each."""
    classifier: str | None = None
    """Folder of an image classifier, for `--models classifier`."""
    images: str | None = None
    """Images that it was trained on: a file or folder."""
    count: Annotated[int, Range(ge=1)] = 32
    """Images of the class that are followed."""
    objectives: tuple[str, ...] = ()
    """Which objectives; left out: all that the model allows."""
    steps: Annotated[int, Range(ge=1)] = 400
    """Most steps along the gradient of an objective."""
    length: Annotated[float, Range(gt=0)] = 0.1
    """Length of a step in parameter space."""
    up_to: Annotated[float, Range(gt=0)] = 12.0
    """Forget loss, in nats, at which an objective is given up."""
    ceiling: Annotated[float, Range(gt=0)] = 2.0
    """C of `clip`, in nats."""


def run(options: Options, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Memorise, then ascend every objective alone, and watch the sign of κ = wᵀ∇²Φ w/‖w‖², w = ∇Φ, Φ = −F.

    Args:
        options: what to do.
        tell: is told what is going on.

    Returns:
        ``tables``: objective × model, the forget losses where κ turned negative for good (lowest and highest over the
        seeds), how many of the seeds turned, κ at the start, and how far those went that did not turn; ``runs``: each
        of them; ``seconds``; ``options``.

    Raises:
        InputError: an option cannot be used.
    """
    ranges.check(options)
    given = {"classifier" in options.models, options.classifier is not None, options.images is not None}
    if len(given) == 2:
        raise InputError("--models classifier, --classifier and --images go together: give all three or none")
    began = time.perf_counter()
    runs = [found for model in options.models for found in _of_model(model, options, tell)]
    return {
        "benchmark": "objectives",
        "tables": {"Where κ turns negative": _rows(runs)},
        "runs": runs,
        "seconds": time.perf_counter() - began,
        "options": asdict(options),
    }


def _of_model(model: str, options: Options, tell: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    from ofmu.benchmarks.memorised import objectives

    for seed in range(options.seeds):
        toy = _made(model, seed, options)
        known = objectives(toy, options.ceiling)
        for name in options.objectives or known:
            if name not in known:
                raise unknown("objective", name, known)
            found = _path(toy, known[name], options)
            tell(f"{model}, seed {seed}, {name}: " + _in_words(found))
            yield {"model": model, "seed": seed, "objective": name, **found}


def _made(model: str, seed: int, options: Options) -> Memorised:
    """The model of a kind and a seed, in its memorised state."""
    from ofmu.benchmarks import memorised

    if model == "classifier":
        assert options.classifier is not None
        assert options.images is not None
        return memorised.classifier(options.classifier, options.images, seed, options.count)
    return {"mlp": memorised.mlp, "llama": memorised.llama, "clusters": memorised.clusters}[model](seed)


def _path(toy: Any, objective: Callable[[Any], Any], options: Options) -> dict[str, Any]:
    """Steps of one length along ∇Φ from the memorised state, until κ has been negative for some steps."""
    from ofmu.core import Penalty, Phi, Problem, outer
    from ofmu.core.vector import Vector

    toy.reset()
    problem = Problem(toy.parameters, lambda: -objective(toy.rows()), toy.retain)
    nlls: list[float] = []
    kappas: list[float] = []
    for _ in range(options.steps):
        nll = toy.nll()
        found = outer(problem, Phi(beta=0.0), "exact", Penalty(rho=1.0))
        if found.kappa is None or found.inner is None or nll > options.up_to:
            break
        nlls.append(nll)
        kappas.append(found.kappa)
        if len(kappas) >= RUNNING and max(kappas[-RUNNING:]) < 0:
            break
        w = found.inner.gradient
        Vector(toy.parameters).add_(w, options.length / w.norm().item())
    turned = len(kappas) >= RUNNING and max(kappas[-RUNNING:]) < 0
    return {
        "start": nlls[0],
        "kappa_at_start": kappas[0],
        "turns_at": nlls[-RUNNING] if turned else None,
        "highest": max(nlls),
        "steps": len(nlls),
    }


def _rows(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for an objective and a model."""
    rows = []
    for model, name in dict.fromkeys((run["model"], run["objective"]) for run in runs):
        of = [run for run in runs if (run["model"], run["objective"]) == (model, name)]
        turns = [run["turns_at"] for run in of if run["turns_at"] is not None]
        rows.append(
            {
                "objective": name,
                "model": model,
                "start": statistics.fmean(run["start"] for run in of),
                "convex at the start": sum(run["kappa_at_start"] > 0 for run in of),
                "turned": len(turns),
                "of": len(of),
                "turns from": min(turns, default=None),
                "turns to": max(turns, default=None),
                "highest without a turn": max((run["highest"] for run in of if run["turns_at"] is None), default=None),
            }
        )
    return rows


def _in_words(found: dict[str, Any]) -> str:
    if found["turns_at"] is None:
        return f"no change of sign up to {found['highest']:.2f} nats"
    return f"κ < 0 from {found['turns_at']:.2f} nats on"
