"""One header value as text, whatever the header holds."""

from __future__ import annotations

import warnings

import pydicom

from verict.ct.enhanced import PARSE_ERRORS


def read_text(header: pydicom.Dataset, keyword: str) -> str:
    """A value as text, "" where it is missing, empty or cannot be parsed.

    pydicom parses a value when it is first asked for, and warns of a malformed one by quoting it. It may be the
    patient's, so the warning goes nowhere.

    Parameters
    ----------
    header
        From `verict.ct.read.read_series`.
    keyword
        A DICOM keyword.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = header.get(keyword)
            return "" if value is None else str(value)
        except PARSE_ERRORS:
            return ""
