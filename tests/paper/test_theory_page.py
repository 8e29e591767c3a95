"""The theory page and the code name the same equations; every claim of its table names what tests or measures it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/theory.md").read_text(encoding="utf-8")
CITED = re.compile(r"(?<![\w\])}])\((\d{1,2})\)")
STATED = re.compile(r"^\| \((\d{1,2})\)|\*\*\((\d{1,2})\)(?: P)?\*\*", re.MULTILINE)
ROOMS = ("core", "engine", "methods", "losses")
FILES = sorted(path for room in ROOMS for path in (ROOT / "src/ofmu" / room).rglob("*.py"))
FILES += sorted((ROOT / "src/ofmu/benchmarks").glob("convergence*.py")) + sorted((ROOT / "tests/paper").glob("*.py"))


def stated() -> set[int]:
    return {int(number) for pair in STATED.findall(PAGE) for number in pair if number}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_equation_that_the_code_cites_is_on_the_page(path: Path) -> None:
    cited = {int(number) for number in CITED.findall(path.read_text(encoding="utf-8"))}
    assert not cited - stated()


def test_equations_are_stated_once() -> None:
    numbers = [int(number) for pair in STATED.findall(PAGE) for number in pair if number]
    assert len(numbers) == len(set(numbers))
    assert {*range(1, 24), *range(30, 44), *range(50, 63)} == set(numbers)


PROSE = {35, 36, 38}
"""What the paper claims and what does not follow: nothing computes it."""


def places() -> dict[int, list[Path]]:
    """Equation → files of code and tests that its own entry on the page links to."""
    found: dict[int, list[Path]] = {}
    for entry in re.split(r"\n(?=- |\| |\n|#)", PAGE):
        links = [ROOT / link for link in re.findall(r"\]\(\.\./((?:src|tests)/[^)#]+\.py)\)", entry)]
        found |= {int(number): links for pair in STATED.findall(entry) for number in pair if number}
    return found


@pytest.mark.parametrize("number", sorted(stated() - PROSE))
def test_an_equation_leads_to_code_that_leads_back(number: int) -> None:
    cited = [CITED.findall(path.read_text(encoding="utf-8")) for path in places()[number]]
    assert any(str(number) in numbers for numbers in cited), f"({number}): no file that its entry names cites it"


def test_every_equation_of_the_method_is_cited_in_the_code() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in FILES if "tests" not in path.parts)
    cited = {int(number) for number in CITED.findall(source)}
    assert {1, 3, 4, 5, 6, 7, 8, 9, 10, 16, 17, 18, 20, 22, 30, 31, 32, 33, 40, 43, *range(50, 59)} <= cited


def test_the_claim_table_has_every_claim_and_the_tests_it_names_exist() -> None:
    rows = re.findall(r"^\| T(\d+) \|(.*)$", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 22))
    for number, row in rows:
        places = re.findall(r"\]\(\.\./([^)]+)\)", row)
        assert places or "not" in row, f"T{number} names nothing"
        assert all((ROOT / place).exists() for place in places)
        for name in re.findall(r"`(test_\w+)`", row):
            files = [ROOT / place for place in places if place.endswith(".py")]
            assert any(f"def {name}(" in file.read_text(encoding="utf-8") for file in files), name
