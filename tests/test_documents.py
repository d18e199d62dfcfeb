"""Only the marked part of a document changes."""

from __future__ import annotations

import pytest

from verict.documents import replace_part
from verict.errors import OutputError


def test_what_is_written_by_hand_stays() -> None:
    once = replace_part("a <1> old </1> b", "<1>", "</1>", "new")
    assert once == "a <1>new</1> b"
    assert replace_part(once, "<1>", "</1>", "new") == once


@pytest.mark.parametrize("text", ["", "only <1> here", "only </1> here", "</1> turned round <1>"])
def test_a_missing_mark_is_refused(text: str) -> None:
    with pytest.raises(OutputError, match="<1> and </1>"):
        replace_part(text, "<1>", "</1>", "new")
