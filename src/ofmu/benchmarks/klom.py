"""KLoM on handwritten digits: do unlearned models answer as retrained ones do, image by image?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from ofmu import ranges
from ofmu.ranges import Range

SETS = ("forget", "retain", "validation")
FEW = 50
"""Models below which histograms of 20 bins are mostly empty, and the null is most of the value."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """`ofmu bench klom`."""

    method: Any = "ofmu"
    """Method with its options; `retrain` for exact unlearning, whose excess is 0 but for chance."""
    models: Annotated[int, Range(ge=2, le=1000)] = 8
    """Unlearned models N; there are 2 N oracles, so that the null has N on either side. Published numbers: 100."""
    forget: Annotated[int, Range(ge=10, le=1000)] = 100
    """Images to forget, the same for all models."""
    retain: Annotated[int, Range(ge=20, le=1000)] = 300
    """Images to keep."""
    holdout: Annotated[int, Range(ge=0, le=1000)] = 100
    """Images that no model sees, for methods that forget towards a level."""
    validation: Annotated[int, Range(ge=10, le=1000)] = 300
    """Images that no model sees, measured only."""
    mislabelled: bool = False
    """Give forget set and holdout wrong labels, which a network must memorise."""
    steps: Annotated[int, Range(ge=1)] = 150
    """Training steps of a model, 32 images each."""
    budget: Annotated[float, Range(gt=0)] = 60.0
    """Gradients of an unlearning."""
    seed: Annotated[int, Range(ge=0, le=10**9)] = 0
    """Seed of everything drawn."""
    output: str | None = None
    """Folder that keeps what was measured of each model; the same call goes on there. Left out: nothing is kept."""


def run(options: Options, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Train oracles and models, unlearn, and compare margins.

    Args:
        options: what to do.
        tell: is told what is going on.

    Returns:
        ``unlearned``: set → summaries of KLoM, its null and the excess, as
        :meth:`ofmu.evaluation.klom.AgainstNull.as_dict`; ``trained``: the same of the models before unlearning, None
        for exact unlearning; ``note``: what the number of models allows; ``seconds``; ``options``.

    Raises:
        InputError: an option cannot be used.
        RunError: a model failed; what was made stays in the folder.
    """
    from ofmu.benchmarks import digits
    from ofmu.benchmarks.plain import plain
    from ofmu.evaluation.klom import against_null
    from ofmu.runs.ensembles.oracles import oracles_and_unlearned
    from ofmu.runs.ensembles.recipe import Material

    ranges.check(options)
    pool = digits.pool(options.seed, mislabelled=options.forget + options.holdout if options.mislabelled else 0)
    sizes = {name: getattr(options, name) for name in ("forget", "holdout", "retain", "validation")}
    where = digits.parts(len(pool), **sizes)
    found = oracles_and_unlearned(
        digits.recipe(options.method, steps=options.steps, budget=options.budget),
        Material(pool, {name: where[name] for name in SETS}, where["holdout"] if options.holdout else None),
        forget=where["forget"],
        retain=where["retain"],
        count=options.models,
        seed=options.seed,
        folder=None if options.output is None else Path(options.output),
        tell=tell,
    )

    def compared(phi: dict[str, Any]) -> dict[str, Any]:
        return {name: against_null(found.oracles[name], phi[name], found.clusters[name]).as_dict() for name in SETS}

    return plain(
        {
            "benchmark": "klom",
            "unlearned": compared(found.unlearned),
            "trained": None if found.originals is None else compared(found.originals),
            "note": _note(options.models),
            "seconds": found.seconds,
            "options": {**asdict(options), "method": str(options.method)},
        }
    )


def _note(models: int) -> str | None:
    if models >= FEW:
        return None
    return (
        f"{models} models are too few for histograms: the null is far above 0 and hides small differences; read the "
        "twin of two fitted normals, and never compare across numbers of models"
    )
