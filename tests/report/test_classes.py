"""A classified collection as text: what is shown, and how much is left to the JSON."""

from __future__ import annotations

import io

from evaluation.test_classes import make_sites
from rich.console import Console

from verict.evaluation.classes import measure_sites
from verict.report.classes import SITES_SHOWN, render, rows_of, to_document


def shown(count: int) -> str:
    sites = make_sites(count)
    console = Console(file=io.StringIO(), width=120)
    console.print(render(sites, measure_sites(sites)))
    return console.file.getvalue()


def test_many_sites_are_cut_and_say_so():
    text = shown(8)
    assert f"and {32 - SITES_SHOWN} sites more" in text
    assert "sites more" not in shown(4)


def test_every_figure_stands_beside_its_baseline():
    rows = rows_of(measure_sites(make_sites()))
    assert rows[0][0] == "macro-F1"
    assert all(len(row) == 3 and row[2] for row in rows)
    assert any(name.startswith("FM: precision, recall (n 8)") for name, _, _ in rows)


def test_the_document_says_that_it_is_no_diagnosis():
    sites = make_sites(2)
    document = to_document(sites, measure_sites(sites), {"verict": "0"})
    assert "no diagnosis" in document["meaning"]
    assert document["sites"][0]["probabilities"].keys() == {"TB", "FB", "TM", "FM"}
