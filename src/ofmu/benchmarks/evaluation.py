"""What one pass for all metrics saves over a pass for each, at equal results."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from ofmu.errors import InputError
from ofmu.evaluation.porter import stem
from ofmu.ranges import Range

FILES = {
    "forget": "forget10_perturbed",
    "retain": "retain_perturbed",
    "real_authors": "real_authors_perturbed",
    "world_facts": "world_facts_perturbed",
    "holdout": "holdout10",
}
ANSWERED = ("forget", "retain", "real_authors", "world_facts")  # sets whose questions are answered for ROUGE


@dataclass(frozen=True, kw_only=True)
class Options:
    """`ofmu bench evaluation`."""

    data: str | None = None
    """Folder with `tofu/` and `models/tofu-mini/`; left out: OFMU_DATA_DIR."""
    model: str = "full"
    """Model of `models/tofu-mini/`, or a folder of its own."""
    reference: str = "retain90"
    """Model of the reference attack, likewise."""
    batch_size: Annotated[int, Range(ge=1, le=4096)] = 32
    """Examples at a time, the same in both."""
    max_new_tokens: Annotated[int, Range(ge=1, le=4096)] = 200
    """Tokens of a generated answer at most."""
    limit: Annotated[int, Range(ge=1)] | None = None
    """First rows of each set; left out: all."""
    device: str = "cpu"
    """Where the models run."""


def run(options: Options, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Evaluate tofu-mini on the whole TOFU set, all attacks but the gradient's, and ROUGE: our way and the plain way.

    Both ways measure the same numbers, tokenisation included; reading files and models is not timed. They take turns
    set by set, so that what else the machine does falls on both.

    Args:
        options: what to measure.
        tell: is told what is going on.

    Returns:
        ``scoring`` and ``generation``: ``ours_s``, ``plain_s`` (wall seconds), ``ratio`` = plain/ours, and the same
        in processor seconds (``ours_cpu_s`` …), which other programs on the machine disturb less;
        ``largest_nats``: largest difference of a loss, a log truth ratio or an attack score, in nats;
        ``largest_z``: of min-k++; ``largest_share``: of memorisation scores and normalised probabilities;
        ``largest_rouge``, ``differing_answers``: of ROUGE-L recall; ``examples``; ``options``.

    Raises:
        InputError: without the data.
    """
    import torch

    from ofmu.benchmarks import plain_evaluation as plain
    from ofmu.models.loading import load

    folder = _folder(options)
    sets = _read(folder, options.limit)
    loaded, other = (load(_place(folder, name)) for name in (options.model, options.reference))
    for each in (loaded, other):
        each.model.to(options.device)
    tokenizer = loaded.tokenizer
    slow = plain.Plain(loaded.model.eval(), tokenizer, options.batch_size)
    slow_reference = plain.Plain(other.model.eval(), tokenizer, options.batch_size)
    wait = torch.cuda.synchronize if options.device.startswith("cuda") else lambda: None
    _warm(loaded, other, sets, options)
    scoring, ours, theirs = _in_turns(
        sets,
        lambda part: ours_scores(loaded, other, part, options.batch_size),
        lambda part: plain.scores(slow, slow_reference, part),
        wait,
        lambda name: tell(f"scoring: {name}"),
    )
    generation, said, plain_said = _in_turns(
        {name: sets[name] for name in ANSWERED},
        lambda part: ours_rouge(loaded, part, options),
        lambda part: plain.rouge_recalls(slow, part, options.max_new_tokens),
        wait,
        lambda name: tell(f"generation: {name}"),
    )
    return {
        "scoring": scoring,
        "generation": generation,
        **_differences(ours, theirs),
        "largest_rouge": max(float(abs(said[name] - plain_said[name]).max()) for name in said),
        "differing_answers": sum(int((abs(said[name] - plain_said[name]) > 1e-9).sum()) for name in said),
        "rouge": {name: float(values.mean()) for name, values in said.items()},
        "examples": {name: len(rows) for name, rows in sets.items()},
        "device": _device(options.device),
        "options": asdict(options),
    }


def ours_scores(loaded: Any, other: Any, sets: Mapping[str, Sequence[Mapping[str, Any]]], batch_size: int) -> Any:
    """What :func:`ofmu.benchmarks.plain_evaluation.scores` measures, from one pass over each set and its views."""
    from ofmu.data.formats import read
    from ofmu.data.tokens import encode_text
    from ofmu.data.views import views
    from ofmu.evaluation.scoring import score_sets

    def encoded(examples: Any) -> Any:
        return encode_text(examples, loaded.tokenizer, max_length=loaded.context or 1 << 30)

    found: dict[str, Any] = {}
    for name, rows in sets.items():
        examples: Any = read(list(rows), name=name)
        forms = {"own": encoded(examples)}
        if name != "holdout":
            forms |= {view: encoded(part) for view, part in views(examples).items()}
        seen = score_sets(loaded.model, forms, batch_size=batch_size)
        if name in ("forget", "holdout"):
            reference = score_sets(other.model, {"own": forms["own"]}, batch_size=batch_size)
            found |= _attacks(name, seen["own"], reference["own"])
        found |= _facts(name, seen["own"], seen)
    return found


def _facts(name: str, own: Any, seen: Mapping[str, Any]) -> dict[str, Any]:
    from ofmu.evaluation.metrics.exact_memorization import ExactMemorization
    from ofmu.evaluation.metrics.extraction_strength import ExtractionStrength
    from ofmu.evaluation.truth_ratio import log_truth_ratio, normalised_probability

    if name == "holdout":
        return {}
    loss = own.means("nll")
    wrong = seen["wrong"].means("nll").reshape(len(loss), -1)
    paraphrased = seen["paraphrased"].means("nll") if "paraphrased" in seen else loss
    found = {f"{name}/log_truth_ratio": log_truth_ratio(paraphrased[:, None], wrong)}
    if name in ("forget", "retain"):
        found[f"{name}/loss"] = loss
    else:
        found[f"{name}/normalised_probability"] = normalised_probability(loss, wrong)
    if name == "forget":
        found["forget/paraphrase_loss"], found["forget/wrong_loss"] = paraphrased, wrong.ravel()
        found["forget/exact_memorization"] = ExactMemorization("forget").values(own).values
        found["forget/extraction_strength"] = ExtractionStrength("forget").values(own).values
    return found


def _attacks(name: str, own: Any, reference: Any) -> dict[str, Any]:
    import numpy as np

    from ofmu.evaluation.attack_scores import min_k, min_k_plus_plus

    loss = own.means("nll")
    content = own.columns["content"]
    splits = np.cumsum(own.counts(content))[:-1]
    log_p, z = (np.split(values[content], splits) for values in (-own.columns["nll"], own.columns["z"]))
    return {
        f"{name}/mia_loss": loss,
        f"{name}/mia_zlib": loss / own.facts["zlib_bytes"],
        f"{name}/mia_min_k": np.array([min_k(each) for each in log_p]),
        f"{name}/mia_min_k_plus_plus": np.array([min_k_plus_plus(each) for each in z]),
        f"{name}/mia_reference": loss - reference.means("nll"),
    }


def ours_rouge(loaded: Any, sets: Mapping[str, Sequence[Mapping[str, Any]]], options: Options) -> Any:
    """What :func:`ofmu.benchmarks.plain_evaluation.rouge_recalls` measures."""
    from ofmu.data.formats import read
    from ofmu.data.prompts import encode_prompts, prompt_room
    from ofmu.evaluation.answers import answer_facts
    from ofmu.evaluation.generation import generate

    found = {}
    for name, rows in sets.items():
        examples: Any = read(list(rows), name=name)
        room = prompt_room(loaded.context, options.max_new_tokens)
        prompts = encode_prompts(examples, loaded.tokenizer, max_length=room)
        said = generate(loaded.model, prompts, max_new_tokens=options.max_new_tokens, batch_size=options.batch_size)
        references = [example.completion for example in examples.examples]
        found[name] = answer_facts(said, references, loaded.tokenizer).columns["rougeL_recall"]
    return found


def table(result: Mapping[str, Any]) -> str:
    """The result in lines for people."""
    lines = ["| | ours, s | plain, s | ratio | ratio of processor seconds |", "|---|---|---|---|---|"]
    for part in ("scoring", "generation"):
        row = result[part]
        lines.append(
            f"| {part} | {row['ours_s']:.1f} | {row['plain_s']:.1f} | {row['ratio']:.2f} | {row['cpu_ratio']:.2f} |"
        )
    lines += [
        "",
        f"largest difference: {result['largest_nats']:.1e} nats; min-k++ {result['largest_z']:.1e}; "
        f"shares {result['largest_share']:.1e}; {result['differing_answers']} answers differ in ROUGE-L recall",
        f"{sum(result['examples'].values())} examples, batch size {result['options']['batch_size']}, "
        f"{result['device']}",
    ]
    return "\n".join(lines)


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, float]:
    if ours.keys() != theirs.keys():
        raise RuntimeError(f"the two ways measured other things: {sorted(ours.keys() ^ theirs.keys())}")
    largest = {"largest_nats": 0.0, "largest_z": 0.0, "largest_share": 0.0}
    for name, values in ours.items():
        metric = name.split("/")[1]
        kind = "largest_nats"
        if metric == "mia_min_k_plus_plus":
            kind = "largest_z"
        elif metric in ("exact_memorization", "extraction_strength", "normalised_probability"):
            kind = "largest_share"
        largest[kind] = max(largest[kind], float(abs(values - theirs[name]).max()))
    return largest


def _in_turns(
    sets: Mapping[str, Any],
    ours: Callable[[Any], Mapping[str, Any]],
    plain: Callable[[Any], Mapping[str, Any]],
    wait: Callable[[], None],
    tell: Callable[[str], None],
) -> tuple[dict[str, float], dict[str, Any], dict[str, Any]]:
    """Times of both ways over all sets, and what each found."""
    found: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    spent = ([0.0, 0.0], [0.0, 0.0])
    for name, rows in sets.items():
        tell(name)
        for way, own, times in zip((ours, plain), found, spent):
            result, seconds = _timed(partial(way, {name: rows}), wait)
            own.update(result)
            times[:] = (total + each for total, each in zip(times, seconds))
    return _times(*spent), *found


def _timed(work: Callable[[], Any], wait: Callable[[], None]) -> tuple[Any, tuple[float, float]]:
    """Result, wall seconds, processor seconds of this process; neither way finds the stems that the other has made."""
    stem.cache_clear()
    wait()
    start, busy = time.perf_counter(), time.process_time()
    result = work()
    wait()
    return result, (time.perf_counter() - start, time.process_time() - busy)


def _times(ours: Sequence[float], plain: Sequence[float]) -> dict[str, float]:
    return {
        "ours_s": ours[0],
        "plain_s": plain[0],
        "ratio": plain[0] / ours[0],
        "ours_cpu_s": ours[1],
        "plain_cpu_s": plain[1],
        "cpu_ratio": plain[1] / ours[1],
    }


def _warm(loaded: Any, other: Any, sets: Mapping[str, Sequence[Mapping[str, Any]]], options: Options) -> None:
    """The first pass through a model pays for what libraries set up: nobody's time."""
    few = {name: rows[:2] for name, rows in sets.items()}
    ours_scores(loaded, other, few, options.batch_size)
    ours_rouge(loaded, {"forget": few["forget"]}, options)


def _folder(options: Options) -> Path:
    given = options.data or os.environ.get("OFMU_DATA_DIR")
    if not given:
        raise InputError("--data is not given and OFMU_DATA_DIR is not set: the TOFU files are needed")
    if not (Path(given) / "tofu").is_dir():
        raise InputError(f"{given} has no folder tofu")
    return Path(given)


def _place(folder: Path, name: str) -> str:
    known = folder / "models" / "tofu-mini" / name
    return str(known) if known.is_dir() else name


def _read(folder: Path, limit: int | None) -> dict[str, list[Mapping[str, Any]]]:
    from ofmu.data.containers import read_file

    return {name: list(read_file(folder / "tofu" / f"{file}.jsonl").rows)[:limit] for name, file in FILES.items()}


def _device(name: str) -> str:
    import torch

    if name.startswith("cuda"):
        return torch.cuda.get_device_name(name)
    return f"CPU, {torch.get_num_threads()} threads"
