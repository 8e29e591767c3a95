"""From what a user names (a directory or a hub name) to a folder on disk, or one clear line why not."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from ofmu.errors import InputError
from ofmu.models.quiet import quiet

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
PICKLES = ("*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.th", "*.ckpt", "*.pkl")
TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges.txt", "spiece.model", "*.tiktoken")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
HUB_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.tiktoken")
HUB_TIMEOUT_S = 5.0
PICKLE_FLAG = "--allow-pickle (allow_pickle=True in Python)"
REMOTE_CODE_FLAG = "--trust-remote-code (trust_remote_code=True in Python)"


@dataclass(frozen=True)
class Source:
    """A folder that holds a model, and how it may be read.

    Args:
        path: the folder, absolute.
        name: what the user called it.
        origin: what a saved adapter should call it: the absolute path, or the hub name.
        allow_pickle: pickled weights may be read (they can run code when read).
        trust_remote_code: Python files of the model may be run.
    """

    path: Path
    name: str
    origin: str
    allow_pickle: bool = False
    trust_remote_code: bool = False

    @property
    def kind(self) -> Literal["model", "adapter", "bare", "none"]:
        """What the folder holds: a model, a peft adapter, weights without a config, or none of these."""
        if (self.path / ADAPTER_CONFIG).is_file():
            return "adapter"
        if (self.path / CONFIG).is_file():
            return "model"
        return "bare" if (self.path / SAFETENSORS[0]).is_file() else "none"

    def weight_files(self) -> list[Path]:
        """The safetensors files of the whole model, none if it has none.

        Raises:
            InputError: a file that the index names is missing.
        """
        single, index = (self.path / name for name in SAFETENSORS)
        if single.is_file():
            return [single]
        if not index.is_file():
            return []
        files = [self.path / name for name in sorted(set(read_json(index)["weight_map"].values()))]
        for file in files:
            if not file.is_file():
                raise InputError(f"{file} is missing, but {index.name} names it: the model is incomplete")
        return files

    def pickles(self) -> list[str]:
        """Names of files with pickled weights."""
        return sorted({file.name for pattern in PICKLES for file in self.path.glob(pattern)})

    def has_tokenizer(self) -> bool:
        """True if there are files of a tokenizer."""
        return any(True for pattern in TOKENIZER_FILES for _ in self.path.glob(pattern))


def find(source: str | os.PathLike[str], *, allow_pickle: bool = False, trust_remote_code: bool = False) -> Source:
    """The folder that a directory or hub name stands for.

    A directory wins over a hub name. A hub name is looked up in the local cache first, and asked for over the
    network only if it is not there.

    Raises:
        InputError: neither a directory nor a hub name; or a hub name that cannot be had.
    """
    name = os.fspath(source)
    path = Path(name).expanduser()
    flags = {"allow_pickle": allow_pickle, "trust_remote_code": trust_remote_code}
    if path.is_dir():
        return Source(path.resolve(), name, str(path.resolve()), **flags)
    if path.exists():
        raise InputError(f"{name} is a file; a model is a directory with {CONFIG} and {SAFETENSORS[0]}")
    if not HUB_NAME.fullmatch(name):
        raise InputError(f"there is no directory {name}")
    patterns = list(HUB_FILES) + (list(PICKLES) if allow_pickle else []) + (["*.py"] if trust_remote_code else [])
    return Source(_from_hub(name, patterns), name, name, **flags)


def _from_hub(name: str, patterns: list[str]) -> Path:
    options: dict[str, Any] = {"allow_patterns": patterns, "ignore_patterns": ["*/*"]}
    try:
        cached = Path(snapshot_download(name, local_files_only=True, **options))
        if Source(cached, name, name).kind != "none" and _complete(cached):
            return cached
    except (LocalEntryNotFoundError, HfHubHTTPError):
        pass  # not in the cache: ask the hub
    try:
        with quiet():
            return Path(snapshot_download(name, etag_timeout=HUB_TIMEOUT_S, **options))
    except GatedRepoError as error:
        raise InputError(f"the hub's model {name} needs permission: log in with `hf auth login`") from error
    except RepositoryNotFoundError as error:
        raise InputError(f"there is no directory {name}, and no model of that name on the hub") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise InputError(
            f"there is no directory {name}; taken as a hub name, it is not in the local cache and the hub "
            "cannot be reached"
        ) from error


def _complete(folder: Path) -> bool:
    source = Source(folder, "", "")
    if source.kind == "adapter":
        return bool(list(folder.glob("adapter_model.*")))
    try:
        return bool(source.weight_files() or source.pickles())
    except InputError:
        return False


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        InputError: the file cannot be read, does not parse, or holds something other than an object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} must hold a JSON object, found a {type(content).__name__}")
    return content


def refuse_no_model(source: Source) -> InputError:
    """The error for a folder that holds no model: what was found, what is expected, where one may be."""
    below = sorted(child.parent.name for child in source.path.glob(f"*/{CONFIG}"))
    if below:
        return InputError(f"{source.name} holds no model itself; its folders {', '.join(below)} do: name one")
    if pickles := source.pickles():
        return InputError(f"{source.name} holds pickled weights ({pickles[0]}) and no {CONFIG}: no model")
    entries = sorted(entry.name for entry in source.path.iterdir())
    found = ", ".join(entries[:5]) + (f" and {len(entries) - 5} more" if len(entries) > 5 else "")
    return InputError(
        f"{source.name} is no model: expected {CONFIG} and {SAFETENSORS[0]} (or {ADAPTER_CONFIG}), "
        f"found {found or 'an empty directory'}"
    )
