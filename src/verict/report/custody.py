"""Custody beside forensics: what signatures and manifests say of a study that was examined for traces of tampering.

Forensics looks for traces in the pixels and headers; custody asks whether they are what somebody signed. Neither knows
of the other; here they stand side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from verict.custody.conclusion import FileCustody, SeriesCustody, StudyCustody
from verict.custody.verify_object import ObjectState
from verict.custody.wording import say_numbers, say_series
from verict.detect.result import ScanResult, SeriesResult, Verdict
from verict.errors import VerictError, say_count
from verict.report.anonymise import LEFT_OUT, name_series

SUSPICIOUS_EXIT, FAILED_EXIT = 10, 1
CHANGED_TITLE = "Changed since it was signed, or its signature is not what it claims"
NOT_ASKED = "not examined, as neither --trust nor --manifest was given: only forensics speaks"
UNSIGNED = "unsigned: only forensics speaks"
SIGNED_WITH_MARKS = "what is marked here was there when it was signed"
ROWS_SHOWN = 50

_STATE_WORDS = {
    ObjectState.VALID: "signed, unchanged since",
    ObjectState.REENCODED: "signed, stored in another way since, its content unchanged",
    ObjectState.COERCED: "signed, its identity changed since as the objects record, everything else unchanged",
    ObjectState.INVALID: "changed since it was signed, or its signature is not what it claims",
    ObjectState.UNTRUSTED: "signed by somebody who is not trusted here",
    ObjectState.EXPIRED: "signed with a certificate that is expired",
    ObjectState.REVOKED: "signed with a certificate that was revoked",
    ObjectState.UNSIGNED: UNSIGNED,
}


@dataclass(frozen=True)
class CustodyView:
    """What a rendering shows of one series: a word for its colour, the sentence, and the files that are not valid.

    Each row of ``files`` is (slices, file or how many, what was found), files of which the same is said together.
    """

    tone: str
    sentence: str
    files: tuple[tuple[str, str, str], ...] = ()
    more_rows: int = 0


def exit_code_of(result: ScanResult, custody: StudyCustody | None) -> int:
    """The exit code of a scan: an invalid signature counts as suspicious, custody that cannot be examined as failed.

    Nothing else of custody counts.
    """
    if custody is not None and custody.state is ObjectState.INVALID:
        return SUSPICIOUS_EXIT
    if could_not_be_examined(custody) and result.exit_code != SUSPICIOUS_EXIT:
        return FAILED_EXIT
    return result.exit_code


def could_not_be_examined(custody: StudyCustody | None) -> bool:
    """Whether custody was asked for and nothing can be said of the whole study, such as by a damaged file beside it."""
    return custody is not None and not custody.series and bool(custody.failures)


def is_invalid(custody: StudyCustody | None) -> bool:
    """Whether any signature of the study does not hold."""
    return custody is not None and custody.state is ObjectState.INVALID


def view_series(custody: StudyCustody | None, series: SeriesResult) -> CustodyView:
    """Custody of one examined series."""
    if custody is None:
        return CustodyView("indeterminate", NOT_ASKED)
    found = custody.series_of(series.series_instance_uid)
    if found is None:
        problem = custody.failures[0].one_line() if custody.failures else ""
        return CustodyView("indeterminate", f"could not be examined: {problem}" if problem else UNSIGNED)
    view = view_custody(found)
    if found.state.exit_code == 0 and series.verdict is Verdict.SUSPICIOUS:
        return replace(view, sentence=f"{view.sentence}; {SIGNED_WITH_MARKS}")
    return view


def view_custody(series: SeriesCustody) -> CustodyView:
    """One series as renderings show it."""
    tone = "suspicious" if series.state is ObjectState.INVALID else "indeterminate"
    tone = tone if series.state.exit_code else "no_evidence"
    if not series.signers and series.seal is None:
        return CustodyView(tone, UNSIGNED)
    by_words: dict[str, list[FileCustody]] = {}
    for file in series.files:
        if file.state.exit_code:
            by_words.setdefault(file.words, []).append(file)
    rows = [_row_of(files, words) for words, files in by_words.items()]
    return CustodyView(tone, series.sentence, tuple(rows[:ROWS_SHOWN]), max(0, len(rows) - ROWS_SHOWN))


def _row_of(files: list[FileCustody], words: str) -> tuple[str, str, str]:
    slices = [file.slice_index for file in files if file.slice_index is not None]
    named = (files[0].name or "no file") if len(files) == 1 else say_count(len(files), "file")
    return say_numbers(slices) if slices else "", named, words


def list_unexamined(custody: StudyCustody | None, result: ScanResult) -> list[SeriesCustody]:
    """Series that somebody signed and that forensics did not examine, such as one of which nothing is left."""
    if custody is None:
        return []
    examined = {series.series_instance_uid for series in result.series}
    return [s for s in custody.series if not s.found_as & examined and (s.signers or s.seal is not None)]


def describe_custody(custody: StudyCustody | None) -> dict[str, Any] | None:
    """Custody for the JSON document: every series, and of its files those that are not valid."""
    if custody is None:
        return None
    return {
        "state": custody.state.value,
        "trusted_sha256": list(custody.trusted),
        "series": [
            {
                "series_instance_uid": series.series_instance_uid,
                "state": series.state.value,
                "sentence": view_custody(series).sentence,
                "signers": list(series.signers),
                "signed_at": list(series.signed_at),
                "has_manifest": series.seal is not None,
                "files": [file.as_dict() for file in series.files if file.state.exit_code]
                if series.signers or series.seal is not None
                else [],
            }
            for series in custody.series
        ],
        "failures": [error.one_line() for error in custody.failures],
    }


def anonymise_custody(custody: StudyCustody | None, result: ScanResult) -> StudyCustody | None:
    """Custody without signers, times, file names and UIDs; slices and attributes by their names stay."""
    if custody is None:
        return None
    names = {series.series_instance_uid: name_series(series) for series in result.series}
    failures = tuple(VerictError("an input of custody cannot be read") for _ in custody.failures)
    return StudyCustody(tuple(_anonymise(series, names) for series in custody.series), failures)


def _anonymise(series: SeriesCustody, names: dict[str, str]) -> SeriesCustody:
    found_as = frozenset(names.get(uid, LEFT_OUT) for uid in series.found_as)
    changes = None if series.seal is None else series.seal.changes
    sentence = _STATE_WORDS[series.state] + ("" if changes is None else f"; {say_series(changes)}")
    return replace(
        series,
        series_instance_uid=names.get(series.series_instance_uid, LEFT_OUT),
        sentence=sentence,
        signers=(LEFT_OUT,) if series.signers else (),
        signed_at=(),
        files=tuple(replace(file, name=LEFT_OUT if file.name else "", sop_instance_uid=LEFT_OUT,
                            words=_STATE_WORDS[file.state])
                    for file in series.files),
        found_as=found_as,
    )  # fmt: skip
