"""What each form of a step costs against plain paired steps, in time, gradients and memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ofmu import ranges
from ofmu.benchmarks.cost_subjects import Subject, check_shape
from ofmu.errors import InputError, RunError
from ofmu.ranges import Range

if TYPE_CHECKING:
    from ofmu.benchmarks.cost_forms import Form

TINY: dict[str, Any] = {
    "hidden": 32,
    "layers": 2,
    "heads": 2,
    "intermediate": 88,
    "vocabulary": 64,
    "batch": 1,
    "sequence": 4,
}
"""The Llama on which vectors are counted: no activation has the shape of a weight."""


@dataclass(frozen=True, kw_only=True)
class Options(Subject):
    """`ofmu bench cost`."""

    forms: str | None = None
    """Measure only forms whose names contain one of these words, separated by commas; left out: all."""
    repeats: Annotated[int, Range(ge=1, le=1000)] = 5
    """Interleaved repetitions; the median of their ratios counts."""
    memory: bool = True
    """Also measure the peak memory of each form, in a process of its own."""
    vectors: bool = True
    """Also count the vectors of the model's size that each form holds, on a tiny Llama."""
    peak_tflops: Annotated[float, Range(gt=0)] | None = None
    """The device's peak at the precision used, in TFLOP/s; with it the share of the roofline is given."""
    output: str | None = None
    """File for the results, written anew after each form."""


def run(options: Options, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure.

    Each repetition times, one right after the other, both losses' bare gradients, a paired step of gradient difference
    with AdamW, and the form; ratios are taken within a repetition. On a CPU they are of processor time, which other
    programs disturb least, on an accelerator of wall time.

    Args:
        options: what to measure, on what.
        tell: is told what is going on.

    Returns:
        ``tables``: ``costs``, a row a form: gradients, seconds, ``of_pairs`` (time over that of as many paired steps as
        the form stands for), ``beyond`` (time beyond its gradients, as a share of theirs; of exact forms, beyond as
        many plain ones), memory and vectors; and ``subject``. Also ``options``.

    Raises:
        InputError: no form has such a name, the random Llama cannot have this shape, or the model cannot be read.
        RunError: a form took other gradients than the table of costs says.
    """
    from ofmu.benchmarks.cost_forms import forms
    from ofmu.runs.directory import write_json

    ranges.check(options)
    check_shape(options)
    chosen = _chosen(options.forms, forms())
    subject = Subject(**{f.name: getattr(options, f.name) for f in fields(Subject)})
    rows: list[dict[str, Any]] = []
    found: dict[str, Any] = {}
    for name, form in chosen.items():
        tell(name)
        if form.eager and subject.model == "resnet20":
            on = subject
        else:
            on = replace(subject, attention="eager") if form.eager else subject
        row, facts = timed(on, form, options.repeats)
        if options.memory:
            row |= memory_of_its_own(on, name)
        if options.vectors and not form.eager:
            row["vectors"] = round(counted(form).vectors, 2)
        if options.peak_tflops is not None:
            facts["roofline_share"] = facts["tflops"] / options.peak_tflops
        rows.append({"form": name, **row})
        found = {"benchmark": "cost", "tables": {"costs": rows, "subject": [facts]}, "options": _told(options)}
        if options.output is not None:
            write_json(Path(options.output), found)
    return found


def _told(options: Options) -> dict[str, Any]:
    return {name: value for name, value in asdict(options).items() if name != "output"}


def timed(subject: Subject, form: Form, repeats: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Time and gradients of a form on a subject, and facts of the subject."""
    from ofmu.benchmarks.cost_forms import forms
    from ofmu.benchmarks.cost_subjects import task_of

    known = forms()
    with task_of(subject) as task:
        clock = _clock(subject.device)
        bare, pair, step = (f.start(task) for f in (known["gradients"], known["paired step"], form))
        for each in (bare, pair, step):  # the first quotients look for their steps
            each()
        taken = _gradients(task, step)
        if taken != form.gradients:
            raise RunError(f"this form took {taken:g} gradients, but the table of costs says {form.gradients:g}")
        seconds, of_pairs, beyond, gradient = [], [], [], []
        for _ in range(repeats):
            two, _ = clock(bare)
            paired, _ = clock(pair)
            own, wall = clock(step)
            gradient.append(two / 2)
            seconds.append(wall)
            of_pairs.append(own / (paired * form.pairs))
            beyond.append(own / (taken * two / 2) - 1)
        size = sum(p.numel() for p in task.parameters.values())
        weights = sum(p.numel() for p in task.model.parameters())
    one = statistics.median(gradient)
    tokens = subject.batch * subject.sequence
    return {
        "gradients": form.units or taken,
        "seconds": statistics.median(seconds),
        "of_pairs": statistics.median(of_pairs),
        "beyond": statistics.median(beyond),
    }, {
        "trained": size,
        "weights": weights,
        "gradient_s": one,
        "tflops": 6e-12 * weights * tokens / one,  # of a transformer: 6 operations a weight and token
    }


def _gradients(task: Any, step: Callable[[], Any]) -> float:
    """Losses evaluated with their gradients, whatever products a back-end makes of them."""
    before = task.meter.gradient_examples
    step()
    return (task.meter.gradient_examples - before) / task.meter.batch_size


def _clock(device: str) -> Callable[[Callable[[], Any]], tuple[float, float]]:
    """A function that runs a step and says the time that ratios are taken of, and the wall seconds."""
    import torch

    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def measure(step: Callable[[], Any]) -> tuple[float, float]:
        wait()
        wall, own = time.perf_counter(), time.process_time()
        step()
        wait()
        wall, own = time.perf_counter() - wall, time.process_time() - own
        return (wall if device == "cuda" else own), wall

    return measure


def counted(form: Form) -> Any:
    """The vectors that a form holds at its peak, :class:`ofmu.benchmarks.cost_vectors.Peak`."""
    from ofmu.benchmarks.cost_subjects import task_of
    from ofmu.benchmarks.cost_vectors import peak_vectors

    with task_of(Subject(**TINY)) as task:
        return peak_vectors(task.parameters, lambda: form.start(task))


def memory_of_its_own(subject: Subject, name: str) -> dict[str, float]:
    """Peak memory of a form in a new process, in MiB.

    Returns:
        ``peak_mb``: of the process (CPU) or of the device; ``above_idle_mb``: beyond the loaded model.

    Raises:
        RunError: the process failed.
    """
    given = json.dumps({"subject": asdict(subject), "form": name})
    # blocks are given back as they are freed, so that the peak is of what is alive
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-m", "ofmu.benchmarks.cost", given], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise RunError(f"the process that measures the memory of '{name}' failed: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _measure_memory(given: Mapping[str, Any]) -> dict[str, float]:
    from ofmu.benchmarks.cost_forms import forms
    from ofmu.benchmarks.cost_subjects import task_of

    subject = Subject(**given["subject"])
    with task_of(subject) as task:
        idle = _peak_mb(subject.device)
        step = forms()[given["form"]].start(task)
        for _ in range(3):
            step()
        peak = _peak_mb(subject.device)
    return {"peak_mb": round(peak, 1), "above_idle_mb": round(peak - idle, 1)}


def _peak_mb(device: str) -> float:
    """The most so far."""
    import torch

    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    if (status := Path("/proc/self/status")).exists():
        found = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return float(found.split()[1]) / 2**10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _chosen(words: str | None, known: Mapping[str, Form]) -> dict[str, Form]:
    wanted = None if words is None else [word.strip() for word in words.split(",")]
    found = {name: form for name, form in known.items() if wanted is None or any(word in name for word in wanted)}
    if not found:
        raise InputError(f"no form has a name with '{words}'; there are: {', '.join(known)}")
    return found


if __name__ == "__main__":
    print(json.dumps(_measure_memory(json.loads(sys.argv[1]))))
