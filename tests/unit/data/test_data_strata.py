"""Batches in fixed parts from groups: each group without replacement, resumable, no two groups in step."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofmu.data.strata import Strata
from ofmu.errors import InputError

GROUPS = ([3, 5, 8, 1], [0, 2, 4, 6, 7, 9, 10])


@given(st.integers(2, 9), st.integers(0, 2**40), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_parts_are_equal_and_each_group_is_gone_through_before_it_begins_again(
    size: int, seed: int, steps: int
) -> None:
    sampler = Strata(GROUPS, size, seed)
    batches = [sampler.next() for _ in range(steps)]
    parts = size - size // 2, size // 2
    for group, part, drawn in zip(GROUPS, parts, ([b[::2] for b in batches], [b[1::2] for b in batches])):
        assert {len(each) for each in drawn} == {part}
        order = [index for each in drawn for index in each]
        for start in range(0, len(order), len(group)):
            once = order[start : start + len(group)]
            assert len(set(once)) == len(once)
            assert set(once) <= set(group)


@given(st.integers(2, 9))
def test_the_beginning_and_the_rest_of_a_batch_are_of_all_groups(size: int) -> None:
    """A part of a batch stands for the whole where curvature or the bias of noise is taken from it."""
    batch = Strata(GROUPS, size, 0).next()
    for cut in range(size + 1):
        near = [index in GROUPS[0] for index in batch[:cut]]
        assert abs(2 * sum(near) - cut) <= 1


@given(st.integers(2, 9), st.integers(0, 9), st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_it_goes_on_where_it_was_stopped(size: int, seed: int, steps: int) -> None:
    straight = Strata(GROUPS, size, seed)
    for _ in range(steps):
        straight.next()
    state = json.loads(json.dumps(straight.state_dict()))
    again = Strata(state["strata"], size, seed)
    again.load_state_dict(state)
    assert [again.next() for _ in range(5)] == [straight.next() for _ in range(5)]


def test_groups_are_shuffled_apart_from_each_other_and_by_seed() -> None:
    def positions(seed: int) -> list[tuple[int, int]]:
        sampler = Strata([range(50), range(50, 100)], 2, seed)
        return [(a, b - 50) for a, b in (sampler.next() for _ in range(50))]

    assert sum(a == b for a, b in positions(0)) < 10  # in step, all fifty would be
    assert positions(0) == positions(0) != positions(1)


def test_a_batch_smaller_than_the_number_of_groups_and_another_seed_are_refused() -> None:
    with pytest.raises(InputError, match="batches of 1 cannot be drawn from 2 groups"):
        Strata(GROUPS, 1, 0)
    with pytest.raises(InputError, match="resume with the same data and seed"):
        Strata(GROUPS, 4, 1).load_state_dict(Strata(GROUPS, 4, 0).state_dict())
