"""Real logs of others' models: our numbers from their per-example columns equal the published ones.

The checks and their tolerances are those of METRICS.md §15.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ofmu.evaluation import truth_ratio as tr
from ofmu.evaluation.aggregates import UTILITY_PARTS, memorization, model_utility, privacy, utility
from ofmu.evaluation.attack_scores import privleak, privleak_open_unlearning, zlib_bytes
from ofmu.evaluation.forget_quality import forget_quality
from ofmu.evaluation.kolmogorov_smirnov import kolmogorov_smirnov
from ofmu.evaluation.metrics import find
from ofmu.evaluation.metrics.exact_memorization import ExactMemorization
from ofmu.evaluation.metrics.mia_loss import MiaLoss
from ofmu.evaluation.metrics.probability import Probability
from ofmu.evaluation.records import Records
from ofmu.evaluation.statistics import auc, bootstrap_aucs, generator, interval

FAMILIES = ("Llama-2-7b-chat-hf", "Llama-3.2-1B-Instruct")
RETRAINED = {"full_forget01": "retain99", "full_forget05": "retain95", "full_forget10": "retain90"}
MODELS = [f"{family}__{role}" for family in FAMILIES for role in (*RETRAINED, *sorted(RETRAINED.values()))]
ORIGINALS = [f"{family}__{role}" for family in FAMILIES for role in RETRAINED]
ATTACKS = ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus_plus", "mia_gradnorm", "mia_reference")
PUBLIC = {"forget": "forget_Q_A", "retain": "retain_Q_A", "real_authors": "ra_Q_A", "world_facts": "wf_Q_A"}
TRUTH_RATIOS = {
    "forget": "forget_truth_ratio",
    "retain": "retain_Truth_Ratio",
    "real_authors": "ra_Truth_Ratio",
    "world_facts": "wf_Truth_Ratio",
}
LEGACY = {"forget": "Forget", "retain": "Retain", "real_authors": "Real Authors", "world_facts": "Real World"}
LEGACY_MODELS = [f"llama2-7b_retain{share}_wd0.01" for share in (90, 95, 99)]


@pytest.fixture(scope="module")
def logs(data_dir: Path) -> Path:
    return data_dir / "tofu" / "reference_eval_logs"


@pytest.fixture(scope="module")
def all_published(logs: Path) -> dict:
    return json.loads((logs / "published.json").read_text())


@pytest.fixture(scope="module")
def published(all_published: dict) -> dict:
    return all_published["open_unlearning"]


def columns(path: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(path)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def of_task(found: dict[str, np.ndarray], task: str) -> dict[str, np.ndarray]:
    """The rows of a task in order of their index; a list column stays a column of arrays."""
    rows = np.flatnonzero(found["task"] == task)
    rows = rows[np.argsort(found["index"][rows], kind="stable")]
    return {name: column[rows] for name, column in found.items()}


def open_unlearning(logs: Path, model: str, task: str) -> dict[str, np.ndarray]:
    return of_task(columns(logs / "open_unlearning_tofu" / f"{model}.parquet"), task)


def legacy(logs: Path, model: str, task: str) -> dict[str, np.ndarray]:
    return of_task(columns(logs / "legacy_tofu" / f"{model}.parquet"), task)


@pytest.mark.parametrize("model", MODELS)
def test_aucs_equal_the_published_ones(model, logs, published):
    found = columns(logs / "open_unlearning_tofu" / f"{model}__mia.parquet")
    forget, holdout = found["set"] == "forget", found["set"] == "holdout"
    checked = 0
    for name in ATTACKS:
        if name in found and name in published[model]:
            value = auc(found[name][forget], found[name][holdout])
            assert value == pytest.approx(published[model][name], abs=1e-12)
            checked += 1
    assert checked >= 5


@pytest.mark.parametrize("model", MODELS)
def test_scores_equal_the_published_ones(model, logs, published, text_record):
    found = columns(logs / "open_unlearning_tofu" / f"{model}.parquet")
    attack = columns(logs / "open_unlearning_tofu" / f"{model}__mia.parquet")
    keys = {"forget": "forget_Q_A_Prob", "retain": "retain_Q_A_Prob"}
    for task, key in keys.items():
        losses = found["avg_loss"][found["task"] == task]
        record = text_record({str(index): [loss] for index, loss in enumerate(losses)})
        score = Probability(task).score(Records({("unlearned", task): record}))
        logged = found["prob"][found["task"] == task].mean()
        assert score.value == pytest.approx(logged, abs=1e-6)  # their exp was in a narrower type
        assert logged == pytest.approx(published[model][key], abs=1e-12)
    shares = found["exact_memorization"][found["task"] == "forget"]
    assert shares.mean() == pytest.approx(published[model]["exact_memorization"], abs=1e-12)
    sides = {
        side: text_record(
            {
                str(i): [a]
                for i, a in zip(attack["index"][attack["set"] == side], attack["mia_loss"][attack["set"] == side])
            },
            clusters=[str(i // 20) for i in attack["index"][attack["set"] == side]],
            data=side,
        )
        for side in ("forget", "holdout")
    }
    score = MiaLoss().score(Records({("unlearned", side): record for side, record in sides.items()}))
    assert score.value == pytest.approx(published[model]["mia_loss"], abs=1e-12)
    assert score.clusters == len(attack["set"]) // 20


def test_authors_widen_the_interval_as_the_page_says(logs):
    found = columns(logs / "open_unlearning_tofu" / "Llama-3.2-1B-Instruct__retain90__mia.parquet")
    members, others = (found["mia_loss"][found["set"] == side] for side in ("forget", "holdout"))
    authors = np.arange(400) // 20
    rows = np.arange(400)
    by_author = interval(bootstrap_aucs(members[None], authors, others[None], authors, generator("a"))[0])
    by_row = interval(bootstrap_aucs(members[None], rows, others[None], rows, generator("a"))[0])
    assert by_author == pytest.approx((0.314, 0.466), abs=0.003)
    assert by_row == pytest.approx((0.347, 0.427), abs=0.003)


def test_exact_memorization_of_logged_shares_goes_through_the_metric(logs, text_record):
    found = columns(logs / "open_unlearning_tofu" / f"{MODELS[3]}.parquet")
    shares = found["exact_memorization"][found["task"] == "forget"]
    exact = [Fraction(share).limit_denominator(150) for share in shares[:40]]
    correct = [place < share.numerator for share in exact for place in range(share.denominator)]
    record = text_record({str(i): [0.0] * share.denominator for i, share in enumerate(exact)}, correct=correct)
    score = ExactMemorization("forget").score(Records({("unlearned", "forget"): record}))
    assert score.value == pytest.approx(shares[:40].mean(), abs=1e-7)
    assert find("exact_memorization") is ExactMemorization


@pytest.mark.parametrize("model", MODELS)
def test_privleak_equals_the_published_one(model, logs, published):
    aucs = {}
    family, role = model.split("__")
    for name in (role, RETRAINED.get(role)):
        if name:
            found = columns(logs / "open_unlearning_tofu" / f"{family}__{name}__mia.parquet")
            sides = [found["mia_min_k"][found["set"] == side] for side in ("forget", "holdout")]
            aucs[name] = auc(*sides)
    retrained = aucs.get(RETRAINED.get(role, ""))
    parity = privleak_open_unlearning(aucs[role], retrained)
    assert parity == pytest.approx(published[model]["privleak"], abs=1e-9)
    ours = privleak(aucs[role], retrained)
    if retrained is None:
        assert math.isnan(ours)  # F8: the public number compares with one half
    else:
        assert ours == pytest.approx(published[model]["privleak"], abs=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_means_equal_the_published_ones(model, logs, published):
    for task, key in PUBLIC.items():
        found = open_unlearning(logs, model, task)
        means = {f"{key}_ROUGE": found["rougeL_recall"].mean()}
        if task in ("forget", "retain"):
            means[f"{key}_Prob"] = found["prob"].mean()
            means[f"{key}_PARA_Prob"] = found["ref_prob"].mean()
        means[f"{key}_PERT_Prob"] = np.mean([p.mean() for p in found["wrong_prob"]])
        if task == "forget":
            means |= {name: found[name].mean() for name in ("exact_memorization", "extraction_strength")}
        for name, value in means.items():
            assert value == pytest.approx(published[model][name], abs=1e-12), name


def utility_parts(logs: Path, model: str, *, parity: bool) -> dict[str, float]:
    """The nine parts of model utility from an open-unlearning log, with or without the public 1e-10."""
    parts = {}
    for task in ("retain", "real_authors", "world_facts"):
        found = open_unlearning(logs, model, task)
        true, wrong = -np.log(found["prob"]), [-np.log(p) for p in found["wrong_prob"]]
        normalised = tr.normalised_probability_open_unlearning if parity else tr.normalised_probability
        probability = found["prob"] if task == "retain" else normalised(true, wrong)
        if parity:
            ratio = tr.truth_ratio_open_unlearning(found["ref_avg_loss"], list(found["wrong_avg_loss"]))
            better = tr.true_better_open_unlearning(ratio)
        else:
            better = tr.true_better(tr.log_truth_ratio(found["ref_avg_loss"], list(found["wrong_avg_loss"])))
        parts[f"{task}_probability"] = float(probability.mean())
        parts[f"{task}_rougeL_recall"] = float(found["rougeL_recall"].mean())
        parts[f"{task}_truth_ratio"] = float(better.mean())
    return parts


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("parity", "tolerance"), [(True, 1e-12), (False, 2e-6)])
def test_truth_ratios_and_utility_equal_the_published_ones(model, parity, tolerance, logs, published):
    theirs = published[model]
    found = open_unlearning(logs, model, "forget")
    correct, wrong = found["ref_avg_loss"], list(found["wrong_avg_loss"])
    if parity:
        ratio = tr.truth_ratio_open_unlearning(correct, wrong)
        assert ratio == pytest.approx(found["truth_ratio_logged"], rel=1e-12)
        closer = tr.closer_open_unlearning(ratio)
    else:
        closer = tr.closer(tr.log_truth_ratio(correct, wrong))
    assert closer.mean() == pytest.approx(theirs["forget_truth_ratio"], abs=tolerance)
    parts = utility_parts(logs, model, parity=parity)
    for task in ("retain", "real_authors", "world_facts"):
        assert parts[f"{task}_truth_ratio"] == pytest.approx(theirs[TRUTH_RATIOS[task]], abs=tolerance)
        name = f"{PUBLIC[task]}_Prob" + ("" if task == "retain" else "_normalised")
        assert parts[f"{task}_probability"] == pytest.approx(theirs[name], abs=tolerance)
    assert model_utility(parts) == pytest.approx(theirs["model_utility"], abs=tolerance)


def log_ratios(logs: Path, model: str) -> np.ndarray:
    found = open_unlearning(logs, model, "forget")
    return tr.log_truth_ratio(found["ref_avg_loss"], list(found["wrong_avg_loss"]))


@pytest.mark.parametrize("model", ORIGINALS)
def test_forget_quality_equals_the_published_one(model, logs, published):
    family, role = model.split("__")
    u, r = log_ratios(logs, model), log_ratios(logs, f"{family}__{RETRAINED[role]}")
    found = forget_quality(u, r, [str(index // 20) for index in range(len(u))], "forget_quality")
    theirs = published[model]["forget_quality"]
    assert found.pvalue == pytest.approx(theirs, rel=1e-9)
    assert found.log10_pvalue == pytest.approx(math.log10(theirs), abs=1e-9)
    assert found.difference.difference < 0  # trained on them, it tells right answers from wrong ones better than r
    assert found.difference.clusters == len(u) // 20
    assert (found.statistic_interval is None) == (len(u) // 20 < 8)
    assert found.equivalent is None


def test_the_p_value_scales_with_the_number_of_examples(logs):
    u, r = log_ratios(logs, ORIGINALS[2]), log_ratios(logs, f"{FAMILIES[0]}__retain90")
    assert kolmogorov_smirnov(u, r).log10_pvalue == pytest.approx(-24.4, abs=0.05)
    assert kolmogorov_smirnov(u[:300], r[:300]).log10_pvalue == pytest.approx(-17.6, abs=0.05)
    assert 0.46 <= round(float(np.corrcoef(u, r)[0, 1]), 2) <= 0.55


@pytest.mark.parametrize("role", ["target", "retrain"])
def test_muse_news_equals_the_published_numbers(role, logs, published):
    theirs = published[f"MUSE News__{role}"]
    found = columns(logs / "open_unlearning_muse" / f"News__{role}.parquet")
    for name in ("forget_verbmem_ROUGE", "forget_knowmem_ROUGE", "retain_knowmem_ROUGE"):
        assert found["rougeL_f1"][found["metric"] == name].mean() == pytest.approx(theirs[name], abs=1e-12)
    for name in ("exact_memorization", "extraction_strength"):
        assert found["score"][found["metric"] == name].mean() == pytest.approx(theirs[name], abs=1e-12)
    attacks = columns(logs / "open_unlearning_muse" / f"News__{role}__mia.parquet")
    aucs = {}
    for name in ATTACKS:
        if name in theirs:
            aucs[name] = auc(*(attacks[name][attacks["set"] == side] for side in ("forget", "holdout")))
            assert aucs[name] == pytest.approx(theirs[name], abs=1e-12)
    assert len(aucs) >= 5
    retrained = published["MUSE News__retrain"]["mia_min_k"] if role == "target" else None
    assert privleak_open_unlearning(aucs["mia_min_k"], retrained) == pytest.approx(theirs["privleak"], abs=1e-6)


def legacy_parts(logs: Path, model: str, *, arithmetic: bool = False) -> dict[str, float]:
    """The nine of model utility from a TOFU log, on the 300 rows that it has."""
    form = tr.log_truth_ratio_arithmetic if arithmetic else tr.log_truth_ratio
    parts = {}
    for task in ("retain", "real_authors", "world_facts"):
        found = legacy(logs, model, task)
        plain = np.exp(-found["gt_avg_loss"])
        normalised = tr.normalised_probability(found["gt_avg_loss"], list(found["wrong_avg_loss"]))
        better = tr.true_better(form(found["ref_avg_loss"], list(found["wrong_avg_loss"])))
        parts[f"{task}_probability"] = float((plain if task == "retain" else normalised).mean())
        parts[f"{task}_rougeL_recall"] = float(found["rougeL_recall"].mean())
        parts[f"{task}_truth_ratio"] = float(better.mean())
    return parts


@pytest.mark.parametrize("model", LEGACY_MODELS)
def test_thirteen_values_of_the_legacy_logs(model, logs, all_published):
    theirs = all_published["legacy_rounded_3dp"][model]
    parts = legacy_parts(logs, model)
    forget = legacy(logs, model, "forget")
    ratio = tr.log_truth_ratio(forget["ref_avg_loss"], list(forget["wrong_avg_loss"]))
    found = {
        "Model Utility": model_utility(parts),
        "Forget Probability": np.exp(-forget["gt_avg_loss"]).mean(),
        "Forget ROUGE": forget["rougeL_recall"].mean(),
        "Forget Truth Ratio": tr.closer(ratio).mean(),
    }
    for task in ("retain", "real_authors", "world_facts"):
        found[f"{LEGACY[task]} Probability"] = parts[f"{task}_probability"]
        found[f"{LEGACY[task]} ROUGE"] = parts[f"{task}_rougeL_recall"]
        found[f"{LEGACY[task]} Truth Ratio"] = parts[f"{task}_truth_ratio"]
    assert len(found) == len(theirs) == 13
    assert found == pytest.approx(theirs, abs=5e-4)


@pytest.mark.parametrize("model", [*LEGACY_MODELS, "llama2-7b_full_wd0.01"])
def test_legacy_losses_are_sums_over_tokens(model, logs):
    for task in LEGACY:
        found = legacy(logs, model, task)
        for answer in ("gt", "ref"):
            assert found[f"{answer}_loss_sum"] / found[f"{answer}_tokens"] == pytest.approx(
                found[f"{answer}_avg_loss"], abs=1e-3
            )


def test_two_forms_of_the_truth_ratio_give_two_utilities(logs):
    geometric, arithmetic = (
        model_utility(legacy_parts(logs, LEGACY_MODELS[0], arithmetic=arithmetic)) for arithmetic in (False, True)
    )
    assert geometric == pytest.approx(0.6137, abs=5e-5)  # F7
    assert arithmetic == pytest.approx(0.5752, abs=5e-5)


def test_forget_quality_of_the_legacy_logs(logs):
    ratios = []
    for model in ("llama2-7b_full_wd0.01", LEGACY_MODELS[0]):
        found = legacy(logs, model, "forget")
        ratios.append(tr.log_truth_ratio(found["ref_avg_loss"], list(found["wrong_avg_loss"])))
    test = kolmogorov_smirnov(*ratios)
    assert test.pvalue == pytest.approx(1.8341e-21, rel=5e-5)
    assert test.statistic == pytest.approx(0.3967, abs=5e-5)


def test_zlib_bytes_of_800_answers(logs, data_dir):
    found = columns(logs / "open_unlearning_tofu" / "Llama-3.2-1B-Instruct__full_forget10__mia.parquet")
    differing = 0
    for side, name in (("forget", "forget10"), ("holdout", "holdout10")):
        lines = (data_dir / "tofu" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        answers = [json.loads(line)["answer"] for line in lines]
        rows = found["set"] == side
        assert rows.sum() == 400
        ours = np.array([zlib_bytes(answers[index]) for index in found["index"][rows]])
        differing += int((ours != found["zlib_bytes"][rows]).sum())
    assert differing == 1  # decoded again from its tokens, a text differs by a byte


def test_four_harmonic_means_of_77_models(logs):
    with gzip.open(logs / "aggregate_scores" / "tofu_forget10_llama3.2-1b_models.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 77
    names = {"real_authors": "ra", "world_facts": "wf", "probability": "q_prob", "rougeL_recall": "q_rouge"}
    for row in rows:
        forgotten = [1 - float(row[f"one_minus_{part}"]) for part in ("es", "em", "paraprob", "truth")]
        assert memorization(*forgotten) == pytest.approx(float(row["mem"]), abs=1e-9)
        similarities = [float(row[f"s_{attack}"]) for attack in ("loss", "zlib", "mink", "minkpp")]
        assert privacy(similarities) == pytest.approx(float(row["privacy_mia"]), abs=1e-9)
        parts = {}
        for name in UTILITY_PARTS:
            column = name
            for ours, theirs in names.items():
                column = column.replace(ours, theirs)
            parts[name] = float(row[column])
        assert model_utility(parts) == pytest.approx(float(row["model_utility"]), abs=1e-9)
        found = utility(model_utility(parts), float(row["fluency"]))
        assert found == pytest.approx(float(row["utility"]), abs=1e-9)
    mem = {row["model"]: float(row["mem"]) for row in rows}
    above = [name for name, value in mem.items() if value > mem["retain"]]
    assert len(above) == 18  # F26: of 75 unlearned models
