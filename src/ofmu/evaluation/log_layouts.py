"""The layouts in which other tools write down an evaluation, each turned into columns: set → column → id → value.

Columns are ``loss`` (λ, nats), ``probability`` (exp(−λ)), the same of the answer in other words (``paraphrased_loss``,
``paraphrased_probability``) and of wrong answers (``wrong_loss``, ``wrong_probability``: a list an example), ``tokens``
(how many were scored), and under a metric's or fact's own name what the tool worked out itself: ``rougeL_recall`` …,
``exact_memorization``, ``extraction_strength``, ``mia_loss`` …, ``gradnorm``, ``zlib_bytes``.

Only the keys named below are read; texts in a log (questions, generations) never are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ofmu.errors import InputError

Columns = dict[str, dict[str, Any]]  # column → id → value
Sets = dict[str, Columns]

_PREFIXES = {"forget": "forget", "retain": "retain", "ra": "real_authors", "wf": "world_facts"}
_ROUGE = {name: name for name in ("rouge1_recall", "rougeL_recall", "rougeL_f1")}
_ANSWER = {"prob": "probability", "avg_loss": "loss"}
_OTHER_ANSWERS = {"PARA": "paraphrased", "PERT": "wrong"}
_SCORES = ("exact_memorization", "extraction_strength")
_ATTACKS = {
    name: name.removeprefix("mia_") if name == "mia_gradnorm" else name
    for name in ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus_plus", "mia_gradnorm", "mia_reference")
}
_MUSE = {
    "forget_knowmem_ROUGE": ("forget", "question-", _ROUGE),
    "retain_knowmem_ROUGE": ("retain", "question-", _ROUGE),
    "forget_verbmem_ROUGE": ("forget", "verbatim-", {name: f"verbmem_{name}" for name in _ROUGE}),
    **{name: ("forget", "verbatim-", {"score": name}) for name in _SCORES},
}
_LEGACY = {
    "avg_gt_loss": "loss",
    "num_token_gt": "tokens",
    "avg_paraphrased_loss": "paraphrased_loss",
    "average_perturb_loss": "wrong_loss",
    "rouge1_recall": "rouge1_recall",
    "rougeL_recall": "rougeL_recall",
}
_LEGACY_SETS = {
    "eval_log_forget.json": "forget",
    "eval_log.json": "retain",
    "eval_real_author_wo_options.json": "real_authors",
    "eval_real_world_wo_options.json": "world_facts",
}
_TABLES = {
    "avg_loss": {
        **_ANSWER,
        **{f"ref_{key}": f"paraphrased_{column}" for key, column in _ANSWER.items()},
        **{f"wrong_{key}": f"wrong_{column}" for key, column in _ANSWER.items()},
        **_ROUGE,
        **{name: name for name in _SCORES},
    },
    "gt_avg_loss": {
        "gt_avg_loss": "loss",
        "gt_tokens": "tokens",
        "ref_avg_loss": "paraphrased_loss",
        "wrong_avg_loss": "wrong_loss",
        "rouge1_recall": "rouge1_recall",
        "rougeL_recall": "rougeL_recall",
    },
}


def open_unlearning(log: Mapping[str, Any], source: str) -> Sets:
    """``TOFU_EVAL.json`` and ``MUSE_EVAL.json``: key → ``{"agg_value": …, "value_by_index": {"0": {…}}}``.

    Read are, for P in forget, retain, ra, wf: ``P_Q_A_Prob`` (``prob``, ``avg_loss``), ``P_Q_A_PARA_Prob`` and
    ``P_Q_A_PERT_Prob`` (the same), ``P_Q_A_ROUGE``; ``exact_memorization`` and ``extraction_strength`` (``score``);
    ``mia_*`` (``forget`` and ``holdout``, each with its ``value_by_index`` of ``score``); of MUSE
    ``forget_knowmem_ROUGE``, ``retain_knowmem_ROUGE`` and ``forget_verbmem_ROUGE``. All else follows from these.
    """
    found: Sets = {}
    muse = any(key.endswith("mem_ROUGE") for key in log)
    for key, value in log.items():
        for set_name, prefix, names, by_index in _open_unlearning_parts(key, value, muse=muse):
            if not isinstance(by_index, Mapping):
                raise InputError(f"{source}: '{key}' has no 'value_by_index': a summary without single examples?")
            for index, values in by_index.items():
                for theirs, ours in names.items():
                    if isinstance(values, Mapping) and theirs in values:
                        _put(found, set_name, ours, f"{prefix}{index}", values[theirs])
    return found


def _open_unlearning_parts(
    key: str, value: Any, *, muse: bool
) -> Iterable[tuple[str, str, Mapping[str, str], Mapping[str, Any] | None]]:
    """Set, prefix of ids, their names → ours, and values by index, for each part of a key; nothing for other keys."""
    inner = value if isinstance(value, Mapping) else {}
    if key in _ATTACKS:
        prefix = "document-" if muse else ""
        for side in ("forget", "holdout"):
            part = inner.get(side)
            by_index = part.get("value_by_index") if isinstance(part, Mapping) else None
            yield side, prefix, {"score": _ATTACKS[key]}, by_index
    elif muse and key in _MUSE:
        yield *_MUSE[key], inner.get("value_by_index")
    elif key in _SCORES:
        yield "forget", "", {"score": key}, inner.get("value_by_index")
    else:
        short, _, rest = key.partition("_Q_A_")
        if short in _PREFIXES and rest in _QUESTION_ANSWER:
            yield _PREFIXES[short], "", _QUESTION_ANSWER[rest], inner.get("value_by_index")


_QUESTION_ANSWER = {
    "Prob": _ANSWER,
    "ROUGE": _ROUGE,
    **{
        f"{short}_Prob": {key: f"{view}_{column}" for key, column in _ANSWER.items()}
        for short, view in _OTHER_ANSWERS.items()
    },
}


def tofu_legacy(log: Mapping[str, Any], source: str) -> Sets:
    """``eval_log_aggregated.json``: task → key → index → value.

    Tasks are ``eval_log_forget.json`` (forget), ``eval_log.json`` (retain), ``eval_real_author_wo_options.json`` and
    ``eval_real_world_wo_options.json``; keys read ``avg_gt_loss``, ``num_token_gt``, ``avg_paraphrased_loss``,
    ``average_perturb_loss``, ``rouge1_recall``, ``rougeL_recall``.
    """
    found: Sets = {}
    for task, set_name in _LEGACY_SETS.items():
        logged = log[task] if isinstance(log.get(task), Mapping) else {}
        for theirs, ours in _LEGACY.items():
            values = logged.get(theirs) or {}
            if not isinstance(values, Mapping):
                raise InputError(f"{source}: '{theirs}' of '{task}' has no value for each index")
            for index, value in values.items():
                _put(found, set_name, ours, str(index), value)
    return found


def by_task(rows: Iterable[Mapping[str, Any]]) -> Sets:
    """A table of TOFU, a row an example.

    It has ``task`` (the set), ``index``, and of open-unlearning ``prob``, ``avg_loss``, ``ref_prob``, ``ref_avg_loss``,
    ``wrong_prob``, ``wrong_avg_loss``, three ROUGE values, ``exact_memorization``, ``extraction_strength``; of the
    first harness ``gt_avg_loss``, ``gt_tokens``, ``ref_avg_loss``, ``wrong_avg_loss``, two ROUGE values.
    """
    found: Sets = {}
    for row in rows:
        names = _TABLES["gt_avg_loss" if "gt_avg_loss" in row else "avg_loss"]
        for theirs, ours in names.items():
            if row.get(theirs) is not None:
                _put(found, row["task"], ours, str(row["index"]), row[theirs])
    return found


def by_metric(rows: Iterable[Mapping[str, Any]]) -> Sets:
    """A table of MUSE, a row a value: ``metric`` (a key of MUSE_EVAL.json), ``index``, ROUGE values or ``score``."""
    found: Sets = {}
    for row in rows:
        if row["metric"] not in _MUSE:
            continue
        set_name, prefix, names = _MUSE[row["metric"]]
        for theirs, ours in names.items():
            if row.get(theirs) is not None:
                _put(found, set_name, ours, f"{prefix}{row['index']}", row[theirs])
    return found


def by_side(rows: Iterable[Mapping[str, Any]]) -> Sets:
    """A table of membership scores: ``set`` (forget, holdout), ``index``, ``mia_*`` and ``zlib_bytes``."""
    found: Sets = {}
    for row in rows:
        for theirs, ours in {**_ATTACKS, "zlib_bytes": "zlib_bytes"}.items():
            if row.get(theirs) is not None:
                _put(found, row["set"], ours, str(row["index"]), row[theirs])
    return found


TABLES: dict[frozenset[str], Callable[[Iterable[Mapping[str, Any]]], Sets]] = {
    frozenset({"task", "index", "avg_loss"}): by_task,
    frozenset({"task", "index", "gt_avg_loss"}): by_task,
    frozenset({"metric", "index"}): by_metric,
    frozenset({"set", "index", "mia_loss"}): by_side,
}
"""Columns that tell the layout of a table → how it is read."""


def is_muse(sets: Sets) -> bool:
    """Whether a log is one of MUSE: its questions, passages and documents are told apart by their ids."""
    kinds = ("question-", "verbatim-", "document-")
    return any(index.startswith(kinds) for values in sets.get("forget", {}).values() for index in values)


def of_documents(sets: Sets) -> Sets:
    """Membership scores of MUSE: their index counts documents."""
    return {
        name: {column: {f"document-{i}": value for i, value in values.items()} for column, values in columns.items()}
        for name, columns in sets.items()
    }


def merged(first: Sets, second: Sets) -> Sets:
    """Two logs of one model as one."""
    return {name: {**first.get(name, {}), **second.get(name, {})} for name in dict.fromkeys((*first, *second))}


def _put(found: Sets, set_name: str, column: str, index: str, value: Any) -> None:
    found.setdefault(set_name, {}).setdefault(column, {})[index] = value
