"""ROUGE: how many words of the true answer the generation has, in any order (1) or in order (L).

Source: C.-Y. Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004; METRICS.md §2.4.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from ofmu.evaluation.porter import stem as stem_of

_NOT_ASCII_WORD = re.compile(r"[^a-z0-9]+")
_UNICODE_WORD = re.compile(r"\w+")
_STEMMED_FROM = 4  # letters; shorter words stay as they are


@dataclass(frozen=True)
class Rouge:
    """Shares in [0, 1], all 0 when either text has no words.

    Args:
        rouge1_recall: words of the reference that the generation has, counted with multiplicity, / |reference|.
        rougeL_recall: LCS / |reference|; never falls when text is appended to the generation.
        rougeL_precision: LCS / |generation|.
        rougeL_f1: 2PR / (P + R).
    """

    rouge1_recall: float
    rougeL_recall: float
    rougeL_precision: float
    rougeL_f1: float


def words(text: str, *, stem: bool = True, unicode: bool = False) -> list[str]:
    r"""The words that ROUGE compares.

    Args:
        text: anything; lower-cased first.
        stem: Porter-stem words longer than three letters.
        unicode: words are runs of ``\w`` after NFKC normalisation, never stemmed; otherwise runs of [a-z0-9], where
            letters outside them part words.

    >>> words("The cats of Zürich"), words("The cats of Zürich", unicode=True)
    (['the', 'cat', 'of', 'z', 'rich'], ['the', 'cats', 'of', 'zürich'])
    """
    if unicode:
        return _UNICODE_WORD.findall(unicodedata.normalize("NFKC", text).lower())
    found = _NOT_ASCII_WORD.sub(" ", text.lower()).split()
    return [stem_of(word) if len(word) >= _STEMMED_FROM else word for word in found] if stem else found


def rouge(reference: str, generation: str, stem: bool = True, unicode: bool = False) -> Rouge:
    """ROUGE-1 and ROUGE-L of a generation against the true answer.

    Texts are compared whole, not sentence by sentence. Recall does not see how much else was said: report F1, the
    length and the share of generations cut by the token limit beside it.

    Args:
        reference: the true answer.
        generation: what the model said.
        stem: as the TOFU scores; the original MUSE scores do not stem.
        unicode: see :func:`words`; implies no stemming.

    Source: METRICS.md §2.4.

    >>> rouge("the cats sat", "the cat sat down")
    Rouge(rouge1_recall=1.0, rougeL_recall=1.0, rougeL_precision=0.75, rougeL_f1=0.8571428571428571)
    """
    true, said = (words(text, stem=stem, unicode=unicode) for text in (reference, generation))
    if not true or not said:
        return Rouge(0.0, 0.0, 0.0, 0.0)
    common = (Counter(true) & Counter(said)).total()
    length = longest_common_subsequence(true, said)
    recall, precision = length / len(true), length / len(said)
    f1 = 2 * precision * recall / (precision + recall) if length else 0.0
    return Rouge(common / len(true), recall, precision, f1)


def longest_common_subsequence(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence, a row of the table at a time as bits of one integer.

    A zero bit i of ``row`` says that the length grows from prefix i to prefix i + 1 of ``first``; the addition carries
    each match to the next place that can use it. |second| additions of |first| bits.

    Source: H. Hyyrö, "Bit-parallel LCS-length computation revisited", 2004.

    >>> longest_common_subsequence("the cats".split(), "cats the cats".split())
    2
    """
    places: dict[Hashable, int] = {}
    for index, item in enumerate(first):
        places[item] = places.get(item, 0) | 1 << index
    full = (1 << len(first)) - 1
    row = full
    for item in second:
        matches = row & places.get(item, 0)
        if matches:
            row = ((row + matches) | (row - matches)) & full
    return len(first) - row.bit_count()
