"""Two processes measure what one measures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ofmu.evaluation.record import COLUMNS
from ofmu.evaluation.records import Records
from toys import CITIES, facts, save_llama, secrets, write_lines

from .torchrun import torchrun


def test_two_processes_share_the_passes_and_give_the_same_numbers(tmp_path: Path) -> None:
    from ofmu.cli.main import main

    wrong = [{**row, "perturbed_answer": [f"It is {CITIES[n]}.", f"It is {CITIES[-n]}."]} for n, row in
             enumerate(secrets())]  # fmt: skip
    unseen = [{**row, "id": f"new-{n}"} for n, row in enumerate(facts(range(20, 27)))]
    named = [("forget", wrong), ("retain", facts(range(9))), ("holdout", unseen)]
    files = {name: write_lines(tmp_path / f"{name}.jsonl", rows) for name, rows in named}
    model, base = (save_llama(tmp_path / f"llama-{k}", seed=k, max_position_embeddings=160) for k in (0, 1))
    texts = [{"text": f"{city} lies by the sea, " * (9 * (n % 2) + 1)} for n, city in enumerate(CITIES)]
    asked = [{"question": f"Which is {k}?", "choices": list("wxyz"), "answer": k % 4} for k in range(9)]
    more = {"prose": write_lines(tmp_path / "prose.jsonl", texts), "quiz": write_lines(tmp_path / "quiz.jsonl", asked)}
    given = [
        "evaluate",
        "--model",
        model,
        "--base",
        base,
        *(word for name, file in files.items() for word in (f"--{name}", file)),
    ]
    given += [word for name, file in more.items() for word in ("--abilities", f"{name}={file}")]
    given += ["--generate", "--max-new-tokens", 4, "--gradient-norms", "--batch-size", 3, "--device", "cpu", "--quiet"]
    ended = torchrun("-m", "ofmu", *given, "--output", tmp_path / "two")
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert main([*map(str, given), "--output", str(tmp_path / "one")]) == 0
    two, one = (Records.load(tmp_path / name / "records") for name in ("two", "one"))
    assert two.keys() == one.keys()
    assert ("unlearned", "forget-wrong") in one
    assert one["unlearned", "forget"].facts["ref_nll"].max() > 0  # read by the base model, each rank what it heard
    prose = one["unlearned", "prose"]
    assert (prose.facts["document_tokens"] > prose.counts()).any()  # longer than the context
    assert "permutation_accuracy" in one["unlearned", "quiz"].facts
    for key, record in one.items():
        assert two[key].ids == record.ids
        for column in COLUMNS["text"]:
            found, expected = (each[key].columns[column].astype(float) for each in (two, one))
            assert np.abs(found - expected).max() < 1e-6, (key, column)
        assert two[key].facts.keys() == record.facts.keys()
        for name, fact in record.facts.items():
            assert np.allclose(two[key].facts[name], fact, rtol=0, atol=1e-6, equal_nan=True), (key, name)
