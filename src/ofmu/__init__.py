"""Machine unlearning that forgets, keeps what should stay, and shows both.

Everything here is loaded when it is first used: ``import ofmu`` loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ofmu.version import __version__ as __version__

if TYPE_CHECKING:
    from ofmu.engine.method import Method as Method
    from ofmu.engine.task import Task as Task
    from ofmu.errors import InputError as InputError
    from ofmu.errors import RunError as RunError
    from ofmu.methods.grad_ascent import GradAscent as GradAscent
    from ofmu.methods.grad_diff import GradDiff as GradDiff
    from ofmu.methods.npo import NPO as NPO
    from ofmu.methods.ofmu import OFMU as OFMU
    from ofmu.methods.simnpo import SimNPO as SimNPO
    from ofmu.runs.attack import attack as attack
    from ofmu.runs.python import evaluate as evaluate
    from ofmu.runs.python import finetune as finetune
    from ofmu.runs.python import unlearn as unlearn
    from ofmu.runs.result import Result as Result

_PLACES = {
    "attack": "ofmu.runs.attack",
    "unlearn": "ofmu.runs.python",
    "finetune": "ofmu.runs.python",
    "evaluate": "ofmu.runs.python",
    "Result": "ofmu.runs.result",
    "Task": "ofmu.engine.task",
    "Method": "ofmu.engine.method",
    "OFMU": "ofmu.methods.ofmu",
    "GradAscent": "ofmu.methods.grad_ascent",
    "GradDiff": "ofmu.methods.grad_diff",
    "NPO": "ofmu.methods.npo",
    "SimNPO": "ofmu.methods.simnpo",
    "InputError": "ofmu.errors",
    "RunError": "ofmu.errors",
}

__all__ = [
    "NPO",
    "OFMU",
    "GradAscent",
    "GradDiff",
    "InputError",
    "Method",
    "Result",
    "RunError",
    "SimNPO",
    "Task",
    "__version__",
    "attack",
    "evaluate",
    "finetune",
    "unlearn",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'ofmu' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
