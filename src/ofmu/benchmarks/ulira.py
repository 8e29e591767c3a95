"""U-LiRA on handwritten digits: can single unlearned images be told from images never seen?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from ofmu import ranges
from ofmu.errors import InputError
from ofmu.ranges import Range


@dataclass(frozen=True, kw_only=True)
class Options:
    """`ofmu bench ulira`."""

    method: Any = "ofmu"
    """Method with its options; `retrain` for exact unlearning, which the attack must not see through."""
    shadows: Annotated[int, Range(ge=4, le=1000)] = 16
    """Shadow models, an even number."""
    targets: Annotated[int, Range(ge=20, le=1000)] = 200
    """Images attacked, an even number; each model has seen and unlearned half of them."""
    retain: Annotated[int, Range(ge=20, le=1000)] = 200
    """Images that every model is trained on and keeps."""
    holdout: Annotated[int, Range(ge=0, le=1000)] = 100
    """Images that no model sees, for methods that forget towards a level."""
    mislabelled: bool = False
    """Give targets and holdout wrong labels, which a network must memorise: the attack's easiest case."""
    steps: Annotated[int, Range(ge=1)] = 150
    """Training steps of a model, 32 images each."""
    budget: Annotated[float, Range(gt=0)] = 60.0
    """Gradients of an unlearning."""
    seed: Annotated[int, Range(ge=0, le=10**9)] = 0
    """Seed of everything drawn."""
    output: str | None = None
    """Folder that keeps what was measured of each model; the same call goes on there. Left out: nothing is kept."""


def run(options: Options, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Train, unlearn and attack.

    Args:
        options: what to do.
        tell: is told what is going on.

    Returns:
        ``unlearned``: what the attack finds out (:meth:`ofmu.evaluation.u_lira.Attacked.as_dict`); ``trained``: the
        same before unlearning, the most that there was to hide, None for exact unlearning; ``privacy``: the share of
        the privacy gap; ``seconds`` by stage; ``options``.

    Raises:
        InputError: an option cannot be used.
        RunError: a model failed; what was made stays in the folder.
    """
    from ofmu.benchmarks import digits
    from ofmu.benchmarks.plain import plain
    from ofmu.evaluation import u_lira
    from ofmu.runs.ensembles.recipe import Material
    from ofmu.runs.ensembles.shadows import shadow_models

    ranges.check(options)
    if options.targets % 2:
        raise InputError(f"targets is {options.targets}, but must be even: half of them is forgotten at a time")
    wrong = options.targets + options.holdout if options.mislabelled else 0
    pool = digits.pool(options.seed, mislabelled=wrong)
    sizes = {"targets": options.targets, "holdout": options.holdout, "retain": options.retain}
    where = digits.parts(len(pool), **sizes)
    found = shadow_models(
        digits.recipe(options.method, steps=options.steps, budget=options.budget),
        Material(pool, {}, where["holdout"] if options.holdout else None),
        targets=where["targets"],
        keep=where["retain"],
        count=options.shadows,
        seed=options.seed,
        folder=None if options.output is None else Path(options.output),
        tell=tell,
    )

    def attacked(phi: Any) -> u_lira.Attacked:
        ratios = u_lira.crossfit(phi, found.arm, found.folds)
        return u_lira.attack(ratios, found.arm, found.folds, ids=found.ids, clusters=found.clusters)

    unlearned = attacked(found.unlearned)
    return plain(
        {
            "benchmark": "ulira",
            "unlearned": unlearned.as_dict(),
            "trained": None if found.trained is None else attacked(found.trained).as_dict(),
            "privacy": unlearned.advantage,
            "seconds": found.seconds,
            "options": {**asdict(options), "method": str(options.method)},
        }
    )
