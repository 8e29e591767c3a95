from __future__ import annotations

import numpy as np
import pytest
import torch

from ofmu.data.containers import read_file
from ofmu.data.formats import read
from ofmu.data.tokens import encode_text
from ofmu.engine.forward import rows as scored
from ofmu.errors import InputError
from ofmu.evaluation.muse_scoring import knowmem, verbmem
from toys import llama, tokenizer

TEXTS = [
    {"prompt": "The old mill by the river", "gt": " burned down in May and was built again in June."},
    {"prompt": "Nobody in town knew ", "gt": "who had painted the red door of the school."},
]
QUESTIONS = [{"question": "Who ran?", "answer": "Ada"}, {"question": "Who sat?", "answer": "Bo Li"}]
SHOTS = [{"question": "Who won?", "answer": "Cy"}]


@pytest.fixture(scope="module")
def model():
    """Knows both texts by heart, and answers the questions after one solved one, with another question behind."""
    made = llama(seed=1, hidden_size=48, max_position_embeddings=128)
    solved = "Question: Who won?\nAnswer: Cy\n\n"
    rows = [{"prompt": row["prompt"].rstrip(), "completion": " " + row["gt"].strip()} for row in TEXTS]
    for row in QUESTIONS:
        question = f"{solved}Question: {row['question']}\nAnswer:"
        rows.append({"prompt": question, "completion": f" {row['answer']}\n\nQuestion: And?"})
    batch = encode_text(read(rows), tokenizer(), max_length=128).batch(range(4))
    optimiser = torch.optim.Adam(made.parameters(), lr=5e-3)
    for _ in range(120):
        optimiser.zero_grad()
        loss = scored(made, batch).nll_means().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.05
    return made.eval()


def test_what_is_known_by_heart_is_continued_word_for_word(model):
    found = verbmem(model, TEXTS, tokenizer(), batch_size=2)
    assert found.values == pytest.approx([100, 100])
    assert found.value == pytest.approx(100)
    assert not found.cut.any()
    assert (found.ids, found.mode) == (("0", "1"), "correct")


def test_the_truth_is_cut_to_as_many_tokens_as_may_be_generated(model):
    limited = verbmem(model, TEXTS, tokenizer(), max_new_tokens=12)
    assert limited.values == pytest.approx([100, 100])
    assert limited.cut.all()
    whole = verbmem(model, TEXTS[:1], tokenizer(), max_new_tokens=12, mode="parity:open_unlearning")
    one_less = verbmem(model, TEXTS[:1], tokenizer(), max_new_tokens=12, mode="parity:muse")
    assert whole.value < one_less.value <= 100


def test_answers_after_solved_questions_end_where_the_next_begins(model):
    found = knowmem(model, QUESTIONS, tokenizer(), shots=SHOTS)
    assert found.values == pytest.approx([100, 100])
    other = [{"id": "q", "cluster": "doc", "question": "Who ran?", "answer": "Ada Low"}]
    partly = knowmem(model, other, tokenizer(), shots=SHOTS)
    assert partly.value == pytest.approx(100 * 2 / 3)  # precision 1, recall 1/2
    assert (partly.ids, partly.clusters) == (("q",), ("doc",))


def test_files_of_the_public_layout_are_read(model, data_dir):
    folder = data_dir / "formats" / "muse-news-sample"
    rows, shots = (read_file(folder / f"knowmem_forget_qa{end}.jsonl").rows for end in ("", "_icl"))
    found = knowmem(model, rows[:3], tokenizer(), shots=shots[:1], max_new_tokens=4)
    assert found.values.shape == (3,)
    assert np.isfinite(found.values).all()


def test_rows_of_other_columns_and_nothing_at_all(model):
    with pytest.raises(InputError, match="row 0 has no text in column 'gt'"):
        verbmem(model, [{"prompt": "x", "completion": "y"}], tokenizer())
    with pytest.raises(InputError, match="no examples"):
        knowmem(model, [], tokenizer())
    with pytest.raises(InputError, match="unknown mode"):
        knowmem(model, QUESTIONS, tokenizer(), mode="best")
