"""What the documentation says is so: links lead somewhere, pages made from code are current, rules state numbers."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml

from ofmu.data.formats import FORMATS
from ofmu.data.text_columns import TEXT_FORMATS
from ofmu.engine import balance, goal, pace
from ofmu.methods.ofmu import PRESETS
from ofmu.runs.config import Unlearn
from ofmu.version import __version__

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(#[^)\s]*)?\)")
PLACES = re.compile(r"/(?:work|home|root|tmp|Users)/|\bpypi|files\.pythonhosted|download\.pytorch|index-url")


def anchors(page: Path) -> set[str]:
    """The places in a page that a link can name, as the usual hosts make them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    for place, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{place} does not exist"
        assert not anchor or anchor in anchors(target), f"{place}{anchor}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_machine_or_a_registry(page: Path):
    assert not PLACES.findall(page.read_text(encoding="utf-8"))


def test_every_page_can_be_reached_from_the_readme():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        links = {(page.parent / place).resolve() for place, _ in LINK.findall(page.read_text(encoding="utf-8"))}
        waiting += [link for link in links if link.suffix == ".md" and link.exists() and link not in seen]
    assert not set(PAGES) - seen


def test_pages_made_from_the_code_are_current(capsys: pytest.CaptureFixture[str]):
    make_pages = runpy.run_path(str(ROOT / "docs/make_pages.py"))
    assert make_pages["main"](["--check"]) == 0, capsys.readouterr().err


def test_the_rules_of_the_defaults_state_the_numbers_of_the_code():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rules = " ".join(text.partition("## The rules of the defaults")[2].partition("\n## ")[0].split())
    default = PRESETS["default"]
    for said in (
        f"{pace.PEAK:g} of the model's own scale",
        f"λ_eff = {default['lambda_eff']:g}",
        f"multiplied by {balance.YIELD:g} if",
        f"by {balance.GAIN:g} if",
        f"more than {default['retain_band']:.0%}".replace("%", " %"),
        f"factor of {balance.Balance(1, 1).limit:g}",
        f"p > {goal.ENOUGH:g}".replace("0.", "."),
        f"cosine above {default['margin']:g}",
        f"{Unlearn(model='m').batch_size} examples a side",
    ):
        assert said in rules, said
    assert (pace.WARM_UP, pace.SETTLE, goal.RUNNING) == (0.1, 1.0, 2), "a tenth, as many, two in a row"
    assert default["beta"] == 0.1, "a tenth of its length"
    assert default["rho"] == 0, "docs/defaults.md says that the penalty is off"
    assert [pace.default_steps(n, 16) for n in (1, 400, 10**6)] == [60, 300, 1000], "twelve passes, 60 to 1,000"


def test_the_readme_names_every_format_and_every_extra_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for columns, _ in (TEXT_FORMATS[name] for name in FORMATS if name in TEXT_FORMATS):
        assert all(f"`{column}`" in text for column in columns), columns
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for page in PAGES:
        for extra in re.findall(r"pip install '(?:ofmu|\.)\[(\w+)\]'", page.read_text(encoding="utf-8")):
            assert extra in project["optional-dependencies"], f"{page.name}: {extra}"


def test_citation_and_changelog_are_of_this_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == __version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert __version__ in changes
    assert "### Numbers" in changes


def test_constraints_pin_versions_and_name_no_place():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9.]+", pin) for pin in pins)
    assert "torch==2.13.0" in pins


def test_every_default_of_ofmu_is_told_with_a_reason():
    text = (ROOT / "docs/defaults.md").read_text(encoding="utf-8").partition("## Every option of `ofmu`")[2]
    told = {name: (value, why) for name, value, why in re.findall(r"^\| `([\w.]+)` \| (.+?) \| (.+) \|$", text, re.M)}
    default = PRESETS["default"]
    assert set(told) == {"objective.name" if name == "objective" else name for name in default}
    for name, value in default.items():
        value = {True: "on", False: "off"}[value] if isinstance(value, bool) else value
        said, why = told["objective.name" if name == "objective" else name]
        assert said == (f"{value:g}" if isinstance(value, float) else str(value)), name
        assert why.endswith("."), name
