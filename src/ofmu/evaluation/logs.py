"""An evaluation that another tool has logged, as records, so that it is scored like one's own.

A record has rows of tokens; a log knows examples only. Here each example has one row with its mean loss λ, of which
nothing is said about content tokens, most likely tokens or z; what the tool worked out itself stands in the record's
facts under the name of the metric (``exact_memorization``, ``mia_min_k`` …), and :meth:`Metric.read` takes it from
there. What a log lacks is NaN, never guessed.

Source: METRICS.md §15; the keys that are read: :mod:`ofmu.evaluation.log_layouts`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ofmu.errors import InputError
from ofmu.evaluation import log_layouts
from ofmu.evaluation.log_layouts import Columns, Sets
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import place
from ofmu.evaluation.statistics import Floats

ROWS_AN_AUTHOR = 20
"""Questions about one author of TOFU; they stand together."""

AUTHORED = ("forget", "retain", "holdout")
"""Sets of TOFU that are about its authors."""

_SET = re.compile(r"[a-z][a-z0-9_]*")

FROM_ROWS = (
    "exact_memorization",
    "extraction_strength",
    "mia_zlib",
    "mia_zlib_total",
    "mia_min_k",
    "mia_min_k_plus_plus",
)
"""Metrics whose values are in the log or nowhere: the rows of a log cannot tell them."""

PUBLIC_FORMS = {
    "extraction_strength": "extraction_strength",
    "mia_gradnorm": "gradnorm",
    "mia_min_k_plus_plus": "mia_min_k_plus_plus",
}
"""Metric → its column in logs of open-unlearning, which defines it otherwise than METRICS.md does."""
PUBLIC_MODE = "parity:open_unlearning"

LOGGED = (
    f"what the other tool worked out is taken as it is ({PUBLIC_MODE}): extraction strength is at least 1/T there, "
    "min-k++ has the precision of the model, and the gradient norm is a mean over tensors"
)
AUTHORS = f"examples {ROWS_AN_AUTHOR} to an author, as TOFU has them, are resampled together"


@dataclass(frozen=True)
class Log:
    """One model's log.

    Args:
        path: the file.
        layout: ``"TOFU"`` or ``"MUSE"``.
        records: set or view → record.
        notes: what a reader must know, a line each.
    """

    path: Path
    layout: str
    records: Mapping[str, Record]
    notes: tuple[str, ...]


def read_log(path: str | os.PathLike[str]) -> Log:
    """Read an evaluation log.

    Args:
        path: a ``.json`` as open-unlearning or TOFU's first harness write it, or a ``.parquet`` with the same in
            columns; beside ``NAME.parquet`` the membership scores in ``NAME__mia.parquet`` are read too.

    Raises:
        InputError: the file cannot be read, or has none of these layouts.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"log {file} does not exist" if not file.exists() else f"log {file} is not a file")
    sets = _read_json(file) if file.suffix == ".json" else _read_tables(file)
    if not sets:
        raise InputError(f"log {file} holds no value of a single example")
    for name in sets:
        if not isinstance(name, str) or not _SET.fullmatch(name):
            raise InputError(f"log {file}: '{name}' cannot be the name of a set: lower-case letters, digits and _ only")
    muse = log_layouts.is_muse(sets)
    model = hashlib.sha256(file.read_bytes()).hexdigest()
    records: dict[str, Record] = {}
    try:
        for name in sorted(sets, key=place):
            records |= _records(name, sets[name], model, authors=name in AUTHORED and not muse)
    except (TypeError, ValueError) as error:
        raise InputError(f"log {file} has a value that is no number: {error}") from error
    taken = [LOGGED] if any(name in columns for columns in sets.values() for name in PUBLIC_FORMS.values()) else []
    return Log(file, "MUSE" if muse else "TOFU", records, tuple(taken if muse else [*taken, AUTHORS]))


# Files


def _read_json(file: Path) -> Sets:
    try:
        log = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"log {file} cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"log {file} is no JSON: {error}") from error
    if isinstance(log, dict) and any(str(key).endswith(".json") for key in log):
        return log_layouts.tofu_legacy(log, str(file))
    found = log_layouts.open_unlearning(log, str(file)) if isinstance(log, dict) else {}
    if not found:
        raise InputError(
            f"log {file} has none of the keys of an evaluation log (forget_Q_A_Prob …, or eval_log_forget.json …)"
        )
    return found


def _read_tables(file: Path) -> Sets:
    """The table, and the membership scores beside it."""
    found = _read_table(file)
    beside = file.with_name(f"{file.stem}__mia{file.suffix}")
    if not beside.is_file():
        return found
    scores = _read_table(beside)
    return log_layouts.merged(found, log_layouts.of_documents(scores) if log_layouts.is_muse(found) else scores)


def _read_table(file: Path) -> Sets:
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"log {file} cannot be read as a Parquet file ({error})") from error
    for needed, read in log_layouts.TABLES.items():
        if needed <= set(table.column_names):
            return read(table.to_pylist())
    raise InputError(
        f"log {file} has the columns {', '.join(table.column_names)}; a log has task, index and avg_loss or "
        "gt_avg_loss, or metric and index, or set, index and mia_loss"
    )


# Records


def _records(name: str, columns: Columns, model: str, *, authors: bool) -> dict[str, Record]:
    """The record of a set, and of its views where the answers in other words and wrong answers are known."""
    ids = tuple(dict.fromkeys(index for values in columns.values() for index in values))
    clusters = tuple(_cluster(name, index, authors=authors) for index in ids)
    cluster = dict(zip(ids, clusters))
    made = {name: _record(name, ids, clusters, columns, _facts(columns, ids), model)}
    for view in ("paraphrased", "wrong"):
        own = {key.removeprefix(f"{view}_"): values for key, values in columns.items() if key.startswith(f"{view}_")}
        if own and own.get("loss") != columns.get("loss"):  # some tables repeat the answer itself in that place
            flat, of = _flat(own)
            facts = _known(flat, tuple(of), ("probability",)) if "probability" in flat else {}
            made[f"{name}-{view}"] = _record(
                f"{name}-{view}", tuple(of), tuple(cluster[i] for i in of.values()), flat, facts, model
            )
    return made


def _flat(columns: Columns) -> tuple[Columns, dict[str, str]]:
    """Values under ids ``id#0``, ``id#1`` …, and the example that each belongs to."""
    flat: Columns = {}
    of: dict[str, str] = {}
    for column, values in columns.items():
        flat[column] = {}
        for index, given in values.items():
            for number, value in enumerate(given if isinstance(given, Sequence) else [given]):
                flat[column][f"{index}#{number}"] = value
                of[f"{index}#{number}"] = index
    return flat, of


def _record(
    name: str,
    ids: tuple[str, ...],
    clusters: tuple[str, ...],
    columns: Columns,
    facts: Mapping[str, Floats],
    model: str,
) -> Record:
    count = len(ids)
    nothing = np.zeros(count, dtype=bool)
    return Record(
        modality="text",
        ids=ids,
        clusters=clusters,
        example=np.arange(count),
        columns={
            "position": np.zeros(count, dtype=np.int32),
            "nll": _losses(columns, ids),
            "z": np.full(count, np.nan),
            "correct": nothing,
            "content": nothing,
        },
        facts=facts,
        model=model,
        data=hashlib.sha256(json.dumps([name, sorted(ids)]).encode()).hexdigest(),
        modes={metric: PUBLIC_MODE for metric, column in PUBLIC_FORMS.items() if column in columns},
    )


def _losses(columns: Columns, ids: tuple[str, ...]) -> Floats:
    """λ of each example: as logged, else that of the loss attack, else −log of the probability; NaN if none is."""
    known = _known(columns, ids, ("loss", "mia_loss", "probability"))
    with np.errstate(divide="ignore"):
        ways = (known["loss"], known["mia_loss"], -np.log(known["probability"]))
    found = np.full(len(ids), np.nan)
    for way in ways:
        found = np.where(np.isnan(found), way, found)
    return found


def _facts(columns: Columns, ids: tuple[str, ...]) -> dict[str, Floats]:
    """All per-example values, those that the rows cannot tell included as NaN."""
    losses = _losses(columns, ids)
    own = [name for name in columns if not name.startswith(("paraphrased_", "wrong_"))]
    facts = _known(columns, ids, tuple(dict.fromkeys((*own, *FROM_ROWS, "probability", "mia_loss"))))
    instead = {"loss": losses, "mia_loss": losses, "probability": np.exp(-losses)}
    for name, values in instead.items():
        facts[name] = values if name == "loss" else np.where(np.isnan(facts[name]), values, facts[name])
    return facts


def _known(columns: Columns, ids: tuple[str, ...], names: Sequence[str]) -> dict[str, Floats]:
    """Columns as arrays (N,) over these ids, NaN where a value is not known."""
    return {name: np.array([_number(columns.get(name, {}).get(i)) for i in ids], dtype=np.float64) for name in names}


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _cluster(name: str, index: str, *, authors: bool) -> str:
    """The author of an example of TOFU; else each example is its own."""
    if authors and index.isdigit():
        return f"{name}-author-{int(index) // ROWS_AN_AUTHOR}"
    return f"{name}-{index}"
