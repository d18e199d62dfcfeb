"""Rules on dates and times: their order, their plausibility. Differences are shown, never the dates themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, time
from functools import lru_cache

import numpy as np

from verict.detect.evidence import Confidence, TagValue
from verict.detect.header_rules.rule import Hit, Rule, rule
from verict.detect.header_rules.table import HeaderTable, is_minority, label_tag

_FIRST_CT = date(1971, 10, 1)  # first CT of a patient, Atkinson Morley Hospital
_LATER_S = 3600.0
_TIME = re.compile(r"(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?")  # PS3.5 6.2, TM


@lru_cache(maxsize=4096)
def parse_date(text: str | None) -> date | None:
    """A DA value, or None.

    >>> parse_date("20000230"), parse_date("20000229")
    (None, datetime.date(2000, 2, 29))
    """
    text = (text or "").replace(".", "")
    if len(text) != 8 or not text.isdecimal() or not text.isascii():
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def parse_time(text: str | None) -> time | None:
    """A TM value, or None."""
    match = _TIME.fullmatch((text or "").replace(":", ""))
    if not match:
        return None
    hour, minute, second = (int(part or 0) for part in match.group(1, 2, 3))
    try:
        return time(hour, minute, min(second, 59), int((match.group(4) or "0").ljust(6, "0")))
    except ValueError:
        return None


def _moments(table: HeaderTable, stem: str) -> list[datetime | None]:
    """Date and time of one event on each row; None where either is missing."""
    days, hours = table.texts(f"{stem}Date"), table.texts(f"{stem}Time")
    pairs = ((parse_date(d), parse_time(t)) for d, t in zip(days, hours, strict=True))
    return [datetime.combine(d, t) if d and t else None for d, t in pairs]


def _graded(table: HeaderTable) -> Confidence:
    """De-identification moves dates: then no order of dates is more than notable."""
    shifted = table.is_deidentified or table.first("LongitudinalTemporalInformationModified") in ("MODIFIED", "REMOVED")
    return Confidence.NOTABLE if shifted else Confidence.UNUSUAL


_SHIFTED = "de-identification that moved dates one by one"
_DEGREES = "NOTABLE where the series says that its dates or its identity were removed"


@rule(
    "dates_out_of_order",
    "The dates are out of order",
    Confidence.UNUSUAL,
    Confidence.NOTABLE,
    why="A study begins before its series, a series before its images are acquired, and images exist only after that; "
    "a header put together from several scans often breaks the order. One day is allowed for clocks and midnight.",
    benign=(_SHIFTED, "a scanner whose clock was wrong", "images reconstructed again and dated by the workstation"),
    degrees=_DEGREES,
)
def dates_out_of_order(table: HeaderTable) -> Iterator[Hit]:
    """StudyDate, AcquisitionDate, ContentDate, each not before the one it follows from."""
    for earlier, later in (
        ("StudyDate", "SeriesDate"),
        ("StudyDate", "AcquisitionDate"),
        ("AcquisitionDate", "ContentDate"),
        ("AcquisitionDate", "InstanceCreationDate"),
    ):
        firsts, seconds = table.texts(earlier), table.texts(later)
        gaps = [_days(a, b) or 0 for a, b in zip(firsts, seconds, strict=True)]
        rows = [i for i, gap in enumerate(gaps) if gap < -1]
        if rows:
            found = TagValue(
                label_tag(later), later, f"{-gaps[rows[0]]} days before {earlier}", f"not before {earlier}"
            )
            yield Hit((found,), table.slices(rows), later, _graded(table))


@lru_cache(maxsize=4096)
def _days(first: str | None, second: str | None) -> int | None:
    a, b = parse_date(first), parse_date(second)
    return (b - a).days if a and b else None


@rule(
    "content_before_acquisition",
    "Images were made before their data were acquired",
    Confidence.NOTABLE,
    why="ContentDate and ContentTime say when the image was made, which follows the acquisition.",
    benign=("the clocks of scanner and console differ", _SHIFTED),
)
def content_before_acquisition(table: HeaderTable) -> Iterator[Hit]:
    """Content more than a minute, and less than two days, before acquisition."""
    made, acquired = _moments(table, "Content"), _moments(table, "Acquisition")
    early_s = [(b - a).total_seconds() if a and b else 0.0 for a, b in zip(made, acquired, strict=True)]
    rows = [i for i, seconds in enumerate(early_s) if 60 < seconds < 2 * 86_400]
    if rows:
        seconds = early_s[rows[0]]
        found = TagValue(label_tag("ContentTime"), "ContentTime", f"{seconds:.0f} s before acquisition", "after it")
        yield Hit((found,), table.slices(rows))


@rule(
    "born_after_study",
    "The patient was born after the study",
    Confidence.UNUSUAL,
    Confidence.NOTABLE,
    why="A birth date after the study shows that identity or date was put in from elsewhere. No dates are shown.",
    benign=(_SHIFTED, "a placeholder birth date in an emergency"),
    degrees=_DEGREES,
)
def born_after_study(table: HeaderTable) -> Iterator[Hit]:
    """PatientBirthDate after StudyDate."""
    gaps = [_days(a, b) for a, b in zip(table.texts("PatientBirthDate"), table.texts("StudyDate"), strict=True)]
    rows = [i for i, gap in enumerate(gaps) if gap is not None and gap < 0]
    if rows:
        found = TagValue(label_tag("PatientBirthDate"), "PatientBirthDate", "(not shown)", "not after StudyDate")
        yield Hit((found,), table.slices(rows), confidence=_graded(table))


@rule(
    "age_disagrees",
    "PatientAge does not follow from birth date and study date",
    Confidence.UNUSUAL,
    Confidence.NOTABLE,
    why="The scanner computes the age from birth date and study date; more than two years apart, one of the three was "
    "changed. The values are not shown.",
    benign=(_SHIFTED, "an age typed in by hand", "a birth date corrected later in the archive"),
    degrees=_DEGREES,
)
def age_disagrees(table: HeaderTable) -> Iterator[Hit]:
    """PatientAge in years against StudyDate less PatientBirthDate."""
    rows = []
    columns = zip(table.texts("PatientAge"), table.texts("PatientBirthDate"), table.texts("StudyDate"), strict=True)
    for i, (age, born, studied) in enumerate(columns):
        days = _days(born, studied)
        match = re.fullmatch(r"(\d{3})Y", age or "")
        if match and days is not None and days >= 0 and abs(days / 365.25 - int(match.group(1)) - 0.5) > 2.5:
            rows.append(i)
    if rows:
        found = TagValue(label_tag("PatientAge"), "PatientAge", "(not shown)", "the age at StudyDate")
        yield Hit((found,), table.slices(rows), confidence=_graded(table))


@rule(
    "date_before_ct",
    "The study is dated before there was CT",
    Confidence.UNUSUAL,
    Confidence.NOTABLE,
    why="The first patient was scanned in October 1971; an earlier date was not written by a CT scanner.",
    benign=("de-identification that moved dates by a fixed span", "a scanner whose clock was never set"),
    degrees=_DEGREES,
)
def date_before_ct(table: HeaderTable) -> Iterator[Hit]:
    """StudyDate or AcquisitionDate before October 1971."""
    for keyword in ("StudyDate", "AcquisitionDate"):
        days = [parse_date(text) or date.max for text in table.texts(keyword)]
        rows = [i for i, day in enumerate(days) if day < _FIRST_CT]
        if rows:
            found = TagValue(label_tag(keyword), keyword, f"in {days[rows[0]].year}", "October 1971 or later")
            yield Hit((found,), table.slices(rows), confidence=_graded(table))
            return


@rule(
    "date_malformed",
    "A date that is no date",
    Confidence.UNUSUAL,
    why="Dates are eight digits and a day of the calendar (PS3.5 6.2); scanners write no others. The value is "
    "not shown.",
    benign=("de-identification that overwrote dates with text", "a damaged file"),
)
def date_malformed(table: HeaderTable) -> Iterator[Hit]:
    """A DA value that cannot be read."""
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate"):
        texts = table.texts(keyword)
        bad = {text for text in set(texts) if text and parse_date(text) is None}
        rows = [i for i, text in enumerate(texts) if text in bad] if bad else []
        if rows:
            found = TagValue(label_tag(keyword), keyword, "(not a date)", "eight digits")
            yield Hit((found,), table.slices(rows), keyword)


@rule(
    "made_later_than_the_rest",
    "Some slices were made long after the rest",
    Confidence.UNUSUAL,
    why="All images of a reconstruction are made within minutes. A few that are dated more than an hour after the "
    "rest were made again, or changed and dated by the program that changed them.",
    benign=("single slices reconstructed again by the operator",),
)
def made_later_than_the_rest(table: HeaderTable) -> Iterator[Hit]:
    """Creation or content time of a few slices over an hour after the median."""
    for stem in ("InstanceCreation", "Content"):
        moments = _moments(table, stem)
        known = [m for m in moments if m]
        if len(known) < 5:
            continue
        zero = min(known)
        middle = float(np.median([(m - zero).total_seconds() for m in known]))
        late = [(m - zero).total_seconds() - middle if m else 0.0 for m in moments]
        rows = [i for i, seconds in enumerate(late) if seconds > _LATER_S]
        if is_minority(len(rows), len(known)):
            keyword = f"{stem}Time"
            found = TagValue(
                label_tag(keyword), keyword, f"{late[rows[0]] / 3600:.1f} h after the rest", "within an hour"
            )
            yield Hit((found,), table.slices(rows), f"{len(rows)} of {len(table)} slices")


RULES: tuple[Rule, ...] = (
    dates_out_of_order,
    content_before_acquisition,
    born_after_study,
    age_disagrees,
    date_before_ct,
    date_malformed,
    made_later_than_the_rest,
)
