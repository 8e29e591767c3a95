"""Who is to be forgotten, by id; and whether two sets share an example."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from ofmu.data.examples import Examples, ImageExamples, TextExamples
from ofmu.errors import InputError

AnyExamples = TypeVar("AnyExamples", TextExamples, ImageExamples)


def split_by_ids(examples: AnyExamples, ids: str | Path | Sequence[str | int]) -> tuple[AnyExamples, AnyExamples]:
    """Forget = the examples whose id is listed, retain = the rest; both in their order in ``examples``.

    Args:
        examples: the whole data.
        ids: a file with one id a line (blank lines are passed over), or the ids themselves. An id is the
            column ``id`` where there is one, else the row number from 0.

    Returns:
        (forget, retain).

    Raises:
        InputError: for a file that cannot be read, an id that does not exist (count and first one), and
            where one of the two sets would be empty.
    """
    wanted, source = _wanted(ids)
    if not wanted:
        raise InputError(f"{source} lists no id: nothing to forget")
    known = set(examples.ids)
    missing = [name for name in wanted if name not in known]
    if missing:
        first, last = examples.ids[0], examples.ids[-1]
        count = f"{len(missing)} ids do" if len(missing) > 1 else "1 id does"
        raise InputError(
            f"{source}: {count} not exist in {examples.source}, the first is '{missing[0]}' "
            f"(ids there go from '{first}' to '{last}')"
        )
    forget = [index for index, name in enumerate(examples.ids) if name in wanted]
    retain = [index for index, name in enumerate(examples.ids) if name not in wanted]
    if not retain:
        raise InputError(f"{source} lists all {len(examples)} ids of {examples.source}: nothing is left to retain")
    return examples.take(forget), examples.take(retain)


def overlap(a: Examples, b: Examples) -> tuple[int, str | None]:
    """How many examples of ``a`` are also in ``b`` by content, and the id (in ``a``) of the first one.

    >>> from ofmu.data.formats import read
    >>> overlap(read(["one", "two"]), read(["two", "three"]))
    (1, '1')
    """
    theirs = {b.content_hash(index) for index in range(len(b))}
    shared = [name for index, name in enumerate(a.ids) if a.content_hash(index) in theirs]
    return len(shared), shared[0] if shared else None


def check_disjoint(
    a: Examples, b: Examples, *, names: tuple[str, str] = ("forget", "retain"), allow: bool = False
) -> int:
    """Refuse an example in two sets that must have none in common.

    Args:
        a: a set.
        b: the other set.
        names: what the two are called.
        allow: ``--allow-overlap``: count, but go on.

    Returns:
        The number of examples of ``a`` that are also in ``b``.

    Raises:
        InputError: with the count and the first one, unless ``allow``.
    """
    count, first = overlap(a, b)
    if count and not allow:
        subject = f"{count} examples are" if count > 1 else "1 example is"
        raise InputError(
            f"{subject} in both the {names[0]} set ({a.source}) and the {names[1]} set ({b.source}), "
            f"the first is id '{first}' of the {names[0]} set; take it out of one of them or give --allow-overlap"
        )
    return count


def _wanted(ids: str | Path | Sequence[str | int]) -> tuple[dict[str, None], str]:
    """The ids without repetition, in order (a dict keeps it), and what to call their source."""
    if not isinstance(ids, str | Path):
        return {str(name): None for name in ids}, "forget ids"
    try:
        text = Path(ids).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"forget ids: cannot read {ids} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"forget ids: {ids} is not UTF-8 text (byte {error.start})") from error
    return {line.strip(): None for line in text.splitlines() if line.strip()}, str(ids)
