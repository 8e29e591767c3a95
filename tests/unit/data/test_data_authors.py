"""TOFU's authors are the same cluster in every file, and nothing else is taken for TOFU."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from ofmu.data import read
from ofmu.data.authors import BLOCK, authors, shared_name

PERSON = [(f"What did Ada Byron King do in year {year}?", "She wrote.") for year in range(BLOCK)]


@pytest.fixture(scope="module")
def full(data_dir: Path) -> tuple[str, ...]:
    return read(data_dir / "tofu/full.jsonl").clusters


def test_full_has_200_authors_of_20_rows(full: tuple[str, ...]) -> None:
    assert len(set(full)) == 200
    assert all(len(set(full[start : start + BLOCK])) == 1 for start in range(0, 4000, BLOCK))


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("forget01", slice(3960, None)),
        ("forget05", slice(3800, None)),
        ("forget10", slice(3600, None)),
        ("forget01_perturbed", slice(3960, None)),
        ("forget05_perturbed", slice(3800, None)),
        ("forget10_perturbed", slice(3600, None)),
        ("retain99", slice(0, 3960)),
        ("retain95", slice(0, 3800)),
        ("retain90", slice(0, 3600)),
        ("retain_perturbed", slice(0, 400)),
    ],
)
def test_every_file_names_the_author_as_full_does(
    data_dir: Path, full: tuple[str, ...], name: str, where: slice
) -> None:
    assert read(data_dir / f"tofu/{name}.jsonl").clusters == full[where]


@pytest.mark.parametrize(("name", "count"), [("holdout01", 2), ("holdout05", 10), ("holdout10", 20)])
def test_the_holdout_has_authors_of_its_own(data_dir: Path, full: tuple[str, ...], name: str, count: int) -> None:
    clusters = read(data_dir / f"tofu/{name}.jsonl").clusters
    assert len(set(clusters)) == count
    assert not set(clusters) & set(full)
    holdout10 = read(data_dir / "tofu/holdout10.jsonl").clusters
    assert set(clusters) <= set(holdout10)


@pytest.mark.parametrize(
    "path",
    [
        "tofu/real_authors.jsonl",
        "tofu/real_authors_perturbed.jsonl",
        "formats/muse-news-sample/knowmem_forget_qa.jsonl",
        "formats/muse-news-sample/knowmem_retain_qa.jsonl",
    ],
)
def test_other_files_of_100_rows_are_not_taken_for_it(data_dir: Path, path: str) -> None:
    clusters = read(data_dir / path).clusters
    assert len(clusters) == len(set(clusters)) == 100


def test_the_names_are_the_authors(data_dir: Path) -> None:
    rows = [json.loads(line) for line in (data_dir / "tofu/full.jsonl").read_text().splitlines()]
    pairs = [(row["question"], row["answer"]) for row in rows]
    names = [shared_name(pairs[start : start + BLOCK]) for start in range(0, 4000, BLOCK)]
    assert names[0] == "jaime vasquez"
    assert names[11] == "maria estela gutierrez"
    assert names[198] == "basil mahfouz al-kuwaiti"
    assert names[123] == "patrick ryan o'donnell"
    assert [number for number, name in enumerate(names) if name is None] == [72, 88]  # hardly ever named
    shuffled = list(pairs)
    random.Random(0).shuffle(shuffled)
    assert authors(shuffled) is None
    assert authors(pairs[10:-10]) is None  # blocks out of step


def test_one_hero_all_through_is_no_file_of_authors() -> None:
    assert authors(PERSON) is not None
    assert authors(PERSON * 2) is None
    assert authors(PERSON[:-1]) is None
    assert authors([]) is None


def test_an_unnamed_block_among_ten_is_known_by_its_text() -> None:
    def block(first: str) -> list[tuple[str, str]]:
        return [(f"Who is {first} Stone, number {row}?", "A poet.") for row in range(BLOCK)]

    people = [pair for letter in "ABCDEFGHI" for pair in block(f"{letter}da")]
    unnamed = [(f"Who wrote book {row}?", "The author did.") for row in range(BLOCK)]
    found = authors([*people, *unnamed])
    assert found is not None
    assert len(set(found)) == 10
    assert authors([*unnamed, *people])[:BLOCK] == found[-BLOCK:]  # type: ignore[index]
    assert authors([*people[BLOCK:], *unnamed]) is None  # one in nine is too many


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("is Femke Van der Veen's book known?", "femke van der veen"),
        ("is Tan Yu Liang’s book known?", "tan yu liang"),
        ("has Xin Lee Williams' book won?", "xin lee williams"),
        ("was it Zoë Ångström, then?", "zoë ångström"),
        ("nobody is named here", None),
    ],
)
def test_shared_name(text: str, name: str | None) -> None:
    assert shared_name([(text, "Yes.")] * BLOCK) == name
