"""What an archive may change and say so: identity, with the former values in the Original Attributes Sequence.

An archive that brings patient and order data in line with its own records keeps what it overwrote (PS3.3 C.12.1.1.9;
PS3.4 B.4.1.3 names what a storage provider coerces). Only attributes that identify are understood so: a position or a
rescale slope stays changed, whoever wrote its former value down.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

from verict.custody.manifest import Entry, Manifest
from verict.custody.values import MODIFIED_ATTRIBUTES, ORIGINAL_ATTRIBUTES

_PATIENT_GROUP, _VISIT_GROUP = "0010", "0038"
_MEDICAL = frozenset(  # of the patient's group, and no matter of identity
    {"00101020", "00101021", "00101022", "00101030", "00102000", "00102110", "00102180", "001021A0", "001021B0",
     "001021C0", "001021D0", "00102203", "00102210"}
)  # fmt: skip
_STUDY_AND_ORDER = frozenset(
    {
        "00080005",  # SpecificCharacterSet: new names may need another one
        "00080050", "00080051",  # AccessionNumber and its issuer
        "00080080", "00080081", "00080082",  # institution
        "00080090", "00080092", "00080094", "00080096", "0008009C", "0008009D",  # referring and consulting physicians
        "00081030", "00081032", "00081048", "00081049",  # study description, procedure code, physicians of record
        "00081060", "00081062", "00081110", "00081120",  # reading physicians, referenced study and patient
        "0020000D", "00200010",  # StudyInstanceUID, StudyID
        "00321032", "00321033", "00321060", "00321064",  # requesting physician and service, requested procedure
        "00400275", "00401001", "00401400", "00402016", "00402017",  # request, order numbers
    }
)  # fmt: skip
_RECORDED = re.compile(rf"{ORIGINAL_ATTRIBUTES}\[\d+\]\.{MODIFIED_ATTRIBUTES}\[\d+\]\.(.+)")


class CoercionRecord:
    """The former values that one object records of itself."""

    def __init__(self, values: Mapping[str, bytes]) -> None:
        self._originals: dict[str, set[bytes]] = defaultdict(set)
        for path, digest in values.items():
            match = _RECORDED.fullmatch(path)
            if match:
                self._originals[match.group(1)].add(digest)
        self._tags = {path[:8] for path in self._originals}
        self._is_kept = ORIGINAL_ATTRIBUTES in values

    def explains(self, path: str, manifest: Manifest, entry: Entry) -> bool:
        """Whether the object records, of this changed, removed or added attribute, the value that was signed."""
        tag = path[:8]
        if tag == ORIGINAL_ATTRIBUTES:  # it grows with each coercion; what stood in it must stay
            return path not in entry.attributes or (path == ORIGINAL_ATTRIBUTES and self._is_kept)
        if not may_be_coerced(path) or tag not in self._tags:
            return False
        signed = entry.attributes.get(path)
        if signed is None:  # added: the former value, recorded under the same tag, was absent or shorter
            return True
        return any(manifest.token(path, digest) == signed for digest in self._originals.get(path, ()))


def may_be_coerced(path: str) -> bool:
    """Whether an attribute says whose the object is, not what it shows.

    >>> may_be_coerced("00100010"), may_be_coerced("00102110"), may_be_coerced("00200032")
    (True, False, False)
    """
    tag = path[:8]
    return (tag[:4] in (_PATIENT_GROUP, _VISIT_GROUP) and tag not in _MEDICAL) or tag in _STUDY_AND_ORDER
