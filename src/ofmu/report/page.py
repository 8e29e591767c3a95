"""The report as one offline HTML file: no script, nothing loaded, everything from outside escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ofmu.errors import RunError
from ofmu.report import attackers, attacks, comparison, course, evidence, examples, facts, headline, limits, verdict
from ofmu.report.attackers import Attackers
from ofmu.report.evidence import Distributions
from ofmu.report.figure import Figure
from ofmu.report.story import ShownExample, Story
from ofmu.report.words import clean, shorten
from ofmu.version import __version__

MOST_BYTES = 2_000_000


def write(
    path: Path,
    *,
    title: str,
    config: Mapping[str, Any],
    manifest: Mapping[str, Any],
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    distributions: Distributions,
    shown: Sequence[ShownExample] | None = None,
    ids: Mapping[str, Sequence[str]] | None = None,
    log_ratios: Distributions | None = None,
    membership: Attackers | None = None,
    brought_back: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Write the report of one run.

    Whatever is missing (no holdout, no retrained model, no history, null values) is said in words. A file
    that cannot be written raises :class:`ofmu.errors.RunError`.

    Args:
        path: the HTML file, replaced if it exists.
        title: heading of the page.
        config: the resolved configuration; ``model``, ``method``, ``forget`` … are shown first if there.
        manifest: what is known of manifest.json: hashes, versions, hardware, seeds. A key ``ended`` says in
            words how the run ended and is shown beside the verdict.
        metrics: metrics.json of a run.
        history: lines of history.jsonl, empty for an evaluation.
        distributions: role → set → per-example mean losses in nats, in the same order for every role; give
            the reporting half where the table rests on it.
        shown: examples to print with their content; only with ``--show-examples``.
        ids: set → ids in the order of ``distributions``; without them examples are named by row.
        log_ratios: role → set → per-example log truth ratios, where wrong answers are known.
        membership: attack → role → (scores of the forget set, scores of never-seen examples).
        brought_back: attacks.json of attacks on this run, where there are any.
        notes: what else a reader must know, a sentence each.
    """
    after = attacks.section(brought_back)
    made = headline.tables(_with_relearning(metrics, brought_back))
    main = made[0] if made and made[0].mode == "correct" else None
    figures, unrecorded = course.figures(history)
    visible, left_out = examples.shown(shown or [])
    page = (
        _environment()
        .get_template("report.html")
        .render(
            **_head(title, any(each.image for each in visible)),
            verdict=verdict.card(metrics, config, manifest, history, main, after),
            main=main,
            others=[table for table in made if table is not main],
            roles=headline.MAIN_ROLES,
            metric_figures=evidence.metric_charts(main),
            outcome=_outcome(distributions, log_ratios or {}, membership or {}, main, history),
            brought_back=after,
            notes=[shorten(note, 400) for note in notes],
            course=figures,
            unrecorded=unrecorded,
            remembered=examples.best_remembered(distributions, ids or {}),
            damaged=examples.worst_damaged(distributions, ids or {}),
            shown=visible,
            shown_left_out=left_out,
            asked_to_show=shown is not None,
            cost=facts.cost(metrics, history),
            settings=facts.rows(config) if config else [],
            hashes=facts.rows(manifest) if manifest else [],
            limits=limits.limits(metrics, distributions, attacks.done(brought_back)),
        )
    )
    _save(path, page)


def write_attacks(
    path: Path,
    *,
    title: str,
    found: Mapping[str, Any],
    config: Mapping[str, Any],
    manifest: Mapping[str, Any],
) -> None:
    """Write the page of attacks on a run: what each brought back, the curves, the settings, what is not shown.

    Args:
        path: the HTML file, replaced if it exists.
        title: heading of the page.
        found: attacks.json.
        config: what was attacked and how.
        manifest: what is known of manifest.json.
    """
    page = (
        _environment()
        .get_template("attacks.html")
        .render(
            **_head(title, images=False),
            section=attacks.section(found),
            counts=attacks.counts(found),
            settings=facts.rows(config) if config else [],
            hashes=facts.rows(manifest) if manifest else [],
            limits=limits.attack_limits(
                attacks.done(found),
                roles=[str(role) for role in found.get("models") or ()],
                images=attacks.of_images(found),
            ),
        )
    )
    _save(path, page)


def write_demo(path: Path, *, stories: Sequence[Story], title: str = "What ofmu does, shown on small models") -> None:
    """Write the demo's page: every story with its question, verdict, table of methods and charts.

    Args:
        path: the HTML file, replaced if it exists.
        stories: in the order to be told.
        title: heading of the page.
    """
    views = [comparison.view(story) for story in stories]
    images = any(each.image for view in views for each in view.shown)
    page = _environment().get_template("demo.html").render(**_head(title, images), stories=views)
    _save(path, page)


def _with_relearning(metrics: Mapping[str, Any], found: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The scores, with the relearning gap among the headlines where relearning was tried."""
    gap = attacks.relearning_gap(found)
    return metrics if gap is None else {**metrics, "scores": [*(metrics.get("scores") or []), gap]}


def _outcome(
    distributions: Distributions,
    log_ratios: Distributions,
    membership: Attackers,
    main: headline.Table | None,
    history: Sequence[Mapping[str, Any]],
) -> list[Figure]:
    drawn = [
        evidence.losses(distributions),
        evidence.truth_ratios(log_ratios),
        evidence.attack(distributions),
        attackers.every_attack(membership),
        evidence.forget_retain(distributions, main, history),
    ]
    return [figure for figure in drawn if figure is not None]


def _head(title: str, images: bool) -> dict[str, Any]:
    style, _, _ = _environment().get_template("style.css").render().partition("\0")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return {
        "title": shorten(title, 200),
        "version": __version__,
        "style": Markup(style),
        "policy": policy + ("; img-src data:" if images else ""),
    }


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("ofmu.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_final,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _final(value: object) -> object:
    """What a template may print: words. A raw number or null would bypass :mod:`ofmu.report.words`."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, str):
        return clean(value)
    raise TypeError(f"a template prints {type(value).__name__}; make words of it first")


def _save(path: Path, page: str) -> None:
    data = page.encode()
    if len(data) > MOST_BYTES:
        raise RunError(f"the report {path} would have {len(data):,} bytes; at most {MOST_BYTES:,} are allowed")
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise RunError(f"cannot write the report {path}: {error.strerror or error}") from error
