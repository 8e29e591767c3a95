"""TOFU: what language models still know of fictitious authors that they were to forget, in the public tables.

Source: Maini et al. 2024 (arXiv 2401.06121); the page docs/METRICS.md of the repository, §13.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ofmu import ranges
from ofmu.errors import InputError
from ofmu.ranges import Range

if TYPE_CHECKING:
    from ofmu.benchmarks.tofu_models import Measured
    from ofmu.data.examples import TextExamples
    from ofmu.evaluation.record import Record

HUB = "locuslab/TOFU"


@dataclass(frozen=True, kw_only=True)
class Options:
    """`ofmu bench tofu`."""

    model: tuple[str, ...] = ()
    """Models to measure, `NAME=FOLDER` or a folder; may be repeated."""
    split: Literal["forget01", "forget05", "forget10"] = "forget10"
    """What was to be forgotten: the last 2, 10 or 20 of 200 authors."""
    original: str | None = None
    """The model that was trained on everything."""
    retrained: tuple[str, ...] = ()
    """Models trained without the split, one a seed."""
    base: str | None = None
    """The model before any fine-tuning."""
    data: str | None = None
    """Folder with TOFU's files; left out, `tofu` in OFMU_DATA_DIR, else the hub."""
    generate: bool = True
    """Let the models answer, for ROUGE; off saves most of the time."""
    max_new_tokens: Annotated[int, Range(ge=1)] = 200
    """Longest answer in tokens."""
    batch_size: Annotated[int, Range(ge=1)] = 32
    """Examples of one forward pass."""
    device: Literal["cpu", "cuda", "mps"] | None = None
    """Where to compute; left out, the best there is."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 computes under autocast."""
    tokenizer: str | None = None
    """Tokenizer of all models; left out, each model's own."""
    trust_remote_code: bool = False
    """Run code that comes with a model."""
    allow_pickle: bool = False
    """Read pickled weights."""
    seed: Annotated[int, Range(ge=0, le=10**9)] = 0
    """Seed of what is drawn."""
    output: str | None = None
    """Folder for records and tables; what it has of a model already is not measured again."""


def run(options: Options, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure the models and make the tables.

    Args:
        options: what to do.
        tell: is told what is going on.

    Returns:
        ``tables``: title → rows, a mapping each; ``models``: name → everything of ``metrics.json``; ``summary``: name →
        the keys of the common framework; ``files``: what was written.

    Raises:
        InputError: an option, a model or a file cannot be used.
    """
    from ofmu.benchmarks.tables import write
    from ofmu.benchmarks.tofu_tables import tables

    ranges.check(options)
    wanted = models(options)
    _check_output(options.output)
    examples = read_sets(options)
    measured = [_measured(name, role, source, options, examples, tell) for name, role, source in wanted]
    tell("making the tables")
    found = tables(measured, split=options.split, seed=options.seed)
    return {**found, "files": write(found, Path(options.output)) if options.output else []}


def models(options: Options) -> list[tuple[str, str, str]]:
    """(name, role, source) of all models, original and retrained first.

    Raises:
        InputError: two models of one name.
    """
    found = [("original", "original", options.original)] if options.original else []
    found += [
        ("retrained" if number == 1 else f"retrained-{number}", "retrained", source)
        for number, source in enumerate(options.retrained, start=1)
    ]
    found += [("base", "base", options.base)] if options.base else []
    for given in options.model:
        name, separator, source = given.partition("=")
        place = Path(source if separator else given)
        own = place.parent if place.name == "model" else place  # RUN/model is called by its run
        found.append((name if separator else own.name, "unlearned", str(place)))
    names = [name for name, _, _ in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two models are called '{twice}'; give names: --model NAME=FOLDER")
    if not found:
        raise InputError("there is no model to measure; give --model FOLDER")
    odd = next((name for name in names if not re.fullmatch(r"\w[\w .+-]*", name)), None)  # it names a folder
    if odd is not None:
        raise InputError(f"'{odd}' cannot be the name of a model: letters, digits, spaces and _.+- only")
    return found


def _check_output(output: str | None) -> None:
    """The folder is new, empty, or one of this benchmark."""
    place = Path(output or ".")
    if output and place.exists() and not place.is_dir():
        raise InputError(f"output {place} is a file; give a folder")
    if output and place.is_dir() and any(place.iterdir()) and not (place / "records").is_dir():
        raise InputError(f"output {place} holds something else; give a folder that is empty or new")


def read_sets(options: Options) -> dict[str, TextExamples]:
    """Forget, retain, holdout, real authors and world facts, with their wrong answers.

    Raises:
        InputError: a file is missing or is not as it should be.
    """
    from ofmu.data.formats import read

    number = options.split.removeprefix("forget")
    files = {
        "forget": f"{options.split}_perturbed",
        "retain": "retain_perturbed",
        "holdout": f"holdout{number}",
        "real_authors": "real_authors_perturbed",
        "world_facts": "world_facts_perturbed",
    }
    folder = options.data or _data_dir()
    places = {name: f"{folder}/{file}.jsonl" if folder else f"{HUB}:{file}:train" for name, file in files.items()}
    return {name: read(place, name=name) for name, place in places.items()}  # pyright: ignore[reportReturnType]


def _data_dir() -> str | None:
    place = os.environ.get("OFMU_DATA_DIR")
    return f"{place}/tofu" if place and Path(place, "tofu").is_dir() else None


def _measured(
    name: str,
    role: str,
    source: str,
    options: Options,
    examples: Mapping[str, TextExamples],
    tell: Callable[[str], None],
) -> Measured:
    """One model's records, from the folder where they are there already."""
    from ofmu.benchmarks.tofu_models import Measured
    from ofmu.engine.processes import processes
    from ofmu.runs.inputs import encoder, read_model
    from ofmu.runs.scoring_sets import score_set

    loaded = read_model(source, options)
    if loaded.modality != "text":
        raise InputError(f"{source} is no language model")
    encode = encoder(loaded, None)
    found: dict[str, Record] = {}
    with processes(device=options.device, precision=options.precision, parallel="auto") as ranks:
        loaded.model.to(ranks.device)
        for on, own in examples.items():
            tell(f"{name}: {on}")
            place = Path(options.output, "records", name, options.precision) if options.output else None
            answers = options.max_new_tokens if options.generate and on != "holdout" else None
            found |= score_set(
                loaded, on, own, encode, batch_size=options.batch_size, processes=ranks, answers=answers, kept=place
            )
    return Measured(name, role, found, source)
