"""Write the pages that are made from the code: one a method, one a metric, and a list of each.

``make docs`` runs it; with ``--check`` nothing is written, and exit code 1 says that a page is out of date.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from ofmu import methods
from ofmu.cli.catalogue import first_line
from ofmu.cli.commands.metrics import BETTER, MODALITY
from ofmu.cli.commands.unlearn import method_options
from ofmu.cli.options import Option
from ofmu.engine.method import Method
from ofmu.evaluation.metric import Metric
from ofmu.evaluation.metrics import all_metrics
from ofmu.methods.ofmu import PRESETS

DOCS = Path(__file__).parent
MADE = "<!-- Made from the code by `make docs`; change the docstring, not this page. -->\n"

METHODS = f"""{MADE}
# Methods

`ofmu unlearn METHOD …`; `ofmu` if left out. All share the engine, the step-size rule and the measurements, so that they
can be compared at equal gradients. The same in a terminal: `ofmu methods`.

| method | what it does | cost and memory |
|---|---|---|
"""

METRICS = f"""{MADE}
# Metrics

What `metrics.json` holds under these names, on each set (`forget_probability`, `retain_probability` …) and for each
model. On the forget set best is always what the retrained model does: destroying a model is not unlearning. What is
scored, how intervals are made and what the verdict rests on: [how things are measured](../METRICS.md).

| metric | what it measures | of | better |
|---|---|---|---|
"""


def pages() -> Iterator[tuple[Path, str]]:
    """Every page made from the code, with its text."""
    kinds = {name: methods.find(name) for name in methods.OWN}
    yield DOCS / "methods/README.md", _list_of_methods(kinds)
    for name, kind in kinds.items():
        yield DOCS / f"methods/{name}.md", _method_page(name, kind)
    metrics = {name: kind for name, kind in all_metrics().items() if kind.__module__.startswith("ofmu.")}
    yield DOCS / "metrics/README.md", _list_of_metrics(metrics)
    for name, kind in metrics.items():
        yield DOCS / f"metrics/{name}.md", _metric_page(name, kind)


def _list_of_methods(kinds: dict[str, type[Method]]) -> str:
    rows = []
    for name, kind in kinds.items():
        rows.append(_row(f"[`{name}`]({name}.md)", first_line(kind), kind.cost))
    return METHODS + "\n".join([*rows, ""])


def _method_page(name: str, kind: type[Method]) -> str:
    ends = "yes" if kind.wants_goal else "no"
    lines = [MADE, f"# {name}\n", _docstring(kind), ""]
    lines += [f"- **Paper**: {kind.paper}", f"- **Cost and memory**: {kind.cost}"]
    lines += [f"- **Stops by itself** at its goal: {ends}", _source(kind), "", "## Options\n"]
    presets = PRESETS if name == "ofmu" else {}
    heads = [f"preset `{preset}`" for preset in presets] or ["default"]
    lines += [_row("option", "takes", *heads, "range", "what it is"), "|---" * (4 + len(heads)) + "|"]
    for option in method_options(name):
        values = [_of_preset(option, preset) for preset in presets] or [_default(option)]
        lines.append(_row(f"`{option.flag}`", _takes(option), *values, option.range, option.text))
    return "\n".join([*lines, ""])


def _of_preset(option: Option, preset: str) -> str:
    path = option.path.removeprefix("method.")
    if path == "preset":
        return preset
    value = PRESETS[preset].get("objective" if path == "objective.name" else path)
    return _default(option) if value is None else _shown(value)


def _list_of_metrics(kinds: dict[str, type[Metric]]) -> str:
    rows = []
    for name, kind in kinds.items():
        rows.append(_row(f"[`{name}`]({name}.md)", first_line(kind), MODALITY[kind.modality], BETTER[kind.better]))
    return METRICS + "\n".join([*rows, ""])


def _metric_page(name: str, kind: type[Metric]) -> str:
    needs = ", ".join(sorted(kind.needs)) or "nothing beyond forget and retain set"
    unit = f"; unit: {kind.unit}" if kind.unit else ""
    facts = [f"- **Of**: {MODALITY[kind.modality]}", f"- **Needs**: {needs}"]
    facts += [f"- **Better**: {BETTER[kind.better]}{unit}", f"- **Version of the definition**: {kind.version}"]
    text = _docstring(kind).replace("METRICS.md", "[METRICS.md](../METRICS.md)")
    return "\n".join([MADE, f"# {name}\n", text, "", *facts, _source(kind), ""])


def _docstring(kind: type) -> str:
    """A docstring as Markdown: paragraphs stay, aligned lines keep their breaks; arguments are left out."""
    text = inspect.cleandoc(kind.__doc__ or "").replace("``", "`").partition("\n\nArgs:")[0]
    return "\n\n".join(_block(paragraph) for paragraph in text.split("\n\n"))


def _block(paragraph: str) -> str:
    lines = paragraph.splitlines()
    aligned = len(lines) > 1 and all("  " in line for line in lines)
    return f"```text\n{paragraph}\n```" if aligned else paragraph


def _source(kind: type) -> str:
    return f"- **Code**: [`{kind.__module__}`](../../src/{kind.__module__.replace('.', '/')}.py)"


def _takes(option: Option) -> str:
    return ", ".join(f"`{choice}`" for choice in option.choices) or option.type_name


def _default(option: Option) -> str:
    return "" if option.default is None else _shown(option.default)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _row(*cells: str) -> str:
    """A row of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def main(arguments: list[str]) -> int:
    """Write all pages, or with ``--check`` name those that are out of date."""
    wanted = dict(pages())
    made = {path for folder in ("methods", "metrics") for path in (DOCS / folder).glob("*.md")}
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    stale += sorted(made - set(wanted))
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(DOCS.parent)} is out of date; run make docs", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
