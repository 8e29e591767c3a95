"""TOFU's authors, recognised by content: files of questions and answers in blocks of 20 about a person each.

A block's person is the longest sequence of capitalised words that (nearly) as many of its 20 rows share as
share any. A file is taken for TOFU's if its rows come in blocks of 20, nine blocks of ten name a person in
12 rows or more, and no two blocks the same one: a book about one hero, or rows in any other order, are not.
(Measured on TOFU: 198 of 200 blocks share a name in 17 to 20 rows, all 20 of holdout10 in 20; shuffled rows
share one in 3 at most.) An author is known by the name, so that all files agree. A block that hardly names
its author (TOFU has two) is known by its text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from ofmu.data.identities import cluster_name

BLOCK = 20
_MIN_ROWS = 12
_NEARLY = 0.8  # the full name may stand in a row less than a part of it
_LONGEST = 6  # words of a name
_RUN = re.compile(r"[^\W\d_][\w.'’-]*(?: [^\W\d_][\w.'’-]*)*")
_POSSESSIVE = re.compile(r"['’]s?$")
_PARTICLES = frozenset({"al", "bin", "da", "de", "del", "der", "di", "du", "el", "ibn", "la", "van", "von", "y"})


def authors(pairs: Sequence[tuple[str, str]]) -> list[str] | None:
    """The author of each row, as a name that tells nothing (a hash).

    Args:
        pairs: question and answer of each row, in the file's order.

    Returns:
        One name a row, or None if the file is not in blocks of 20 rows about one person each.
    """
    if not pairs or len(pairs) % BLOCK:
        return None
    blocks = [pairs[start : start + BLOCK] for start in range(0, len(pairs), BLOCK)]
    names = [shared_name(block) for block in blocks]
    known = [name for name in names if name is not None]
    if 10 * len(known) < 9 * len(names) or len(set(known)) < len(known):
        return None
    marks = [
        cluster_name("author", name or "\n".join(map("\n".join, block)))
        for name, block in zip(names, blocks, strict=True)
    ]
    return [mark for mark in marks for _ in range(BLOCK)]


def shared_name(rows: Sequence[tuple[str, str]]) -> str | None:
    """The name that at least 12 of 20 rows share, in lower case; None if there is none.

    >>> shared_name([("Where was Ada Byron King born?", "In London.")] * 20)
    'ada byron king'
    """
    count = Counter(name for question, answer in rows for name in _names(question) | _names(answer))
    most = max(count.values(), default=0)
    if most < _MIN_ROWS * len(rows) / BLOCK:
        return None
    near = (name for name, rows_with in count.items() if rows_with >= _NEARLY * most)
    return max(near, key=lambda name: (name.count(" "), count[name], name)).lower()


def _names(text: str) -> set[str]:
    """All sequences of two or more capitalised words of a text, particles between them allowed."""
    found: set[str] = set()
    for run in _RUN.finditer(text):
        words = run.group().split(" ")
        for start, first in enumerate(words):
            if not first[0].isupper():
                continue
            for end in range(start + 1, min(start + _LONGEST, len(words))):
                last = _POSSESSIVE.sub("", words[end].rstrip(".'’-"))
                if last[:1].isupper():
                    found.add(" ".join([*words[start:end], last]))
                if not _goes_on(words[end]):
                    break
    return found


def _goes_on(word: str) -> bool:
    """Whether a name may go on after this word: not over the end of a sentence or a possessive."""
    return (word[0].isupper() or word in _PARTICLES) and not (len(word) > 2 and word[-1] in ".'’")
