"""What generations are worth: each answer against the true one, as facts of its example."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofmu.errors import InputError
from ofmu.evaluation.fluency import is_empty, rep4
from ofmu.evaluation.generation import Generations
from ofmu.evaluation.leak import SUCCESS_RECALL, leaks
from ofmu.evaluation.record import Record
from ofmu.evaluation.rouge import rouge

Judge = Callable[[str, str], float]
"""(true answer, generation) → score, higher where more of the secret is in the generation."""

FACTS = (
    "rouge1_recall",
    "rougeL_recall",
    "rougeL_f1",
    "rougeL_recall_unicode",
    "rougeL_f1_unicode",
    "generated_tokens",
    "cut",
    "rep4",
    "empty",
)


@dataclass(frozen=True, eq=False)
class AnswerFacts:
    """Facts of N answers.

    Args:
        ids: the examples' ids.
        columns: name of :data:`FACTS` → float64 (N,); NaN where there is nothing to measure (``rep4`` of fewer than
            four tokens), +inf where the model's logits were not finite, so that no score is made of it.
    """

    ids: tuple[str, ...]
    columns: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Leaks:
    """Samples of N questions under a judge.

    Args:
        ids: the questions' ids.
        clusters: their clusters.
        scores: (N, n) the judge's scores.
        successes: (N,) c, how many of the n samples reach the judge's threshold.
    """

    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    scores: NDArray[np.float64]
    successes: NDArray[np.float64]

    @property
    def n(self) -> int:
        """Samples a question."""
        return self.scores.shape[1]


def answer_facts(
    generations: Generations, references: Sequence[str], tokenizer: Any, *, stem: bool = True
) -> AnswerFacts:
    """Compare greedy answers with the true ones.

    ROUGE of each pair, in words of a to z and in those of any script (METRICS.md §2.4); number of generated tokens
    without the end token; whether the limit of tokens cut the answer (0 or 1); repeated 4-grams of tokens; whether
    nothing was said (0 or 1; both §2.9).

    Args:
        generations: one answer a prompt; of several the first counts.
        references: the true answers, in the same order.
        tokenizer: of the model.
        stem: Porter-stem words before ROUGE.
    """
    texts = [answers[0] for answers in _texts(generations, references, tokenizer)]
    scores = [rouge(true, said, stem=stem) for true, said in zip(references, texts)]
    unicode = [rouge(true, said, unicode=True) for true, said in zip(references, texts)]
    tokens = [answers[0] for answers in generations.tokens]
    columns = {
        "rouge1_recall": [score.rouge1_recall for score in scores],
        "rougeL_recall": [score.rougeL_recall for score in scores],
        "rougeL_f1": [score.rougeL_f1 for score in scores],
        "rougeL_recall_unicode": [score.rougeL_recall for score in unicode],
        "rougeL_f1_unicode": [score.rougeL_f1 for score in unicode],
        "generated_tokens": [len(answer) for answer in tokens],
        "cut": generations.cut[:, 0],
        "rep4": [rep4(answer.tolist()) for answer in tokens],
        "empty": [is_empty(text) for text in texts],
    }
    broken = generations.broken[:, 0]
    arrays = {name: np.where(broken, np.inf, np.asarray(values, np.float64)) for name, values in columns.items()}
    return AnswerFacts(generations.ids, arrays)


def together(parts: Sequence[AnswerFacts]) -> AnswerFacts:
    """The facts of all answers, of at least one part; their order does not matter, since they are matched by id."""
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    return AnswerFacts(tuple(name for part in parts for name in part.ids), columns)


def with_generations(record: Record, facts: AnswerFacts) -> Record:
    """The record with these facts, matched by id; NaN for an example that was not asked.

    Raises:
        InputError: if no example of the record was asked.
    """
    return replace(record, facts={**record.facts, **_matched(record.ids, facts)})


def _matched(ids: Sequence[str], facts: AnswerFacts) -> dict[str, NDArray[np.float64]]:
    place = {name: index for index, name in enumerate(facts.ids)}
    where = np.array([place.get(name, -1) for name in ids], dtype=np.int64)
    if len(where) and (where < 0).all():
        raise InputError(f"none of {len(where)} examples has a generation (the first is '{ids[0]}')")
    return {name: np.where(where >= 0, values[where], np.nan) for name, values in facts.columns.items()}


def rougeL_recall(reference: str, generation: str) -> float:
    """The default judge of leak@k: ROUGE-L recall, stemmed, in [0, 1]."""
    return rouge(reference, generation).rougeL_recall


def judged(
    generations: Generations,
    references: Sequence[str],
    tokenizer: Any,
    *,
    judge: Judge = rougeL_recall,
    threshold: float = SUCCESS_RECALL,
) -> Leaks:
    """Judge sampled answers for leak@k (METRICS.md §2.7).

    Args:
        generations: n samples a question, of :func:`ofmu.evaluation.generation.generate` with a ``Sampling``.
        references: the true answers, in the same order.
        tokenizer: of the model.
        judge: scores one sample; must answer for every one.
        threshold: a sample leaks if its score is at least this.

    Raises:
        InputError: if the judge gives NaN, or the model's logits were not finite: neither is "no leak".
    """
    if generations.broken.any():
        first = generations.ids[int(generations.broken.any(axis=1).argmax())]
        raise InputError(f"the model's logits are not finite (id '{first}'): its samples cannot be judged")
    texts = _texts(generations, references, tokenizer)
    scores = np.array([[judge(true, said) for said in row] for true, row in zip(references, texts)], dtype=np.float64)
    return Leaks(generations.ids, generations.clusters, scores, leaks(scores, threshold))


def _texts(generations: Generations, references: Sequence[str], tokenizer: Any) -> list[list[str]]:
    if len(references) != len(generations):
        raise InputError(f"{len(generations)} generations cannot be compared with {len(references)} true answers")
    return generations.texts(tokenizer)
