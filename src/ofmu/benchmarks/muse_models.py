"""MUSE, one model: what it says word for word, what it answers, and what its losses give away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ofmu.errors import InputError

if TYPE_CHECKING:
    from ofmu.benchmarks.muse_options import Options, Wanted
    from ofmu.evaluation.muse_scoring import Memorisation
    from ofmu.evaluation.record import Record

Rows = Sequence[Mapping[str, Any]]


class Model:
    """What was measured of one model.

    Args:
        memorisation: (mode, criterion) → 100 · ROUGE-L F1 of each example.
        records: `forget` and `holdout` documents; empty where they are missing.
    """

    def __init__(self, memorisation: Mapping[tuple[str, str], Memorisation], records: Mapping[str, Record]) -> None:
        self.memorisation, self.records = memorisation, records


def measured(wanted: Wanted, data: Mapping[str, Rows], options: Options, tell: Callable[[str], None]) -> Model:
    """Load a model, measure it, let it go.

    Raises:
        InputError: it cannot be read, or is no language model.
    """
    from ofmu.data.formats import read
    from ofmu.engine.processes import processes
    from ofmu.evaluation.muse_scoring import knowmem, verbmem
    from ofmu.evaluation.scoring import score_sets
    from ofmu.runs.inputs import encoder, read_model

    loaded = read_model(wanted.source, options)
    if loaded.modality != "text":
        raise InputError(f"{wanted.source} is no language model")
    title = f"{wanted.name}, fold {wanted.fold}" if wanted.fold else wanted.name
    found: dict[tuple[str, str], Memorisation] = {}
    records: dict[str, Record] = {}
    with processes(device=options.device, precision=options.precision, parallel="auto") as ranks, ranks.autocast():
        model = loaded.model.to(ranks.device)
        same: dict[str, Any] = {"batch_size": options.batch_size, "device": ranks.device}
        for mode in options.mode:
            tell(f"{title}: {mode}")
            if "verbmem_forget" in data:
                found[mode, "verbmem"] = verbmem(model, data["verbmem_forget"], loaded.tokenizer, mode=mode, **same)
            for on in ("forget", "retain"):
                if (rows := data.get(f"knowmem_{on}_qa")) is not None:
                    shots = data[f"knowmem_{on}_qa_icl"]
                    found[mode, f"{on}_knowmem"] = knowmem(
                        model, rows, loaded.tokenizer, shots=shots, mode=mode, **same
                    )
        if "privleak_forget" in data:
            tell(f"{title}: documents")
            encode = encoder(loaded, None)
            texts = {on: read(list(data[f"privleak_{on}"]), name=on, format="text") for on in ("forget", "holdout")}
            records = score_sets(
                model, {on: encode(each) for on, each in texts.items()}, fingerprint=loaded.fingerprint, **same
            )
    return Model(found, records)
