"""How a retrained model is trained: as a finished fine-tuning was, or by the defaults of ``ofmu finetune``.

The model it starts from is ``--base``; without one, what the fine-tuning started from, random weights included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ofmu.data.splits import Examples
from ofmu.errors import InputError
from ofmu.runs import stored
from ofmu.runs.config import Finetune
from ofmu.runs.directory import RunDirectory

NO_START = (
    "--retrained auto trains the model from before any fine-tuning on the retain set: give it as --base, or give "
    "--recipe RUN, the ofmu finetune run that made the model"
)


def recipe(config: Any, retain: Examples, tokenizer: Any) -> Finetune:
    """What is to be trained, with the recipe's own seed.

    Args:
        config: an :class:`~ofmu.runs.config.Unlearn` or :class:`~ofmu.runs.config.Evaluate`; how to compute (device,
            micro-batches, flags of reading) is taken from it, what to compute from the recipe.
        retain: the examples to train on.
        tokenizer: of the model that is measured, where that of the recipe was only in memory.

    Returns:
        A fine-tuning; without ``--recipe`` 3 epochs in batches of 16, step size by the model's own scale.

    Raises:
        InputError: there is no model to start from, or ``--recipe`` is no finished fine-tuning.
    """
    if config.recipe is None:
        if config.base is None:
            raise InputError(NO_START)
        defaults = Finetune(model=config.base, data=retain, max_length=config.max_length, precision=config.precision)
        return replace(
            defaults, tokenizer=config.tokenizer, micro_batch_size=_of(config, "micro_batch_size"), **_how(config)
        )
    values = _stored(config.recipe)
    values |= {"data": retain, "format": None, "cluster_by": None, "log_to": None}
    values["tokenizer"] = _tokenizer(values, config, tokenizer)
    if config.base is not None:
        values["model"] = config.base
    elif _lost(values.get("model")):
        raise InputError(f"--recipe {config.recipe}: its model was in memory and cannot be read again; give --base")
    built = stored.build("finetune", values, source=f"--recipe {config.recipe}")
    assert isinstance(built, Finetune)
    smaller = _of(config, "micro_batch_size") or built.micro_batch_size
    return replace(built, micro_batch_size=smaller, **_how(config))


def _how(config: Any) -> dict[str, Any]:
    """What decides how it is computed and read, and not what."""
    names = ("device", "parallel", "gradient_checkpointing", "checkpoint_every", "checkpoint_steps")
    found = {name: _of(config, name) for name in names if _of(config, name) or name == "device"}
    return found | {"trust_remote_code": config.trust_remote_code, "allow_pickle": config.allow_pickle}


def _of(config: Any, name: str) -> Any:
    """An option that an evaluation does not have."""
    return getattr(config, name, None)


def _stored(place: Any) -> dict[str, Any]:
    """The stored configuration of a finished fine-tuning."""
    run = RunDirectory(place)
    if not run.config.is_file():
        raise InputError(f"--recipe {place} is no run of ofmu finetune: it holds no {run.config.name}")
    values = stored.read(run.config)
    if values.get("command") != "finetune":
        raise InputError(f"--recipe {place} is a run of ofmu {values.get('command')}, but must be one of ofmu finetune")
    if not run.finished:
        raise InputError(f"--recipe {place} was stopped before its end; go on with it by --resume, or give another")
    return values


def _tokenizer(values: Mapping[str, Any], config: Any, own: Any) -> Any:
    if config.tokenizer is not None:
        return config.tokenizer
    return own if _lost(values.get("tokenizer")) else values.get("tokenizer")


def _lost(value: Any) -> bool:
    return isinstance(value, Mapping) and stored.IN_MEMORY in value
