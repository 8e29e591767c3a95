"""MUSE: six ways to look at language models that were to forget a corpus of news or books.

Source: Shi et al. 2024 (arXiv 2407.06460); the page docs/METRICS.md of the repository, §5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ofmu import ranges
from ofmu.benchmarks.muse_options import Options, Wanted
from ofmu.errors import InputError

FILES = {
    "verbmem": ("verbmem_forget",),
    "forget_knowmem": ("knowmem_forget_qa", "knowmem_forget_qa_icl"),
    "retain_knowmem": ("knowmem_retain_qa", "knowmem_retain_qa_icl"),
    "privleak": ("privleak_forget", "privleak_holdout"),
}
"""Criterion → its files; solved questions (`_icl`) may be missing, any other file is needed for its criterion."""


def run(options: Options, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure the models and make the tables.

    Args:
        options: what to do.
        tell: is told what is going on.

    Returns:
        ``tables``: title → rows; ``missing``: criterion → why it was not measured; ``files``: what was written.

    Raises:
        InputError: an option, a model or a file cannot be used.
    """
    from ofmu.benchmarks.muse_models import measured
    from ofmu.benchmarks.muse_tables import tables
    from ofmu.benchmarks.tables import write

    ranges.check(options)
    if options.corpus and "parity:muse" not in options.mode:
        raise InputError("--corpus has a meaning in the mode parity:muse only; add --mode parity:muse")
    wanted = models(options)
    data, missing = read_data(options)
    _check_output(options.output)
    if options.retrained is None and "privleak" not in missing and _needs_retrained(options):
        missing["privleak"] = "there is no retrained model to compare with (--retrained FOLDER)"
    found = [(each, measured(each, data, options, tell)) for each in wanted]
    for criterion, reason in missing.items():
        tell(f"{criterion} is missing: {reason}")
    made = {"tables": tables(found, options), "missing": missing}
    return {**made, "files": write(made, Path(options.output)) if options.output else []}


def _needs_retrained(options: Options) -> bool:
    """Whether a mode has no other yardstick: open-unlearning takes ½, MUSE the constants of its corpus."""
    return "correct" in options.mode or ("parity:muse" in options.mode and options.corpus is None)


def models(options: Options) -> list[Wanted]:
    """All models, original and retrained first; folds of one name are numbered in the order given.

    Raises:
        InputError: no model, two of one name, or a fold without a name.
    """
    found = [Wanted("original", "model", 0, options.original)] if options.original else []
    found += [Wanted("retrained", "model", 0, options.retrained)] if options.retrained else []
    for given in options.model:
        name, separator, source = given.partition("=")
        found.append(Wanted(name if separator else Path(given).name, "model", 0, source if separator else given))
    names = [each.name for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two models are called '{twice}'; give names: --model NAME=FOLDER")
    parts: dict[Literal["scal", "sust"], tuple[str, ...]] = {"scal": options.scal, "sust": options.sust}
    for part, given_folds in parts.items():
        folds: dict[str, int] = {}
        for given in given_folds:
            name, separator, source = given.partition("=")
            if not separator:
                raise InputError(f"--{part} {given}: give a name, the same for all folds: NAME=FOLDER")
            folds[name] = folds.get(name, 0) + 1
            found.append(Wanted(name, part, folds[name], source))
    if not found:
        raise InputError("there is no model to measure; give --model FOLDER")
    odd = next((each.name for each in found if not re.fullmatch(r"\w[\w .+-]*", each.name)), None)
    if odd is not None:
        raise InputError(f"'{odd}' cannot be the name of a model: letters, digits, spaces and _.+- only")
    return found


def read_data(options: Options) -> tuple[dict[str, Sequence[Mapping[str, Any]]], dict[str, str]]:
    """Rows of each file that is there, and the criteria that lack one, with the reason.

    Raises:
        InputError: no file is there, or one cannot be read.
    """
    from ofmu.data.containers import read_file

    if options.data is None:
        raise InputError("--data is not given: the folder with MUSE's files is needed")
    folder = Path(options.data)
    if not folder.is_dir():
        raise InputError(f"data {folder} is no folder")
    found, missing = {}, {}
    for criterion, names in FILES.items():
        places = {name: _place(folder, name) for name in names}
        absent = [name for name, place in places.items() if place is None and not name.endswith("_icl")]
        if absent:
            missing[criterion] = f"no file {absent[0]}.jsonl in {folder}"
            continue
        for name, place in places.items():
            found[name] = [] if place is None else list(read_file(place).rows)[: options.limit]
            columns = _columns(name)
            for number, row in enumerate(found[name]):
                wrong = next((column for column in columns if not str(row.get(column) or "").strip()), None)
                if wrong is not None:
                    raise InputError(f"{place}, row {number}: no text in column '{wrong}' (it has {', '.join(row)})")
            if not found[name] and place is not None:
                raise InputError(f"{place} holds no examples")
    if not found:
        raise InputError(f"{folder} holds no file of MUSE, such as verbmem_forget.jsonl or knowmem_forget_qa.jsonl")
    return found, missing


def _columns(name: str) -> tuple[str, ...]:
    kinds = {"verbmem": ("prompt", "gt"), "knowmem": ("question", "answer"), "privleak": ("text",)}
    return kinds[name.split("_")[0]]


def _place(folder: Path, name: str) -> Path | None:
    """The file of a subset and split: `subset_split.jsonl` or `subset/split.json`."""
    subset, split = name.split("_", maxsplit=1)
    stems = (folder / name, folder / subset / split)
    places = (stem.parent / f"{stem.name}.{end}" for stem in stems for end in ("jsonl", "json", "parquet"))
    return next((place for place in places if place.is_file()), None)


def _check_output(output: str | None) -> None:
    place = Path(output or ".")
    if output and place.exists() and not place.is_dir():
        raise InputError(f"output {place} is a file; give a folder")
    if output and place.is_dir() and any(place.iterdir()):
        raise InputError(f"output {place} is not empty; give a new folder")
