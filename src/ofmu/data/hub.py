"""Data sets of the Hugging Face hub by name: ``org/name[:config][:split]``."""

from __future__ import annotations

import contextlib
import re
import tempfile
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from ofmu.data.arrow import first_line
from ofmu.data.containers import only_split
from ofmu.data.memory import table_of_dataset
from ofmu.data.tables import Table
from ofmu.errors import InputError

_NAME = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(:(?P<config>[^:]*))?(:(?P<split>[^:]*))?")
_PATIENCE = 10.0  # seconds until the hub counts as out of reach


def is_hub_name(source: str) -> bool:
    """Whether this may be the name of a data set of the hub (a path of two parts looks the same)."""
    return _NAME.fullmatch(source) is not None


def read_hub(source: str) -> Table:
    """The rows of a data set of the hub.

    Rows are streamed, not downloaded as files, and what the library keeps goes to a temporary folder that is
    removed: a deletion tool must not leave in a cache what it deletes.

    Args:
        source: ``org/name``, ``org/name:config``, ``org/name:config:split`` or ``org/name::split``. Without a
            split, ``train`` or the only one.

    Raises:
        InputError: if there is no network or no such data set, configuration or split.
    """
    parts = _NAME.fullmatch(source)
    if parts is None:
        raise InputError(f"'{source}' is no name of a data set; the form is org/name[:config][:split]")
    name, config, split = parts["name"], parts["config"] or None, parts["split"] or None
    with tempfile.TemporaryDirectory(prefix="ofmu-data-") as cache:
        try:
            _reach()
            import datasets  # takes seconds to load

            found = datasets.load_dataset(name, config, split=split, streaming=True, cache_dir=cache)
            if isinstance(found, dict):
                found = found[_split(source, name, config, list(found))]
            return table_of_dataset(found, source)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"no file or folder '{source}' here, and the Hugging Face hub cannot give it as a data set: "
                f"{first_line(error)}"
            ) from error


def _reach() -> None:
    """One question to the hub: the libraries would try for half a minute, and say so on the terminal.

    An answer of any kind will do; none is an OSError.
    """
    import huggingface_hub

    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set")
    try:
        with contextlib.suppress(HTTPError):
            urlopen(Request(huggingface_hub.constants.ENDPOINT, method="HEAD"), timeout=_PATIENCE).close()
    except OSError as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise OSError(f"no network ({reason})") from error


def _split(source: str, name: str, config: str | None, splits: list[str]) -> str:
    chosen = only_split(splits)
    if chosen is None:
        example = f"{name}:{config or ''}:{splits[0]}"
        raise InputError(f"{source} has the splits {', '.join(splits)}: name one, e.g. {example}")
    return chosen
