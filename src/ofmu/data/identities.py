"""Names: the ids of rows, and names of clusters that tell nothing of their content."""

from __future__ import annotations

import hashlib

from ofmu.data.tables import Table


def row_ids(table: Table) -> tuple[str, ...]:
    """One id a row, as text: the column ``id`` where there is one, else the row number from 0.

    A row without an id, or with one that another row has, is an InputError that names file, row and id.
    """
    if "id" not in table.columns:
        return tuple(str(row) for row in range(len(table.rows)))
    first: dict[str, int] = {}
    for row in range(len(table.rows)):
        name = table.text(row, "id").strip()
        if not name:
            raise table.error(row, "the id is empty")
        if name in first:
            raise table.error(row, f"the id '{name}' comes twice (first in {table.place(first[name])})")
        first[name] = row
    return tuple(first)


def cluster_name(what: str, content: str) -> str:
    """A name that tells nothing of the content and is the same wherever the content is.

    >>> cluster_name("author", "A. Name") == cluster_name("author", "A. Name")
    True
    """
    return f"{what}-{hashlib.blake2b(content.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"
