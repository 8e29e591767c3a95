"""LoRA through peft: add an adapter, continue one, switch it off, merge it.

peft takes seconds to import, so it is imported when an adapter is really wanted.

Source: Hu et al., "LoRA: Low-rank adaptation of large language models", 2022: W + (alpha / rank) · B A, B = 0
at first.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parallel import DistributedDataParallel
from transformers.pytorch_utils import Conv1D

from ofmu.errors import InputError, RunError
from ofmu.models.hidden import hidden_layers
from ofmu.models.loaded import Loaded
from ofmu.models.quiet import quiet
from ofmu.models.sources import PICKLE_FLAG, Source
from ofmu.models.tokenizers import first_line, read_tokenizer
from ofmu.models.weights import fingerprint, stored_dtypes, to_float32

ADAPTER_WEIGHTS = "adapter_model.safetensors"

MOST_NAMES = 12
"""Names of layers in a message at most."""


def is_adapted(model: nn.Module) -> bool:
    """True for a peft model; does not import peft for the answer."""
    return "peft" in sys.modules and isinstance(model, sys.modules["peft"].PeftModel)


def add_lora(
    loaded: Loaded,
    rank: int,
    alpha: float | None = None,
    dropout: float = 0.0,
    targets: Sequence[str] | str | None = None,
) -> Loaded:
    """Freeze the model and put a LoRA adapter into it: W + (alpha / rank) · B A.

    At the start B = 0: the outputs are exactly the model's. A is drawn from torch's global generator, which
    the caller seeds. Masters of adapter weights are float32.

    Args:
        loaded: a model without adapter; it is changed in place.
        rank: r ≥ 1.
        alpha: > 0; None: 2 · rank.
        dropout: on the adapter's input, in [0, 1).
        targets: names (or endings of names) of the layers, or one regular expression; None: all hidden linear
            layers (:mod:`ofmu.models.hidden`), or the hidden convolutions of a model that has no such layer.

    Raises:
        InputError: a value out of range, no such layers, or the model has an adapter already.
    """
    if loaded.adapter:
        raise InputError(f"{loaded.name} is an adapter already, and that one is trained on: leave the LoRA options out")
    _check(rank, alpha, dropout)
    if targets is not None:
        _check_targets(loaded, targets)
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,  # pyright: ignore[reportArgumentType] (a float works)
        lora_dropout=dropout,
        target_modules=_targets(loaded.model)
        if targets is None
        else targets
        if isinstance(targets, str)
        else list(targets),
        task_type="CAUSAL_LM" if loaded.modality == "text" else None,
    )
    model: Any = loaded.model
    try:
        with quiet():
            adapted = get_peft_model(model, config)
    except ValueError as error:
        what = first_line(error) if targets is None else "not every module of lora.targets is one layer"
        raise InputError(f"LoRA cannot be put into {loaded.name}: {what}; {_layers(loaded)}") from error
    if loaded.origin is not None:
        adapted.peft_config["default"].base_model_name_or_path = loaded.origin
    adapted.eval()
    return replace(loaded, model=adapted, adapter=True)


def load_adapter(source: Source, base: Loaded) -> Loaded:
    """Put the adapter of a folder onto its base, ready to be trained on.

    Raises:
        InputError: pickled or missing adapter weights, or an adapter that cannot be trained and merged.
    """
    from peft import PeftConfig, PeftModel

    file = source.path / ADAPTER_WEIGHTS
    if not file.is_file() and not (source.allow_pickle and source.pickles()):
        found = (
            f"only pickled weights ({source.pickles()[0]}); pass {PICKLE_FLAG}" if source.pickles() else "no weights"
        )
        raise InputError(f"the adapter {source.name} has {found}: expected {ADAPTER_WEIGHTS}")
    dtypes = stored_dtypes([file]) if file.is_file() else {}
    try:
        with quiet():
            config = PeftConfig.from_pretrained(str(source.path))
            if config.is_prompt_learning:
                raise InputError(f"{source.name} is an adapter of type {config.peft_type}; only LoRA-like ones work")
            base_model: Any = base.model
            model = PeftModel.from_pretrained(base_model, source.path, is_trainable=True, config=config)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise InputError(f"cannot put the adapter {source.name} on {base.name}: {first_line(error)}") from error
    to_float32(model)
    model.eval()
    if base.origin is not None:
        model.peft_config["default"].base_model_name_or_path = base.origin
    return replace(
        base,
        model=model,
        tokenizer=read_tokenizer(source) if base.modality == "text" and source.has_tokenizer() else base.tokenizer,
        dtypes=dtypes,
        name=source.name,
        fingerprint=fingerprint(model),
        adapter=True,
        came_as_adapter=True,
    )


@contextmanager
def adapter_off(model: nn.Module) -> Iterator[bool]:
    """Inside, the model computes without its adapter; yields whether there was one to switch off.

    With an adapter that :func:`add_lora` put in, the outputs inside are bit-equal to the model that came in,
    at any time of a run: that is the reference of NPO or a KL term, and no second model is needed.

    A plain model has nothing to switch off: inside, it computes with the weights it has **now**, and False is
    yielded. Those are the reference only before the first step; a caller who needs it later must have
    measured it then. The same holds for an adapter that came in with the model (``Loaded.came_as_adapter``):
    without it the outputs are the base's, but the reference is the adapted model.
    """
    inner: Any = model.module if isinstance(model, DistributedDataParallel) else model
    if not is_adapted(inner):
        yield False
        return
    with inner.disable_adapter():
        yield True


def merge(loaded: Loaded) -> Loaded:
    """Add the adapter to the weights it adapts, in float32, and return the plain model; the adapter is gone.

    The base model's layers are the objects they were before the adapter, so a model in memory comes back
    unwrapped.
    """
    if not loaded.adapter:
        return loaded
    model: Any = loaded.model
    with quiet():
        plain = model.merge_and_unload()
    return replace(loaded, model=plain, adapter=False, came_as_adapter=False, dtypes=_base_dtypes(loaded))


def remove(loaded: Loaded) -> Loaded:
    """Take the adapter out without merging: the base model as it was, unwrapped."""
    if not loaded.adapter:
        return loaded
    model: Any = loaded.model
    with quiet():
        plain = model.unload()
    return replace(loaded, model=plain, adapter=False, came_as_adapter=False, dtypes=_base_dtypes(loaded))


@contextmanager
def merged_state(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Inside, the state of the base model with the adapter added, under the base model's own names.

    Afterwards the model is as before, bit for bit: the base weights are copied back, not subtracted from.
    """
    peft_model: Any = model
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    before = [
        (parameter, parameter.detach().clone()) for layer in layers for parameter in layer.get_base_layer().parameters()
    ]
    peft_model.merge_adapter()
    try:
        yield base_state(peft_model.get_base_model().state_dict())
    finally:
        peft_model.unmerge_adapter()
        with torch.no_grad():
            for parameter, values in before:
                parameter.copy_(values)


def merged_from(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The merged state of a sharded LoRA model from its gathered state: W + s · B A, added in float64.

    Args:
        model: the sharded model; only its layers' shapes and factors s are read.
        state: its full state, adapter included.

    Raises:
        RunError: the adapter is of another kind than plain LoRA.
    """
    from peft.tuners.lora import LoraLayer
    from peft.tuners.tuners_utils import BaseTunerLayer

    merged = dict(state)
    for name, module in model.named_modules():
        if not isinstance(module, BaseTunerLayer):
            continue
        layer: Any = module
        a, b = (state.get(f"{name}.lora_{part}.default.weight") for part in "AB")
        if a is None or b is None or not isinstance(module, LoraLayer) or layer.use_dora.get("default"):
            raise RunError(f"{name}: only plain LoRA can be merged while sharded; save the adapter, merge it later")
        weight = state[f"{name}.base_layer.weight"]
        product = layer.scaling["default"] * (b.double().flatten(1) @ a.double().flatten(1))
        product = product.T if isinstance(layer.get_base_layer(), Conv1D) else product
        merged[f"{name}.base_layer.weight"] = (weight.double() + product.reshape(weight.shape)).to(weight.dtype)
    return base_state(merged)


def base_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A base model's state under its own names: what peft put in or renamed is taken out again."""
    plain: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if ".lora_" in name or ".original_module." in name:
            continue
        name = name.removeprefix("base_model.model.").replace(".base_layer.", ".")
        plain[name.replace(".modules_to_save.default.", ".")] = tensor
    return plain


def _base_dtypes(loaded: Loaded) -> dict[str, torch.dtype]:
    return {} if loaded.came_as_adapter else dict(loaded.dtypes)


def _check(rank: int, alpha: float | None, dropout: float) -> None:
    if rank < 1:
        raise InputError(f"lora.rank is {rank}, but must be >= 1")
    if alpha is not None and not alpha > 0:
        raise InputError(f"lora.alpha is {alpha:g}, but must be > 0")
    if not 0 <= dropout < 1:
        raise InputError(f"lora.dropout is {dropout:g}, but must be >= 0 and < 1")


def _check_targets(loaded: Loaded, targets: Sequence[str] | str) -> None:
    """Every name given must be that of a module, or the ending of one."""
    names = [name for name, _ in loaded.model.named_modules()]
    if isinstance(targets, str):
        try:
            found = targets == "all-linear" or any(re.fullmatch(targets, name) for name in names)
        except re.error as error:
            raise InputError(f"lora.targets is '{targets}', which is no regular expression: {error}") from error
        missing = [] if found else [targets]
    else:
        missing = [part for part in targets if not any(f".{name}".endswith(f".{part}") for name in names)]
    if missing:
        raise InputError(
            f"lora.targets is '{missing[0]}', but no layer of {loaded.name} is called so; {_layers(loaded)}"
        )


def _layers(loaded: Loaded) -> str:
    """Names that LoRA takes."""
    names = sorted({name.rsplit(".", 1)[-1] for name in hidden_layers(loaded.model)})
    return f"there are: {', '.join(names[:MOST_NAMES])}{' …' if len(names) > MOST_NAMES else ''}"


def _targets(model: nn.Module) -> list[str]:
    """Endings of the names of the layers to adapt; whole names where an ending would catch other modules."""
    hidden = hidden_layers(model)
    linear = [name for name, module in hidden.items() if isinstance(module, nn.Linear | Conv1D)]
    names = linear or [name for name, module in hidden.items() if isinstance(module, _ConvNd) and module.groups == 1]
    endings = {name.rsplit(".", 1)[-1] for name in names}
    caught = {name for name, _ in model.named_modules() if name.rsplit(".", 1)[-1] in endings}
    return sorted(endings) if caught == set(names) else names
