"""A language model scored by two ranks, sharded (FSDP2) and copied (DDP): texts that begin alike, and long ones.

Run by torchrun, it leaves the losses of every token in a folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributed.tensor import DTensor

from ofmu.data.formats import read
from ofmu.data.tokens import TokenSet, encode_text
from ofmu.data.views import views
from ofmu.engine.processes import Processes, processes
from ofmu.evaluation import text_passes
from ofmu.evaluation.scoring import score_sets
from tasks import make_task
from toys import CITIES, llama, tokenizer


def sets() -> dict[str, TokenSet]:
    """Answers in three forms, some longer than what goes into a tree."""
    rows = [
        {
            "question": f"Where does clerk {n} live?",
            "answer": f"In {CITIES[n]}" + ", as far as anybody can tell" * (n % 3),
            "perturbed_answer": [f"In {CITIES[n - k]}" for k in range(1, 4)],
        }
        for n in range(7)
    ]
    examples: Any = read(rows, name="forget")
    return {n: encode_text(e, tokenizer(), max_length=96) for n, e in {"own": examples, **views(examples)}.items()}


def losses(model: nn.Module, ranks: Processes | None) -> Mapping[str, np.ndarray]:
    """Set → −log p of its tokens."""
    return {name: each.columns["nll"] for name, each in score_sets(model, sets(), batch_size=3, ranks=ranks).items()}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for parallel in ("fsdp", "ddp"):
        with processes(device="cpu", precision="fp32", parallel=parallel) as ranks:
            assert ranks.world == 2, "the processes do not know of each other"
            model = make_task(llama(), ranks).model
            assert all(isinstance(p, DTensor) for p in model.parameters()) == (parallel == "fsdp")
            for longest in (512, 60):
                text_passes.LONGEST = longest
                assert text_passes._can_be_told(model, torch.device("cpu"))
                np.savez(folder / f"{parallel}-{longest}-{ranks.rank}.npz", **losses(model, ranks))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    torch.distributed.destroy_process_group()
    os._exit(0)  # nothing is left to do, and gloo's threads take their time
