"""Which examples belong together: the unit of resampling, and what one half of an evaluation may not share.

In order: the column asked for; a column ``cluster``, ``author`` or ``document``; TOFU's authors, recognised by
content; else each example is its own (examples with the same prompt are one). ``none`` in the place of a column
asks for the last at once. A cluster's name is the same in every file. A column ``cluster`` is taken as it is.
What any other column says may be the very name that is to be forgotten, and records keep clusters: it appears
as a hash only.
"""

from __future__ import annotations

from collections.abc import Sequence

from ofmu.data.authors import authors
from ofmu.data.examples import Message
from ofmu.data.identities import cluster_name
from ofmu.data.tables import Table, nearest
from ofmu.errors import InputError

_COLUMNS = ("cluster", "author", "document")

NONE = "none"
"""In the place of a column: each example is its own cluster, whatever the columns and the content say."""


def cluster_rows(
    table: Table,
    contents: Sequence[tuple[str | tuple[Message, ...] | None, str]],
    format: str,
    cluster_by: str | None,
) -> tuple[list[str], bool]:
    """The cluster of each row of a table of texts, and whether they were recognised by content.

    Args:
        table: the rows.
        contents: prompt and completion of each row.
        format: what the rows are; authors are looked for in ``question_answer`` only.
        cluster_by: the column that says it, or :data:`NONE`; None: see the module.

    A column that does not exist, or a row where it is empty, is an InputError.
    """
    column = cluster_column(table, cluster_by)
    if column:
        return by_column(table, column), False
    words = [_words(prompt, completion) for prompt, completion in contents]
    found = authors(words) if format == "question_answer" and cluster_by is None else None
    if found is not None:
        return found, True
    return [cluster_name("example", prompt or completion) for prompt, completion in words], False


def cluster_column(table: Table, cluster_by: str | None) -> str | None:
    """The column that says what belongs together, if there is one."""
    columns = table.columns
    if cluster_by is None:
        return next((name for name in _COLUMNS if name in columns), None)
    if cluster_by == NONE and NONE not in columns:
        return None
    if cluster_by not in columns:
        hint = nearest([cluster_by], columns)
        raise InputError(
            f"{table.source} has no column '{cluster_by}' to cluster by{hint}; found: {', '.join(columns)}"
        )
    return cluster_by


def by_column(table: Table, column: str) -> list[str]:
    """The clusters that a column names."""
    clusters: list[str] = []
    for row in range(len(table.rows)):
        value = table.text(row, column).strip()
        if not value:
            raise table.error(row, f"column '{column}' is empty, but says which rows belong together")
        clusters.append(value if column == "cluster" else cluster_name(column, value))
    return clusters


def _words(prompt: str | tuple[Message, ...] | None, completion: str) -> tuple[str, str]:
    if prompt is None or isinstance(prompt, str):
        return prompt or "", completion
    return "\n".join(turn.content for turn in prompt), completion
