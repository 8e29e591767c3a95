"""Two processes on this machine, as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def torchrun(*words: object, processes: int = 2, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run a script or `-m module` with its arguments on gloo ranks of one thread each."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(
        [*command, *map(str, words)], capture_output=True, text=True, timeout=timeout, env=environment, check=False
    )
