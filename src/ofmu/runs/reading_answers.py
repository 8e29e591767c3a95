"""The base model reads what the models have said, as the last of the passes."""

from __future__ import annotations

from ofmu.engine.processes import Processes
from ofmu.evaluation.answers import together, with_generations
from ofmu.evaluation.records import Records
from ofmu.evaluation.reference_loss import reference_losses
from ofmu.runs.answering import Further
from ofmu.runs.config import Evaluate
from ofmu.runs.inputs import read_model
from ofmu.runs.listener import Listener


def read_answers(
    records: Records, config: Evaluate, more: Further, *, processes: Processes, listener: Listener
) -> None:
    """Put the fact ``ref_nll`` into the records of every model that answered.

    The base model is read once more, so that there is one model in memory at a time, whichever spoke first. Each rank
    reads the answers that it heard, and all get all facts.

    Args:
        records: of all models.
        config: names the base model.
        more: the passes that the models have been through; they kept the answers.
        processes: where the base model runs.
        listener: is told.
    """
    assert more.asked is not None
    assert more.heard is not None
    if processes.main:
        listener.note("the base model reads the answers")
    base = read_model(config.base, config)
    with base.handed_back():
        model = base.model.to(processes.device)
        for (role, name), record in list(records.items()):
            if name not in more.asked.sets:
                continue
            mine = more.heard.get((record.model, name))
            facts = []
            if mine is not None:
                with processes.autocast():
                    facts.append(
                        reference_losses(
                            model, *mine, context=base.context, batch_size=more.batch_size, device=processes.device
                        )
                    )
            records.add(role, name, with_generations(record, together(processes.gathered(facts))))
