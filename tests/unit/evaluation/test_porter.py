from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofmu.evaluation.porter import stem

# every rule at least once; the stems are those of NLTK 3.10.4 in its default mode
STEMS = """
caresses caress  ponies poni  ties tie  dies die  caress caress  cats cat  feed feed  agreed agre  plastered plaster
bled bled  motoring motor  sing sing  conflated conflat  troubled troubl  sized size  hopping hop  tanned tan
falling fall  hissing hiss  fizzed fizz  failing fail  filing file  happy happi  sky sky  skies sky  enjoy enjoy
by by  say say  try tri  cried cri  died die  relational relat  conditional condit  rational ration  valenci valenc
hesitanci hesit  digitizer digit  conformabli conform  radicalli radic  differentli differ  vileli vile
analogousli analog  vietnamization vietnam  predication predic  operator oper  feudalism feudal  decisiveness decis
hopefulness hope  callousness callous  formaliti formal  sensitiviti sensit  sensibiliti sensibl  geologi geolog
carefulli care  triplicate triplic  formative form  formalize formal  electriciti electr  electrical electr
hopeful hope  goodness good  revival reviv  allowance allow  inference infer  airliner airlin  gyroscopic gyroscop
adjustable adjust  defensible defens  irritant irrit  replacement replac  adjustment adjust  dependent depend
adoption adopt  homologou homolog  communism commun  activate activ  angulariti angular  homologous homolog
effective effect  bowdlerize bowdler  probate probat  rate rate  cease ceas  controll control  roll roll  dying die
lying lie  news news  innings inning  outing outing  canning canning  howe howe  proceed proceed  succeed succeed
oing o  ion ion  union union  aging age  owed owe  being be  yyyy yyyi  apology apolog  biology biolog
"""
PAIRS = list(zip(STEMS.split()[::2], STEMS.split()[1::2]))


@pytest.mark.parametrize(("word", "expected"), PAIRS)
def test_stems(word, expected):
    assert stem(word) == expected


def test_case_does_not_matter_and_short_words_stay():
    assert stem("RELATIONAL") == "relat"
    assert [stem(word) for word in ("", "a", "is", "as", "1")] == ["", "a", "is", "as", "1"]


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789", max_size=12))
def test_any_word_has_a_stem_no_longer_than_itself_by_more_than_an_e(word):
    assert len(stem(word)) <= len(word)
    assert bool(stem(word)) or word in ("", "s") or len(word) > 2
