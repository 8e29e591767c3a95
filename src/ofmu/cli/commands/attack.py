"""``ofmu attack``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ofmu.cli import attacks_told
from ofmu.cli.failures import DONE, STOPPED, Stopped
from ofmu.cli.flags import Switch, Whole, whole
from ofmu.cli.voice import Voice
from ofmu.errors import InputError


def command(given: list[str]) -> tuple[list[str], Callable[..., int]]:
    """The words to parse, and the function to parse them for."""
    return given, attack


def attack(
    run: Path,
    /,
    *names: str,
    output: Path | None = None,
    seeds: Whole = 3,
    device: Literal["cpu", "cuda", "mps"] | None = None,
    batch_size: Annotated[int | None, Parameter(converter=whole)] = None,
    json: Switch = False,
    quiet: Switch = False,
) -> int:
    """What brings it back: attack the unlearned, the original and the retrained model of a run in the same ways.

    The run stays untouched; the same command again goes on where it was stopped, and adds attacks to those done.

    Args:
        run: Folder of a finished run of unlearn or evaluate.
        names: relearning, quantisation, prompts, logit_lens, probe (these if left out), sampling, my_module:MyAttack.
        output: Folder to write; RUN-attacks if left out.
        seeds: Repetitions of what is drawn, with the seeds 0, 1 …
        device: Where to compute; left out, as the run did.
        batch_size: Examples of one forward pass; left out, as the run did.
        json: Print one JSON object on standard output, and everything else on standard error.
        quiet: Print nothing but the path of the result.
    """
    if seeds < 1:
        raise InputError(f"--seeds is {seeds}, but must be >= 1")
    if batch_size is not None and batch_size < 1:
        raise InputError(f"--batch-size is {batch_size}, but must be >= 1")
    with Voice(json=json, quiet=quiet) as voice:
        from ofmu.runs.attack import attack as go

        try:
            with voice.listener() as listener:
                more: dict[str, Any] = {"device": device, "batch_size": batch_size, "listener": listener}
                done = go(run, names, output, seeds=range(seeds), **more)
        except KeyboardInterrupt as error:
            raise Stopped(STOPPED, "interrupted; what was measured is kept, the same command goes on") from error
        attacks_told.tell(done.findings, voice)
        voice.say(f"attacks: {done.path / 'attacks.json'}")
        facts = {"command": "attack", "output": str(done.path), "findings": done.findings, "manifest": done.manifest}
        voice.result(facts, done.path)
    return DONE
