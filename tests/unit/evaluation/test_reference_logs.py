"""Real logs of others' models: our numbers from their per-example columns equal the published ones."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ofmu.evaluation.metric import metric
from ofmu.evaluation.metrics.exact_memorization import ExactMemorization
from ofmu.evaluation.metrics.mia_loss import MiaLoss
from ofmu.evaluation.metrics.probability import Probability
from ofmu.evaluation.records import Records
from ofmu.evaluation.statistics import auc, bootstrap_aucs, generator, interval

MODELS = [
    f"{name}__{role}"
    for name in ("Llama-2-7b-chat-hf", "Llama-3.2-1B-Instruct")
    for role in ("full_forget01", "full_forget05", "full_forget10", "retain90", "retain95", "retain99")
]
ATTACKS = ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus_plus", "mia_gradnorm", "mia_reference")


@pytest.fixture(scope="module")
def logs(data_dir: Path) -> Path:
    return data_dir / "tofu" / "reference_eval_logs"


@pytest.fixture(scope="module")
def published(logs: Path) -> dict:
    return json.loads((logs / "published.json").read_text())["open_unlearning"]


def columns(path: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(path)
    return {name: table.column(name).to_numpy() for name in table.column_names}


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
    assert metric("exact_memorization") is ExactMemorization
