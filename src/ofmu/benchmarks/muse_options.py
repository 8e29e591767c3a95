"""MUSE: what `ofmu bench muse` is told, and the models that it is to measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from ofmu.ranges import Range


@dataclass(frozen=True, kw_only=True)
class Options:
    """`ofmu bench muse`."""

    data: str | None = None
    """Folder with `verbmem_forget.jsonl`, `knowmem_forget_qa.jsonl`, `privleak_holdout.jsonl` …, or the same names
    as folders and files, `verbmem/forget.json`; what is missing is not measured."""
    model: tuple[str, ...] = ()
    """Models to measure, `NAME=FOLDER` or a folder; may be repeated."""
    original: str | None = None
    """The model that was trained on everything."""
    retrained: str | None = None
    """The model trained without the forget set: the yardstick of the privacy leakage."""
    scal: tuple[str, ...] = ()
    """Scalability: `NAME=FOLDER` for each growing forget set, in their order."""
    sust: tuple[str, ...] = ()
    """Sustainability: `NAME=FOLDER` after each successive request, in their order."""
    mode: tuple[Literal["correct", "parity:muse", "parity:open_unlearning"], ...] = ("correct",)
    """Definitions of the scores; each mode has tables of its own."""
    corpus: Literal["news", "books"] | None = None
    """Whose published retrained model `parity:muse` compares the privacy leakage with."""
    limit: Annotated[int, Range(ge=1)] | None = None
    """First rows of each file; left out: all."""
    batch_size: Annotated[int, Range(ge=1)] = 16
    """Texts at a time."""
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
    output: str | None = None
    """Folder for the tables, new or empty."""


@dataclass(frozen=True)
class Wanted:
    """One model to measure: its row, the table's part that it belongs to, its fold (0: none), its source."""

    name: str
    part: Literal["model", "scal", "sust"]
    fold: int
    source: str
