"""The second pass over a model: it answers, and what its answers are worth goes into the records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ofmu.data.examples import TextExamples
from ofmu.data.prompts import encode_prompts, prompt_room
from ofmu.engine.processes import Processes
from ofmu.evaluation.answers import answer_facts, with_generations
from ofmu.evaluation.generation import generate
from ofmu.evaluation.record import Record
from ofmu.models.loaded import Loaded
from ofmu.runs.inputs import Sets


@dataclass(frozen=True)
class Questions:
    """What models are asked.

    Args:
        sets: set → questions with their true answers.
        max_new_tokens: longest answer, in tokens.
    """

    sets: Mapping[str, TextExamples]
    max_new_tokens: int


def questions(sets: Sets, records: Mapping[str, tuple[str, ...]], max_new_tokens: int) -> Questions:
    """What is asked in an evaluation: every measured example that has a prompt, but the holdout's.

    Args:
        sets: all examples.
        records: set → ids of the examples that are measured.
        max_new_tokens: longest answer, in tokens.
    """
    found = {}
    for name, ids in records.items():
        own = sets.examples.get(name)
        if name == "holdout" or not isinstance(own, TextExamples):
            continue
        wanted = set(ids)
        rows = tuple(example for example in own.examples if example.id in wanted and example.prompt is not None)
        if rows:
            found[name] = replace(own, examples=rows)
    return Questions(found, max_new_tokens)


def answered(
    records: Mapping[str, Record], loaded: Loaded, asked: Questions, *, processes: Processes, batch_size: int
) -> dict[str, Record]:
    """The records with facts about the model's greedy answers, where it was asked.

    Args:
        records: set → record of the model.
        loaded: the model, placed on the device.
        asked: what it is asked.
        processes: where it runs.
        batch_size: answers at a time.
    """
    found = dict(records)
    room = prompt_room(loaded.context, asked.max_new_tokens)
    with processes.autocast():
        for name, examples in asked.sets.items():
            if name not in records:
                continue
            prompts = encode_prompts(examples, loaded.tokenizer, max_length=room)
            said = generate(
                loaded.model,
                prompts,
                max_new_tokens=asked.max_new_tokens,
                batch_size=batch_size,
                device=processes.device,
            )
            references = [example.completion for example in examples.examples]
            found[name] = with_generations(records[name], answer_facts(said, references, loaded.tokenizer))
    return found
