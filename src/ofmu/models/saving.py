"""Writing a model: a folder that from_pretrained loads, whole or not at all, and really on the disk."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from ofmu.errors import RunError
from ofmu.models.adapters import ADAPTER_WEIGHTS, is_adapted, merged_from, merged_state
from ofmu.models.loaded import Loaded
from ofmu.models.quiet import quiet
from ofmu.models.sources import ADAPTER_CONFIG, CONFIG
from ofmu.models.tokenizers import first_line


def save(
    loaded: Loaded,
    directory: str | os.PathLike[str],
    *,
    card: str,
    merge: bool = False,
    state: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write weights (safetensors), configuration, tokenizer or image processor, and README.md.

    Weights are written in the type they came in with. Under LoRA only the adapter is written, with the base
    model's place in its configuration; with ``merge`` the whole model, added up in float32 and cast
    afterwards. A new adapter stays float32 (it is small, and rounding it would lose part of what was
    learned); so does nothing else. An adapter whose base has no place (a model in memory that came from
    nowhere) could not be loaded again, so it is merged too. A plain ``nn.Module`` gets its state dict as
    model.safetensors.

    Everything is written beside the directory first, flushed to the disk and then renamed: the directory
    holds either the whole model or what it held before. The model itself is not changed.

    Args:
        loaded: the model to write, as loaded or as returned by ``add_lora``.
        directory: where to; an older model there is replaced.
        card: text of README.md.
        merge: write the merged model instead of the adapter.
        state: the full state of a sharded model (:func:`ofmu.models.sharding.full_state`); then only one
            process calls this.

    Returns:
        The directory.

    Raises:
        RunError: it cannot be written (full disk, no permission); the message names the path.
    """
    target = Path(directory)
    adapter_only = loaded.adapter and not merge and loaded.origin is not None
    try:
        with _whole(target) as folder, quiet():
            if adapter_only:
                _write_adapter(loaded, folder, state)
            else:
                _write_model(loaded, folder, state)
            if loaded.tokenizer is not None:
                loaded.tokenizer.save_pretrained(folder)
            if loaded.processor is not None:
                loaded.processor.save(folder)
            (folder / "README.md").write_text(card, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise RunError(f"cannot write the model to {target}: {_reason(error)}") from error
    return target


def _reason(error: OSError | SafetensorError) -> str:
    if not isinstance(error, OSError) or error.strerror is None:
        return first_line(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _write_adapter(loaded: Loaded, folder: Path, state: Mapping[str, Tensor] | None) -> None:
    model: Any = loaded.model
    from peft import get_peft_model_state_dict

    weights = get_peft_model_state_dict(model, state_dict=None if state is None else dict(state))
    dtypes = {name: loaded.dtypes.get(name, torch.float32) for name in weights} if loaded.came_as_adapter else {}
    save_file(_cast(weights, dtypes, torch.float32), folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config = model.peft_config["default"]
    mode, config.inference_mode = config.inference_mode, True
    try:
        config.save_pretrained(folder)
    finally:
        config.inference_mode = mode
    _sort_sets(folder / ADAPTER_CONFIG)


def _write_model(loaded: Loaded, folder: Path, state: Mapping[str, Tensor] | None) -> None:
    model: Any = loaded.model
    adapted = is_adapted(model)
    base: Any = model.get_base_model() if adapted else model
    dtype, dtypes = loaded.dtype, loaded.dtypes
    if loaded.came_as_adapter:
        dtypes = {}
    if adapted:
        source = merged_state(model) if state is None else nullcontext(merged_from(model, state))
    else:
        source = nullcontext(base.state_dict() if state is None else dict(state))
    with source as tensors:
        weights = _cast(tensors, dtypes, dtype)
    if isinstance(base, PreTrainedModel):
        _save_pretrained(base, folder, weights, loaded)
    else:
        save_file(_untied(weights), folder / "model.safetensors", metadata={"format": "pt"})


def _save_pretrained(model: Any, folder: Path, weights: dict[str, Tensor], loaded: Loaded) -> None:
    config, text = vars(model.config), vars(model.config.get_text_config())
    before = {key: config.get(key) for key in ("dtype", "architectures")}
    if loaded.use_cache is not None:
        text["use_cache"] = loaded.use_cache
    try:
        _valid_generation(model)
        model.save_pretrained(folder, state_dict=weights)
    finally:
        config.update(before)
        if loaded.use_cache is not None:
            text["use_cache"] = False
    _set_dtype(folder / CONFIG, loaded.dtype)


def _valid_generation(model: Any) -> None:
    """Some published models carry generation settings that contradict each other; those cannot be saved."""
    if not model.can_generate():
        return
    try:
        model.generation_config.validate(strict=True)
    except ValueError:
        ids = {key: value for key, value in model.generation_config.to_dict().items() if key.endswith("_token_id")}
        model.generation_config = GenerationConfig(**ids)


def _set_dtype(file: Path, dtype: torch.dtype) -> None:
    """The file says the type of the weights beside it, not of the float32 masters in memory."""
    config = json.loads(file.read_text(encoding="utf-8"))
    config["dtype"] = str(dtype).removeprefix("torch.")
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _sort_sets(file: Path) -> None:
    """The sets in it come in another order in every process; the same run shall write the same file."""
    config = json.loads(file.read_text(encoding="utf-8"))
    for key in ("target_modules", "modules_to_save", "exclude_modules"):
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _cast(tensors: Mapping[str, Tensor], dtypes: Mapping[str, torch.dtype], default: torch.dtype) -> dict[str, Tensor]:
    """Each tensor in the type it came in with; tensors that are one in memory stay one (tied weights)."""
    made: dict[tuple[int, torch.Size, torch.dtype], Tensor] = {}
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        dtype = dtypes.get(name, default) if tensor.is_floating_point() else tensor.dtype
        key = (tensor.data_ptr(), tensor.shape, dtype)
        if key not in made:
            made[key] = tensor.detach().to("cpu", dtype, copy=True).contiguous()
        result[name] = made[key]
    return result


def _untied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A safetensors file holds no tensor twice under one storage: later names get a copy."""
    seen: set[int] = set()
    result: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        result[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return result


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A folder beside the target that takes its place at the end, or is removed.

    Its name is fixed, so what a killed process left behind is cleared by the next one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.parent / f".{target.name}.part"
    old = target.parent / f".{target.name}.old"
    for left in (folder, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        folder.mkdir()
        yield folder
        for path in sorted(folder.rglob("*")):
            _flush(path)
        _flush(folder)
        if target.exists():
            target.rename(old)
        folder.rename(target)
        _flush(target.parent)
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
