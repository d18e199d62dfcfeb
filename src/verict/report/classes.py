"""A classified collection as JSON, schema verict.classes/1, and as a table for a terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from verict.detect.four_classes import CLASSES
from verict.evaluation.classes import Site
from verict.report.json import make_plain
from verict.report.words import printable, say_count

SCHEMA = "verict.classes/1"
SITES_SHOWN = 20
MEANING = (
    "Probabilities take each of the four classes as equally likely beforehand. They are no diagnosis: a nodule that "
    "looks malignant need not be, and no trace of painting is no proof of authenticity."
)
COLUMNS = ("uuid", "slice", "x", "y", *map(str, CLASSES), "said", "type")


def to_document(sites: Sequence[Site], figures: Mapping[str, Any], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values that `json.dumps` takes; no patient's name is among them."""
    return make_plain({
        "schema": SCHEMA,
        "meaning": MEANING,
        "sites": [_describe(site) for site in sites],
        "figures": figures,
        "provenance": provenance,
    })


def to_text(sites: Sequence[Site], figures: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """The document as ASCII text with a final newline."""
    return json.dumps(to_document(sites, figures, provenance), allow_nan=False, indent=2) + "\n"


def to_csv(sites: Sequence[Site]) -> str:
    """One row a site in the order of the label table: its place, the four probabilities, what is said, its label."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for s in sites:
        rows.writerow([s.uuid, s.slice_number, s.x, s.y, *(f"{p:.4f}" for p in s.probabilities), s.said, s.kind])
    return text.getvalue()


def _describe(site: Site) -> dict[str, Any]:
    return {
        "uuid": site.uuid,
        "slice": site.slice_number,
        "x": site.x,
        "y": site.y,
        "place_chosen": site.chosen,
        "type": str(site.kind),
        "probabilities": {str(c): round(p, 6) for c, p in zip(CLASSES, site.probabilities, strict=True)},
        "said": str(site.said),
        "nodule_score": site.nodule_score,
        "tamper_score": site.tamper_score,
        "seen": site.seen,
        "method": site.method or None,
        "touch_up": site.touch_up or None,
    }


def render(sites: Sequence[Site], figures: Mapping[str, Any]) -> RenderableType:
    """The first sites, and the figures of all."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for title in ("scan", "slice", "x", "y", *map(str, CLASSES), "said", "label"):
        table.add_column(title, justify="left" if title in ("scan", "said", "label") else "right")
    for s in sites[:SITES_SHOWN]:
        shares = [f"{p:.2f}" for p in s.probabilities]
        table.add_row(printable(s.uuid), str(s.slice_number), str(s.x), str(s.y), *shares, str(s.said), str(s.kind))
    more = len(sites) - SITES_SHOWN
    parts: list[RenderableType] = [table]
    if more > 0:
        parts.append(Text(f"and {say_count(more, 'site')} more; the JSON lists all"))
    if figures.get("n"):
        parts += [render_figures(figures)]
    return Group(*parts, Text(MEANING, "dim"))


def render_figures(figures: Mapping[str, Any]) -> RenderableType:
    """The figures of `verict.evaluation.classes.measure_sites`, each beside what brightness and size alone reach."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for title in ("figure", "verict", "brightness and size alone"):
        table.add_column(title, overflow="fold")
    for row in rows_of(figures):
        table.add_row(*row)
    return Group(table, _render_confusion(figures["four_classes"]["confusion"]))


def rows_of(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, value and content-only value of each figure, in words."""
    rows: list[tuple[str, str, str]] = []
    four, content = figures["four_classes"], figures["content_only"]
    rows.append(("macro-F1", _say(four["macro_f1"]), _say(content["macro_f1"])))
    rows.append(("accuracy", _say(four["accuracy"]), _say(content["accuracy"])))
    for name, text in (("shows_cancer", "shows a cancer"), ("tampered", "tampered with")):
        for key, word in (("auc", "AUC"), ("accuracy", "accuracy")):
            pair = figures[name]
            rows.append((f"{text}: {word}", _say(pair["verict"][key]), _say(pair["content_only"][key])))
    for text, pair in figures["areas"].items():
        rows.append((f"{text}: AUC", _say(pair["auc"]), _say(pair["brightness_alone"])))
    for name, row in four["classes"].items():
        other = content["classes"][name]
        rows.append((f"{name}: precision, recall (n {row['n']})", _two(row), _two(other)))
    return rows


def _render_confusion(confusion: Mapping[str, Any]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", title="label, and what was said",
                  title_justify="left")  # fmt: skip
    for title in ("", *confusion["classes"]):
        table.add_column(title, justify="right" if title else "left")
    for name, row in zip(confusion["classes"], confusion["rows_are_truth"], strict=True):
        table.add_row(name, *map(str, row))
    return table


def _two(row: Mapping[str, Any]) -> str:
    return ", ".join("-" if row[k] is None else f"{row[k]:.2f}" for k in ("precision", "recall"))


def _say(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"-, n {figure['n']}"
    span = "" if figure["interval"] is None else " ({:.2f} to {:.2f})".format(*figure["interval"])
    return f"{figure['value']:.2f}{span}, n {figure['n']}"
