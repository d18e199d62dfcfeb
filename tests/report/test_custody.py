"""Custody beside forensics in every rendering, from results built by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from report.results import SERIES_UID, make_result, make_series
from report.schema_check import find_violations
from rich.console import Console, RenderableType

from verict.custody.conclusion import FileCustody, SeriesCustody, StudyCustody
from verict.custody.verify_object import ObjectState
from verict.detect.result import Verdict
from verict.errors import InputError
from verict.report.custody import ROWS_SHOWN, UNSIGNED, anonymise_custody, exit_code_of
from verict.report.html import to_html
from verict.report.json import to_json
from verict.report.table import render_studies, render_summary, summarise_study

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "scan-result.schema.json").read_text(encoding="utf-8"))
HOSTILE = "<script>alert(1)</script>\x1b[2J"


def make_custody(state: ObjectState, *, uid: str = SERIES_UID, files: int = 0, signer: str = "CT-1") -> StudyCustody:
    """A study of one series in a state, so many of its files not valid."""
    wrong = ObjectState.INVALID
    rows = tuple(FileCustody(f"{n:03d}.dcm", f"1.2.{n}", n, wrong, f"what {n} is") for n in range(files))
    series = SeriesCustody(uid, state, f"signed by {signer} on a day", (signer,), ("20260101120000",), rows,
                           found_as=frozenset({uid}))  # fmt: skip
    return StudyCustody((series,))


def show(renderable: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=300, color_system=None)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def all_of(custody: StudyCustody | None, verdict: Verdict = Verdict.NO_EVIDENCE) -> tuple[str, dict, str]:
    result = make_result(make_series(verdict))
    document = to_json(result, custody=custody)
    assert find_violations(document, SCHEMA) == []
    return show(render_summary(result, custody)), document, to_html(result, custody=custody)


@pytest.mark.parametrize("state", list(ObjectState))
def test_only_an_invalid_signature_changes_the_exit_code(state: ObjectState) -> None:
    for verdict, code in ((Verdict.NO_EVIDENCE, 0), (Verdict.INDETERMINATE, 11), (Verdict.SUSPICIOUS, 10)):
        result = make_result(make_series(verdict))
        expected = 10 if state is ObjectState.INVALID else code
        assert exit_code_of(result, make_custody(state)) == expected
        assert to_json(result, custody=make_custody(state))["exit_code"] == expected
        assert summarise_study(result, "a", make_custody(state)).exit_code == expected
    assert exit_code_of(make_result(make_series()), None) == 10


def test_custody_that_cannot_be_examined_never_ends_as_if_it_had_been() -> None:
    broken = StudyCustody((), (InputError("no certificate can be read", file="patient.pem"),))
    for verdict, code in ((Verdict.NO_EVIDENCE, 1), (Verdict.INDETERMINATE, 1), (Verdict.SUSPICIOUS, 10)):
        result = make_result(make_series(verdict))
        assert exit_code_of(result, broken) == code
        hidden = to_json(result, custody=broken, anonymous=True)
        assert (hidden["exit_code"], "patient" in json.dumps(hidden["custody"])) == (code, False)
        assert len(hidden["custody"]["failures"]) == 1


@pytest.mark.parametrize("state", list(ObjectState))
def test_each_rendering_gives_the_sentence(state: ObjectState) -> None:
    text, document, page = all_of(make_custody(state))
    assert "custody: signed by CT-1 on a day" in text
    assert document["custody"]["series"][0]["sentence"] == "signed by CT-1 on a day"
    assert "signed by CT-1 on a day" in page
    assert ("Changed since it was signed" in page) == (state is ObjectState.INVALID)


def test_what_is_marked_in_a_signed_series_was_there_before() -> None:
    text, _, page = all_of(make_custody(ObjectState.VALID), Verdict.SUSPICIOUS)
    for rendered in (text, page):
        assert "what is marked here was there when it was signed" in rendered
    assert "was there when" not in all_of(make_custody(ObjectState.UNTRUSTED), Verdict.SUSPICIOUS)[0]
    assert "was there when" not in all_of(make_custody(ObjectState.VALID))[0]


def test_a_long_list_of_files_is_cut_and_says_so() -> None:
    text, document, page = all_of(make_custody(ObjectState.INVALID, files=ROWS_SHOWN + 7))
    assert "slice 3, 003.dcm: what 3 is" in text
    assert f"and {ROWS_SHOWN + 7 - 8} more; the JSON lists all" in text
    assert len(document["custody"]["series"][0]["files"]) == ROWS_SHOWN + 7
    assert "7 further rows: the JSON lists every file" in page


def test_a_signed_series_that_was_not_examined_is_shown() -> None:
    for text in all_of(make_custody(ObjectState.INVALID, uid="1.9.9"))[::2]:
        assert "Signed, but not examined" in text
        assert "1.9.9" in text
    assert UNSIGNED in all_of(make_custody(ObjectState.VALID, uid="1.9.9"))[0]


def test_names_in_certificates_are_hostile() -> None:
    text, document, page = all_of(make_custody(ObjectState.VALID, signer=HOSTILE))
    assert "\x1b" not in text + page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    json.dumps(document)


def test_a_study_that_could_not_be_read_says_so() -> None:
    failed = StudyCustody((), (InputError("cannot be read", file="x"),))
    for text in all_of(failed)[::2]:
        assert "could not be examined: x: cannot be read" in text


def test_the_table_over_many_studies_says_changed_first() -> None:
    row = summarise_study(make_result(make_series(Verdict.NO_EVIDENCE)), "a", make_custody(ObjectState.INVALID))
    assert row.reason.startswith("Changed since it was signed")
    assert "Changed since it was signed" in show(render_studies([row]))


def test_anonymous_custody_keeps_the_state_and_the_slices_only() -> None:
    result = make_result(make_series())
    custody = anonymise_custody(make_custody(ObjectState.INVALID, files=2), result)
    assert custody is not None
    assert custody.state is ObjectState.INVALID
    text = repr(to_json(result, anonymous=True, custody=make_custody(ObjectState.INVALID, files=2))["custody"])
    for secret in ("CT-1", "2026", SERIES_UID, "001.dcm"):
        assert secret not in text
    assert "'slice': 1" in text
    assert anonymise_custody(None, result) is None
