"""Reading a model from a folder: from_pretrained, bare CIFAR ResNet weights, or a configuration alone."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageClassification
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
)

from ofmu.errors import InputError
from ofmu.models.convnet import ConvNetConfig
from ofmu.models.loaded import Loaded, Modality
from ofmu.models.processors import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImageProcessor,
    make_processor,
    read_processor,
)
from ofmu.models.quiet import quiet
from ofmu.models.resnet import CifarResNetConfig, CifarResNetForImageClassification, recognise
from ofmu.models.sources import CONFIG, PICKLE_FLAG, REMOTE_CODE_FLAG, SAFETENSORS, Source, find, read_json
from ofmu.models.tokenizers import first_line, read_tokenizer
from ofmu.models.weights import fingerprint, header, main_dtype, stored_dtypes, to_float32

PROCESSOR_FILE = "preprocessor_config.json"
AUTO = {"text": AutoModelForCausalLM, "image": AutoModelForImageClassification}
READ_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError)


def load_folder(source: Source, modality: Modality | None) -> Loaded:
    """Read a folder written by save_pretrained.

    InputError if pickled weights or code were not asked for, weights are missing or cut, or it is another
    kind of model.
    """
    config = _config(source)
    modality = modality_of(config, source.name, modality)
    files = source.weight_files()
    if not files:
        _refuse_weights(source)
    dtypes = stored_dtypes(files)
    model = _weights(source, config, modality, safetensors=bool(files))
    default = config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32
    return finish(model, source, modality, main_dtype(dtypes, default), dtypes=dtypes)


def load_bare(source: Source, modality: Modality | None) -> Loaded:
    """Read a folder with model.safetensors alone, if the names and shapes in it are those of a CIFAR ResNet.

    The normalisation is not in such a folder: three-channel images get the ImageNet constants, with which the
    published CIFAR checkpoints were trained; ``notes`` says so.

    Raises:
        InputError: the weights are of another model.
    """
    file = source.path / SAFETENSORS[0]
    table = header(file)
    config = recognise({name: shape for name, (_, shape) in table.items()})
    if config is None or modality == "text":
        raise InputError(
            f"{source.name} has {SAFETENSORS[0]} but no {CONFIG}; without one only a CIFAR ResNet is "
            f"recognised, and these weights are none (first names: {', '.join(sorted(table)[:3])})"
        )
    model = CifarResNetForImageClassification(config)
    model.load_state_dict(load_file(file), strict=False)  # names were compared: only counters may lack
    dtypes = stored_dtypes([file])
    layers = 2 * sum(config.depths) + 2
    note = f"no {CONFIG} in {source.name}: recognised a CIFAR ResNet-{layers} with {config.num_labels} classes"
    return finish(model, source, "image", main_dtype(dtypes), dtypes=dtypes, notes=(note,))


def random_model(source: str | os.PathLike[str], modality: Modality | None, **flags: bool) -> Loaded:
    """A model with random weights from a configuration: a JSON file, or a folder that has one.

    Raises:
        InputError: no configuration there, or one of another kind of model.
    """
    path = Path(os.fspath(source)).expanduser()
    if path.is_file():
        with tempfile.TemporaryDirectory() as folder:  # AutoConfig reads files of one name only
            read_json(path)
            shutil.copy(path, Path(folder) / CONFIG)
            config = _config(Source(Path(folder), str(source), "", **flags))
        found = Source(path.parent.resolve(), str(source), "", **flags)
    else:
        found = find(source, **flags)
        if not (found.path / CONFIG).is_file():
            raise InputError(f"{found.name} has no {CONFIG}, which random weights need")
        config = _config(found)
    modality = modality_of(config, found.name, modality)
    dtype = config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32
    with quiet():
        model = AUTO[modality].from_config(config, dtype=torch.float32, trust_remote_code=found.trust_remote_code)
    return finish(model, found, modality, dtype, random=True)


def finish(
    model: Any,
    source: Source,
    modality: Modality,
    dtype: torch.dtype,
    *,
    dtypes: dict[str, torch.dtype] | None = None,
    notes: tuple[str, ...] = (),
    random: bool = False,
) -> Loaded:
    """Bring a freshly read model into the state that every room expects, and collect what belongs to it."""
    to_float32(model)
    model.eval()
    model.name_or_path = source.origin
    model.config.name_or_path = source.origin
    processor, more = _processor(model, source) if modality == "image" else (None, ())
    return Loaded(
        model=model,
        tokenizer=read_tokenizer(source) if modality == "text" and source.has_tokenizer() else None,
        processor=processor,
        modality=modality,
        dtype=dtype,
        name=source.name,
        fingerprint=fingerprint(model),
        context=context_of(model) if modality == "text" else None,
        num_classes=model.config.num_labels if modality == "image" else None,
        origin=None if random else source.origin,
        dtypes=dtypes or {},
        use_cache=switch_cache_off(model),
        notes=notes + more,
    )


def modality_of(config: Any, name: str, wanted: Modality | None) -> Modality:
    """Text or image, from the architecture that the configuration names, else from the kind of model.

    Raises:
        InputError: neither a causal language model nor an image classifier, or not the one that was asked
            for.
    """
    architectures = set(config.architectures or ())
    code = vars(config).get("auto_map") or {}
    text = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING or "AutoModelForCausalLM" in code
    image = type(config) in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING or "AutoModelForImageClassification" in code
    if architectures & set(_flat(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)):
        found: Modality | None = "text"
    elif architectures & set(_flat(MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES)):
        found = "image"
    else:
        found = "text" if text and not image else "image" if image and not text else wanted
    if found is None or not (text or image):
        kind = ", ".join(sorted(architectures)) or config.model_type
        raise InputError(f"{name} is a {kind}: neither a causal language model nor an image classifier")
    if wanted not in {None, found}:
        raise InputError(f"{name} is a model for {found}, but modality {wanted} was asked for")
    return found


def context_of(model: nn.Module) -> int | None:
    """Longest input in tokens by the configuration; None if it states none."""
    config: Any = model.config
    settings = config.get_text_config().to_dict()
    for key in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        if isinstance(settings.get(key), int) and settings[key] > 0:
            return settings[key]
    return None


def switch_cache_off(model: nn.Module) -> bool | None:
    """Stop a language model from collecting keys and values in training; returns what the setting was."""
    config: Any = model.config
    settings = vars(config.get_text_config())
    before = settings.get("use_cache")
    if before is not None:
        settings["use_cache"] = False
    return before


def _flat(names: Any) -> list[str]:
    return [name for value in names.values() for name in ([value] if isinstance(value, str) else value)]


def _config(source: Source) -> Any:
    raw = read_json(source.path / CONFIG)
    kind = raw.get("model_type")
    if "auto_map" in raw and kind not in CONFIG_MAPPING and not source.trust_remote_code:
        raise InputError(
            f"{source.name} brings its own Python code (model type {kind!r}), which is only run with {REMOTE_CODE_FLAG}"
        )
    if "auto_map" not in raw and kind not in CONFIG_MAPPING:
        raise InputError(f"{source.name}: {CONFIG} names model type {kind!r}, which transformers does not know")
    if "quantization_config" in raw:
        raise InputError(f"{source.name} is quantised; unlearning needs the weights in floating point")
    try:
        with quiet():
            return AutoConfig.from_pretrained(
                source.path, trust_remote_code=source.trust_remote_code, local_files_only=True
            )
    except READ_ERRORS as error:
        raise InputError(f"cannot read {CONFIG} of {source.name}: {first_line(error)}") from error


def _refuse_weights(source: Source) -> None:
    pickles = source.pickles()
    if pickles and source.allow_pickle:
        return
    if pickles:
        raise InputError(
            f"{source.name} has only pickled weights ({pickles[0]}), which can run code when read; "
            f"convert them to safetensors, or pass {PICKLE_FLAG} if you trust them"
        )
    raise InputError(f"{source.name} has a {CONFIG} but no weights: expected {SAFETENSORS[0]}")


def _weights(source: Source, config: Any, modality: Modality, *, safetensors: bool) -> Any:
    try:
        with quiet():
            model, info = AUTO[modality].from_pretrained(
                source.path,
                config=config,
                dtype=torch.float32,
                use_safetensors=safetensors,
                trust_remote_code=source.trust_remote_code,
                local_files_only=True,
                output_loading_info=True,
            )
    except READ_ERRORS as error:
        raise InputError(f"cannot read the model in {source.name}: {first_line(error)}") from error
    if missing := sorted(info["missing_keys"]):
        raise InputError(
            f"{source.name} lacks {len(missing)} of the weights of {type(model).__name__}, first {missing[0]}"
        )
    return model


def _processor(model: Any, source: Source) -> tuple[ImageProcessor | None, tuple[str, ...]]:
    if (source.path / PROCESSOR_FILE).is_file():
        try:
            return read_processor(source.path, trust_remote_code=source.trust_remote_code), ()
        except READ_ERRORS as error:
            raise InputError(f"cannot read {PROCESSOR_FILE} of {source.name}: {first_line(error)}") from error
    if not isinstance(model.config, CifarResNetConfig | ConvNetConfig):
        return None, (f"no {PROCESSOR_FILE} in {source.name}: a transform must be given",)
    return default_processor(model.config, source.name)


def default_processor(config: CifarResNetConfig | ConvNetConfig, name: str) -> tuple[ImageProcessor, tuple[str, ...]]:
    """The processor of one of our classifiers that came without one, and the line that says which it is."""
    size = (config.image_size, config.image_size)
    if isinstance(config, CifarResNetConfig) and config.num_channels == 3:
        mean, std, words = (
            IMAGENET_MEAN,
            IMAGENET_STD,
            "the ImageNet constants, as published CIFAR weights use,",
        )
    else:
        mean, std, words = (0.5,) * config.num_channels, (0.5,) * config.num_channels, "mean .5 and std .5"
    note = f"no {PROCESSOR_FILE} in {name}: {words} are taken to normalise"
    return make_processor(mean, std, size), (note,)
