"""Which checkpoint is read when the newest cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ofmu.errors import InputError
from ofmu.runs.checkpoint import Checkpoints


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "something else": lambda path: path.write_text("no checkpoint"),
    "a bit flipped": flip,
    "gone": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_newest_that_can_be_read_is(damage: str, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.load() is None
    older, newest = (checkpoints.save(step, {"step": step, "x": torch.ones(9999)}) for step in (3, 6))
    assert (checkpoints.load() or {})["step"] == 6
    DAMAGE[damage](newest)
    assert (checkpoints.load() or {})["step"] == 3
    DAMAGE[damage](older)
    with pytest.raises(InputError, match=r"no checkpoint in .* can be read.* another --output, or remove "):
        checkpoints.load()
