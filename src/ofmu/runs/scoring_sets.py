"""One set of texts and its other forms under one model, kept in a folder so that nothing is measured twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ofmu.data.examples import TextExamples
from ofmu.data.splits import Examples
from ofmu.data.views import views
from ofmu.engine.forward import Encoded
from ofmu.engine.processes import Processes
from ofmu.errors import InputError
from ofmu.evaluation.record import Record
from ofmu.evaluation.scoring import score_sets
from ofmu.models.loaded import Loaded
from ofmu.runs.answering import Questions, answered


def score_set(
    loaded: Loaded,
    name: str,
    examples: TextExamples,
    encode: Callable[[Examples], Encoded],
    *,
    processes: Processes,
    batch_size: int,
    answers: int | None = None,
    kept: Path | None = None,
) -> dict[str, Record]:
    """Records of a set, its answers in other words and its wrong answers.

    Args:
        loaded: the model, placed on the device.
        name: of the set.
        examples: the set.
        encode: makes batches.
        processes: where the model runs.
        batch_size: examples of one forward pass.
        answers: longest answer in tokens, where the model is to answer too.
        kept: folder of records; one of this model and these data is read instead of measured.
    """
    forms = {name: examples, **{f"{name}-{kind}": made for kind, made in views(examples).items()}}
    encoded = {view: encode(own) for view, own in forms.items()}
    asked = None if answers is None else Questions({name: examples}, answers)
    places = {view: _place(kept, view, answers if view == name else None) for view in forms}
    found = {}
    for view, place in places.items():
        known = _read(place, loaded.fingerprint, encoded[view].fingerprint, answered=asked is not None and view == name)
        if known is not None:
            found[view] = known
    with processes.autocast():
        fresh = score_sets(
            loaded.model,
            {view: each for view, each in encoded.items() if view not in found},
            batch_size=batch_size,
            device=processes.device,
            fingerprint=loaded.fingerprint,
            ranks=processes,
        )
    if asked is not None and name in fresh:
        fresh = answered(fresh, loaded, asked, processes=processes, batch_size=batch_size)
    for view, record in fresh.items():
        place = places[view]
        if place is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            record.to_parquet(place)
    return {view: (found | fresh)[view] for view in forms}


def _place(kept: Path | None, view: str, answers: int | None) -> Path | None:
    """Where a record is kept; longer answers are other answers."""
    return None if kept is None else kept / f"{view}{'' if answers is None else f'.{answers}-tokens'}.parquet"


def _read(place: Path | None, model: str, data: str, *, answered: bool) -> Record | None:
    """The record kept there, if it is of this model and these data and has what is wanted."""
    if place is None or not place.is_file():
        return None
    try:
        record = Record.from_parquet(place)
    except InputError:
        return None
    known = (record.model, record.data) == (model, data)
    return record if known and (not answered or "rougeL_recall" in record.facts) else None
