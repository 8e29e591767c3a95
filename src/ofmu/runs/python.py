"""The same runs from Python: models and data as paths or in memory, options as keywords."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ofmu.data.images import Transform
from ofmu.engine.method import Method
from ofmu.runs import stored
from ofmu.runs.evaluate import evaluate as _evaluate
from ofmu.runs.finetune import finetune as _finetune
from ofmu.runs.listener import Listener
from ofmu.runs.result import Result
from ofmu.runs.unlearn import unlearn as _unlearn

Place = str | os.PathLike[str]


def unlearn(
    model: Any,
    forget: Any = None,
    retain: Any = None,
    *,
    holdout: Any = None,
    method: str | dict[str, Any] | Method = "ofmu",
    output: Place | None = None,
    transform: Transform | None = None,
    resume: bool = False,
    listener: Listener | None = None,
    **options: Any,
) -> Result:
    """Make a model forget, keep the rest, and measure both.

    Args:
        model: a directory, a hub name, a ``PreTrainedModel`` or any ``nn.Module`` classifier. A model in memory is
            changed in place and comes back unwrapped, in its own modes, dtype and device.
        forget: examples to forget: a path, a hub name, a list of dicts, a ``datasets.Dataset``, or a torch
            ``Dataset`` of (image, label).
        retain: examples to keep, likewise.
        holdout: examples of the same kind that the model has never seen: what forgetting ends at.
        method: a name, a mapping with ``name`` and options, or a method such as ``NPO(beta=0.1)``.
        output: the run's folder; None: a temporary one, gone with the result object.
        transform: of images: uint8 [n, H, W, C] → float32 [n, C, H, W].
        resume: go on with a stopped run in `output`.
        listener: is told how it goes.
        options: everything else of :class:`ofmu.runs.config.Unlearn`: ``tokenizer``, ``retrained``, ``seed``,
            ``budget``, ``retain_sampling``, ``lora={"rank": 8}`` …

    Returns:
        The run: ``.model``, ``.metrics``, ``.history``, ``.report``.

    Raises:
        InputError: something given cannot be used; nothing was written.
        RunError: the run failed on its way.
    """
    given = {"model": model, "forget": forget, "retain": retain, "holdout": holdout, "method": method, **options}
    config = stored.build("unlearn", _present(given), source="ofmu.unlearn")
    return _in_folder(
        output,
        lambda path: _unlearn(config, path, resume=resume, listener=listener, transform=transform),  # pyright: ignore[reportArgumentType]
    )


def finetune(
    model: Any,
    data: Any,
    *,
    output: Place | None = None,
    transform: Transform | None = None,
    resume: bool = False,
    listener: Listener | None = None,
    **options: Any,
) -> Result:
    """Train a model on data.

    Args:
        model: as for :func:`unlearn`; also a configuration (file or folder without weights): random weights.
        data: as `forget` of :func:`unlearn`.
        output: as for :func:`unlearn`.
        transform: as for :func:`unlearn`.
        resume: as for :func:`unlearn`.
        listener: as for :func:`unlearn`.
        options: everything else of :class:`ofmu.runs.config.Finetune`.

    Returns:
        The run.

    Raises:
        InputError: something given cannot be used; nothing was written.
        RunError: the run failed on its way.
    """
    config = stored.build("finetune", _present({"model": model, "data": data, **options}), source="ofmu.finetune")
    return _in_folder(
        output,
        lambda path: _finetune(config, path, resume=resume, listener=listener, transform=transform),  # pyright: ignore[reportArgumentType]
    )


def evaluate(
    model: Any = None,
    forget: Any = None,
    retain: Any = None,
    *,
    holdout: Any = None,
    original: Any = None,
    retrained: Any | Sequence[Any] = (),
    output: Place | None = None,
    transform: Transform | None = None,
    listener: Listener | None = None,
    **options: Any,
) -> Result:
    """Measure a model that somebody has unlearned.

    Args:
        model: the unlearned model, as for :func:`unlearn`.
        forget: examples that were to be forgotten.
        retain: examples that were to be kept.
        holdout: examples of the same kind that the model has never seen.
        original: the model before unlearning.
        retrained: a model trained without the forget set, or several; ``"auto"``: trained now, from `base` or by
            `recipe`.
        output: as for :func:`unlearn`.
        transform: as for :func:`unlearn`.
        listener: as for :func:`unlearn`.
        options: everything else of :class:`ofmu.runs.config.Evaluate`; with ``from_log="log.json"`` neither model nor
            data are needed.

    Returns:
        The evaluation; ``.metrics`` has the scores.

    Raises:
        InputError: something given cannot be used; nothing was written.
        RunError: it failed on its way.
    """
    several = tuple(retrained) if isinstance(retrained, list | tuple) else (retrained,)
    given = {
        "model": model,
        "forget": forget,
        "retain": retain,
        "holdout": holdout,
        "original": original,
        "retrained": several,
        **options,
    }
    config = stored.build("evaluate", _present(given), source="ofmu.evaluate")
    return _in_folder(
        output,
        lambda path: _evaluate(config, path, listener=listener, transform=transform),  # pyright: ignore[reportArgumentType]
    )


def _present(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _in_folder(output: Place | None, run: Callable[[Path], Result]) -> Result:
    if output is not None:
        return run(Path(output))
    folder = Path(tempfile.mkdtemp(prefix="ofmu-"))
    try:
        result = run(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    result.remove_with_me()
    return result
