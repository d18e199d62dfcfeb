"""Documents that are partly written by hand and partly made from what is shipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

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


def renew_files(names: Iterable[str], renew: Callable[[str], str]) -> None:
    """Rewrite documents by what ``renew`` makes of their text: what the modules that renew one are run for."""
    for name in names:
        path = Path(name)
        path.write_text(renew(path.read_text(encoding="utf-8")), encoding="utf-8")
