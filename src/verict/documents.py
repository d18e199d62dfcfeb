"""Documents that are partly written by hand and partly made from what is shipped."""

from __future__ import annotations

from verict.errors import OutputError


def replace_part(text: str, start: str, end: str, body: str) -> str:
    """A document with everything between two marks replaced; the marks and the rest stay.

    Raises
    ------
    OutputError
        If the document lacks the marks.

    Examples
    --------
    >>> replace_part("by hand [ old ] by hand", "[", "]", " new ")
    'by hand [ new ] by hand'
    """
    before, start_found, rest = text.partition(start)
    _, end_found, after = rest.partition(end)
    if not start_found or not end_found:
        raise OutputError("the document has no place for this part", expected=f"{start} and {end}")
    return f"{before}{start}{body}{end}{after}"
