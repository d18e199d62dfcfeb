"""The value representations, and which one an attribute has where the file does not say (implicit VR).

Source: PS3.5 6.2 (table 6.2-1), 7.1.2 and 7.1.3 (implicit VR), A.1 (which of several); PS3.6 by pydicom's dictionaries.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from pydicom.datadict import dictionary_VR, private_dictionary_VR

LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
SHORT_VRS = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
     b"ST", b"TM", b"UI", b"UL", b"US"}
)  # fmt: skip
_SIGNED_AS_PIXELS = frozenset(
    {0x00280106, 0x00280107, 0x00280108, 0x00280109, 0x00280120, 0x00280121, 0x00283002, 0x00409211,
     0x00409216, 0x00603004, 0x00603006}
)  # fmt: skip
"""Of the attributes "US or SS" those read as PixelRepresentation of the same item says, as dcmsign reads them."""
_BYTES = frozenset({0x54001010, 0x00143050, 0x00143070})  # "OB or OW" that dcmsign reads as OB
_AMBIGUOUS = {"OB or OW": b"OW", "US or OW": b"OW", "US or SS": b"", "US or SS or OW": b"OW"}  # PS3.5 A.1


def look_up_vr(tag: int, creators: Mapping[int, str] | None, *, signed: bool) -> bytes:
    """The VR of an element of an implicit VR dataset; UN where nobody knows.

    Parameters
    ----------
    tag
        The element.
    creators
        The private creators of its dataset by their tags; None: private values are UN, as for any reader without
        its vendor's dictionary.
    signed
        Whether PixelRepresentation of its own dataset says that pixels are signed.
    """
    known = _known_vr(tag)
    if known == "UN" and creators is not None and tag >> 16 & 1:
        creator = creators.get((tag & 0xFFFF0000) | (tag >> 8 & 0xFF))
        return b"UN" if creator is None else _private_vr(tag, creator)
    if known in _AMBIGUOUS:
        return _AMBIGUOUS[known] or (b"SS" if signed and tag in _SIGNED_AS_PIXELS else b"US")
    return known.encode()


@lru_cache(maxsize=4096)
def _known_vr(tag: int) -> str:
    """VR of a standard tag by the dictionary; of a group length UL, of a private creator LO, else UN."""
    group, number = tag >> 16, tag & 0xFFFF
    if number == 0:
        return "UL"
    if tag in _BYTES:
        return "OB"
    if group & 1:
        return "LO" if 0x10 <= number <= 0xFF else "UN"
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


@lru_cache(maxsize=4096)
def _private_vr(tag: int, creator: str) -> bytes:
    try:
        vr = private_dictionary_VR(tag, creator)
    except KeyError:
        return b"UN"
    return vr.encode() if vr.encode() in SHORT_VRS | LONG_VRS else b"UN"
