"""Our evaluation against the plain one: all metrics of TOFU from one pass, and the answers of the second."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ofmu.benchmarks.evaluation import ANSWERED, Options, ours_rouge, ours_scores, run, table
from ofmu.benchmarks.plain_evaluation import Plain, rouge_recalls, scores
from ofmu.errors import InputError
from toys import CITIES, llama, tokenizer


def rows(numbers: range, wrong: int, paraphrased: bool = True) -> list[dict]:
    made = []
    for n in numbers:
        row = {
            "question": f"Where does clerk {n} live?" + " Say it." * (n % 3),
            "answer": f"In {CITIES[n % 10]}" + " now" * (n % 4),
            "perturbed_answer": [f"In {CITIES[(n + k) % 10]} by the sea" for k in range(1, wrong + 1)],
        }
        if paraphrased:
            row["paraphrased_answer"] = f"It is {CITIES[n % 10]}"
        made.append(row)
    return made


SETS = {
    "forget": rows(range(7), 3),
    "retain": rows(range(10, 15), 3),
    "real_authors": rows(range(20, 24), 2, paraphrased=False),
    "world_facts": rows(range(30, 33), 2, paraphrased=False),
    "holdout": rows(range(40, 45), 0),
}


@pytest.mark.parametrize("batch_size", [1, 4])
def test_one_pass_for_all_metrics_gives_what_a_pass_for_each_gives(batch_size):
    loaded, other = (SimpleNamespace(model=llama(seed), tokenizer=tokenizer(), context=96) for seed in (1, 2))
    ours = ours_scores(loaded, other, SETS, batch_size)
    theirs = scores(Plain(loaded.model, tokenizer(), 3), Plain(other.model, tokenizer(), 3), SETS)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        assert values == pytest.approx(theirs[name], abs=1e-4), name
        assert np.isfinite(values).all()


def test_answers_are_those_of_plain_generation():
    loaded = SimpleNamespace(model=llama(1, max_position_embeddings=160), tokenizer=tokenizer(), context=160)
    answered = {name: SETS[name] for name in ("forget", "retain")}
    ours = ours_rouge(loaded, answered, Options(batch_size=3, max_new_tokens=20))
    theirs = rouge_recalls(Plain(loaded.model, tokenizer(), 4), answered, 20)
    for name in answered:
        assert ours[name].tolist() == theirs[name].tolist()


def test_the_command_on_a_few_rows(data_dir):
    told: list[str] = []
    result = run(Options(data=str(data_dir), limit=2, max_new_tokens=6), told.append)
    assert result["largest_nats"] < 1e-4
    assert result["differing_answers"] == 0
    assert sum(result["examples"].values()) == 10
    assert told == [f"scoring: {name}" for name in SETS] + [f"generation: {name}" for name in ANSWERED]
    assert {"ours_s", "plain_s", "ratio"} < set(result["scoring"])
    assert "| generation |" in table(result)


def test_without_data_it_says_so(monkeypatch, tmp_path):
    monkeypatch.delenv("OFMU_DATA_DIR", raising=False)
    with pytest.raises(InputError, match="OFMU_DATA_DIR is not set"):
        run(Options())
    with pytest.raises(InputError, match="no folder tofu"):
        run(Options(data=str(tmp_path)))
