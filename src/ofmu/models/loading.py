"""Reading a model: one door for directories, hub names, adapters, configurations and models in memory."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from ofmu.errors import InputError
from ofmu.models.adapters import load_adapter
from ofmu.models.folders import load_bare, load_folder, random_model
from ofmu.models.in_memory import load_in_memory
from ofmu.models.loaded import Loaded, Modality
from ofmu.models.sources import ADAPTER_CONFIG, Source, find, read_json, refuse_no_model
from ofmu.models.tokenizers import check_tokenizer, read_tokenizer

__all__ = ["Loaded", "load"]

ModelSource = str | os.PathLike[str] | nn.Module


def load(
    source: ModelSource,
    *,
    modality: Modality | None = None,
    tokenizer: Any = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    random_weights: bool = False,
) -> Loaded:
    """Read a causal language model or an image classifier.

    Args:
        source: a directory (of a model, a peft adapter, or bare weights of a CIFAR ResNet), a hub name, a
            ``PreTrainedModel``, or any ``nn.Module`` classifier. With ``random_weights`` also a configuration
            file.
        modality: "text" or "image"; told from the model if None.
        tokenizer: an object, a directory or a hub name, instead of the model's own.
        trust_remote_code: run Python files that come with the model.
        allow_pickle: read pickled weights where there are no safetensors (read as weights only, never as
            code).
        random_weights: start from random weights; the caller seeds them with ``torch.manual_seed``.

    Returns:
        The model with float32 weights in evaluation mode on the CPU (in memory: on its device, changed in
        place; ``Loaded.keep`` undoes that).

    Raises:
        InputError: one line: what was found, what is expected, what to do.
    """
    flags = {"trust_remote_code": trust_remote_code, "allow_pickle": allow_pickle}
    if isinstance(source, nn.Module):
        loaded = load_in_memory(source, modality)
    elif not isinstance(source, str | os.PathLike):
        raise InputError(f"a model is a directory, a hub name or a torch module, not a {type(source).__name__}")
    elif random_weights:
        loaded = random_model(source, modality, **flags)
    else:
        loaded = _load(find(source, **flags), modality)
    with loaded.handed_back_on_error():
        return _with_tokenizer(loaded, tokenizer, flags)


def _load(source: Source, modality: Modality | None) -> Loaded:
    match source.kind:
        case "model":
            return load_folder(source, modality)
        case "adapter":
            return _load_adapter(source, modality)
        case "bare":
            return load_bare(source, modality)
        case "none":
            raise refuse_no_model(source)


def _load_adapter(source: Source, modality: Modality | None) -> Loaded:
    base_name = read_json(source.path / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not base_name:
        raise InputError(f"{source.name} is an adapter whose {ADAPTER_CONFIG} does not name its base model")
    beside = source.path / base_name  # a path may be meant from the adapter's own folder
    try:
        base = find(
            beside if not Path(base_name).is_dir() and beside.is_dir() else base_name,
            allow_pickle=source.allow_pickle,
            trust_remote_code=source.trust_remote_code,
        )
    except InputError as error:
        raise InputError(f"{source.name} is an adapter, and its base model is not there: {error}") from error
    if base.kind == "adapter":
        raise InputError(f"{source.name} is an adapter of {base_name}, which is an adapter too: merge that one first")
    return load_adapter(source, _load(base, modality))


def _with_tokenizer(loaded: Loaded, given: Any, flags: dict[str, bool]) -> Loaded:
    if loaded.modality == "image":
        return loaded
    tokenizer = loaded.tokenizer
    if isinstance(given, str | os.PathLike):
        tokenizer = read_tokenizer(find(given, **flags))
    elif given is not None:
        tokenizer = given
    elif tokenizer is None and loaded.in_memory and loaded.origin:
        tokenizer = read_tokenizer(find(loaded.origin, **flags))
    if tokenizer is None:
        raise InputError(f"{loaded.name} comes without a tokenizer: give one (tokenizer=…, an object or a directory)")
    check_tokenizer(tokenizer, loaded.model, loaded.name)
    return replace(loaded, tokenizer=tokenizer)
