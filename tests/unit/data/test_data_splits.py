"""Forget by id, overlap, halves and streams."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofmu.data import Stream, deal, overlap, read, split_by_ids, steer_report
from ofmu.errors import InputError


def test_ids_are_row_numbers_or_the_column(tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("\ufeff3\r\n\n 1 \n3\n", encoding="utf-8")
    forget, retain = split_by_ids(read(["a", "b", "c", "d"]), ids)
    assert (forget.ids, retain.ids) == (("1", "3"), ("0", "2"))
    named = read([{"id": name, "text": name} for name in "abc"])
    assert split_by_ids(named, ["c"])[0].ids == ("c",)
    assert split_by_ids(read(["a", "b"]), [1])[0].ids == ("1",)


def test_forget10_by_its_row_numbers(data_dir: Path, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("\n".join(str(row) for row in range(3600, 4000)))
    forget, retain = split_by_ids(read(data_dir / "tofu/full.jsonl"), ids)
    for found, name in ((forget, "forget10"), (retain, "retain90")):
        alone = read(data_dir / f"tofu/{name}.jsonl")
        assert [found.content_hash(row) for row in range(len(found))] == (
            [alone.content_hash(row) for row in range(len(alone))]
        )
        assert found.clusters == alone.clusters
    assert overlap(forget, retain) == (0, None)
    assert overlap(forget, read(data_dir / "tofu/full.jsonl")) == (400, "3600")


def test_halves_are_dealt_in_the_order_of_the_hash() -> None:
    clusters = [f"c{number}" for number in range(9)] * 2
    order = sorted(set(clusters), key=lambda c: hashlib.blake2b(c.encode(), digest_size=8).digest())
    expected = {cluster: ("steer", "report")[place % 2] for place, cluster in enumerate(order)}
    assert steer_report(clusters) == [expected[cluster] for cluster in clusters]
    assert steer_report(clusters[::-1]) == [expected[cluster] for cluster in clusters[::-1]]


@given(st.lists(st.lists(st.integers(0, 30).map(str), max_size=40), min_size=1, max_size=4))
def test_a_cluster_is_in_one_half_and_sources_are_even(sources: list[list[str]]) -> None:
    dealt = deal(*sources)
    assert set(dealt) == {cluster for source in sources for cluster in source}
    assert abs(sum({"steer": 1, "report": -1}[dealt[c]] for c in set(sources[0]))) <= 1
    seen: set[str] = set()
    for source in sources:
        count = Counter(dealt[cluster] for cluster in set(source))
        before = Counter(dealt[cluster] for cluster in set(source) & seen)
        gap = abs(before["steer"] - before["report"]) - len(set(source) - seen)
        assert abs(count["steer"] - count["report"]) <= max(gap, 1)
        assert steer_report(source, dealt) == [dealt[cluster] for cluster in source]
        seen |= set(source)


def test_an_author_is_in_one_half_in_every_file(data_dir: Path) -> None:
    names = ("forget10", "holdout10", "forget10_perturbed", "full")
    sets = {name: read(data_dir / f"tofu/{name}.jsonl") for name in names}
    dealt = deal(*(found.clusters for found in sets.values()))
    halves = {name: steer_report(found.clusters, dealt) for name, found in sets.items()}
    assert halves["forget10"] == halves["forget10_perturbed"] == halves["full"][3600:]
    assert [Counter(halves[name])["steer"] for name in names] == [200, 200, 200, 2000]


@given(n=st.integers(1, 20), size=st.integers(1, 30), seed=st.integers(0, 2**40))
def test_streams_shuffle_without_replacement_and_run_on(n: int, size: int, seed: int) -> None:
    stream = Stream(n, size, seed)
    batches = [stream.next() for _ in range(5)]
    assert all(len(batch) == size for batch in batches)
    flat = [index for batch in batches for index in batch]
    for start in range(0, len(flat) - n + 1, n):
        assert sorted(flat[start : start + n]) == list(range(n))
    assert len(set(flat[len(flat) // n * n :])) == len(flat) % n
    assert stream.epochs == pytest.approx(5 * size / n)
    one_by_one = Stream(n, 1, seed)
    assert flat == [one_by_one.next()[0] for _ in flat]  # the order does not depend on the batch size


@given(n=st.integers(1, 20), size=st.integers(1, 30), before=st.integers(0, 6))
def test_streams_resume(n: int, size: int, before: int) -> None:
    stream = Stream(n, size, 7)
    for _ in range(before):
        stream.next()
    state = json.loads(json.dumps(stream.state_dict()))
    rest = [stream.next() for _ in range(4)]
    again = Stream(n, size, 7)
    again.next()
    again.load_state_dict(state)
    assert [again.next() for _ in range(4)] == rest


def test_streams_of_other_seeds_differ() -> None:
    orders = {tuple(Stream(50, 50, seed).next()) for seed in range(20)}
    assert len(orders) == 20
    stream = Stream(50, 50, 0)
    assert stream.next() != stream.next()


def test_streams_refuse() -> None:
    with pytest.raises(InputError, match="stream: n is 0, but must be >= 1"):
        Stream(0, 1, 0)
    with pytest.raises(InputError, match="the saved stream has 4 examples and seed 0, this one 5 and seed 0"):
        Stream(5, 1, 0).load_state_dict(Stream(4, 1, 0).state_dict())
