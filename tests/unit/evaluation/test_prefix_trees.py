"""Sequences that begin alike: nothing is lost in a tree, and nobody sees what is not on the way."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ofmu.evaluation import prefix_trees
from ofmu.evaluation.prefix_trees import trees


def of(*sequences: list[int]) -> list[np.ndarray]:
    return [np.array(each, dtype=np.int32) for each in sequences]


def test_a_question_with_two_answers():
    (tree,) = trees(of([7, 8, 1, 2], [7, 8, 1, 3, 4]))
    assert tree.tokens.tolist() == [7, 8, 1, 2, 3, 4]
    assert [path.tolist() for path in tree.paths] == [[0, 1, 2, 3], [0, 1, 2, 4, 5]]
    assert tree.depths().tolist() == [0, 1, 2, 3, 3, 4]
    assert np.flatnonzero(tree.visible()[5]).tolist() == [0, 1, 2, 4, 5]


def test_what_shares_little_or_would_grow_too_large_begins_a_tree_of_its_own(monkeypatch):
    assert len(trees(of([7, 1, 1, 1, 1], [7, 2, 2, 2, 2]))) == 2
    monkeypatch.setattr(prefix_trees, "NODES", 5)
    assert len(trees(of([7, 8, 1, 2], [7, 8, 1, 3, 4]))) == 2
    assert len(trees(of([7] * 9, [7] * 9))) == 2  # a long text never gets a mask of its square


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=12))
def test_each_sequence_is_read_back_from_its_path_and_sees_itself_alone(sequences):
    grown = trees(of(*sequences))
    assert sorted(member for tree in grown for member in tree.members) == list(range(len(sequences)))
    for tree in grown:
        visible, depths = tree.visible(), tree.depths()
        for member, path in zip(tree.members, tree.paths):
            assert tree.tokens[path].tolist() == sequences[member]
            assert depths[path].tolist() == list(range(len(path)))
            for depth, node in enumerate(path):
                assert np.flatnonzero(visible[node]).tolist() == sorted(path[: depth + 1])
