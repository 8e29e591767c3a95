"""Room in a cache changes where keys and values lie, never what they are."""

from __future__ import annotations

import torch
from transformers.cache_utils import DynamicCache

from ofmu.evaluation.key_values import can_join, with_room


def grown(room: int | None) -> tuple[list[torch.Tensor], DynamicCache]:
    draw = torch.Generator().manual_seed(0)
    cache, seen = DynamicCache(), []
    for step, width in enumerate((5, 1, 1, 2, 1)):
        if step == 1 and room is not None:
            cache = with_room(cache, room)
        states = torch.randn(2, 3, 2, width, 4, generator=draw)  # keys and values (B, heads, T, size)
        seen += [part.clone() for part in cache.update(states[0], states[1], 0)]
    return seen, cache


def test_tokens_within_and_beyond_the_room_are_appended_as_ever():
    expected, _ = grown(None)
    for room in (0, 1, 3, 8):
        found, cache = grown(room)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
        assert cache.get_seq_length() == 10
        assert can_join(cache)


def test_a_token_more_does_not_move_those_before_it():
    _, cache = grown(8)
    before = cache.layers[0].keys.data_ptr()
    cache.update(torch.zeros(3, 2, 1, 4), torch.zeros(3, 2, 1, 4), 0)
    assert cache.layers[0].keys.data_ptr() == before
