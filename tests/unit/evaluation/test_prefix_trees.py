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
    (tree,) = trees(of([7, 8, 1, 2], [7, 8, 1, 3, 4]), most=2)
    assert tree.tokens.tolist() == [7, 8, 1, 2, 3, 4]
    assert [path.tolist() for path in tree.paths] == [[0, 1, 2, 3], [0, 1, 2, 4, 5]]
    assert tree.depths().tolist() == [0, 1, 2, 3, 3, 4]
    assert [(path.tolist(), shared) for path, shared in tree.branches()] == [([0, 1, 2, 3], 0), ([0, 1, 2, 4, 5], 3)]


def test_a_tree_takes_more_sequences_than_it_should_only_while_it_is_small(monkeypatch):
    several = of([7, 8, 1, 2], [7, 8, 1, 3, 4], [7, 9], [5])
    assert [tree.members for tree in trees(several, most=2)] == [(3, 0, 1, 2)]
    monkeypatch.setattr(prefix_trees, "NODES", 5)
    assert [tree.members for tree in trees(several, most=2)] == [(3, 0), (1, 2)]
    assert [tree.members for tree in trees(several, most=3)] == [(3, 0, 1), (2,)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=12), st.integers(1, 12))
def test_each_sequence_is_read_back_from_its_path_and_each_node_is_on_one_branch(sequences, most):
    grown = trees(of(*sequences), most)
    assert sorted(member for tree in grown for member in tree.members) == list(range(len(sequences)))
    for tree in grown:
        depths = tree.depths()
        for member, path in zip(tree.members, tree.paths):
            assert tree.tokens[path].tolist() == sequences[member]
            assert depths[path].tolist() == list(range(len(path)))
        beginnings = {tuple(sequences[member][:end]) for member in tree.members for end in range(1, 9)
                      if end <= len(sequences[member])}  # fmt: skip
        assert len(tree) == len(beginnings)
        assert [node for path, shared in tree.branches() for node in path[shared:]] == list(range(len(tree)))
