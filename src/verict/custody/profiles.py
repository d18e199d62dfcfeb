"""What a signature has to cover: the Creator RSA profile's minimum, and what changes the picture (PS3.15 C)."""

from __future__ import annotations

from enum import StrEnum


class Profile(StrEnum):
    """Digital signature profiles of PS3.15 C; NONE holds a signature to none of them."""

    CREATOR = "creator"
    BASE = "base"
    NONE = "none"


class Purpose(StrEnum):
    """What a signature is for."""

    CREATED = "created"
    RECEIVED = "received"


PURPOSE_CODES = {Purpose.CREATED: ("14", "Source Signature"), Purpose.RECEIVED: ("5", "Verification Signature")}
"""Code value and meaning of PS3.16 CID 7007, whose scheme is ASTM-sigpurpose."""

PURPOSE_SCHEME = "ASTM-sigpurpose"

_IDENTITY = frozenset({0x00080016, 0x00080018, 0x0020000D, 0x0020000E})  # SOP class and instance, study, series
_CREATION = frozenset({0x00080012, 0x00080013})  # PS3.15 C.2 b: InstanceCreationDate and -Time
_EQUIPMENT = frozenset(  # PS3.3 C.7.5.1
    {0x00080070, 0x00080080, 0x00080081, 0x00081010, 0x00081040, 0x00081090, 0x00181000, 0x00181002, 0x00181020,
     0x00181050, 0x00181200, 0x00181201, 0x00280120}
)  # fmt: skip
_GENERAL_IMAGE = frozenset(  # PS3.3 C.7.6.1
    {0x00080008, 0x00080022, 0x00080023, 0x0008002A, 0x00080032, 0x00080033, 0x00081140, 0x0008114A, 0x00082111,
     0x00082112, 0x00089215, 0x00200012, 0x00200013, 0x00200020, 0x00201002, 0x00204000, 0x00280300, 0x00280301,
     0x00282110, 0x00282112, 0x00282114, 0x00880200, 0x20500020}
)  # fmt: skip
_IMAGE_PIXEL = frozenset(  # PS3.3 C.7.6.3 and C.7.6.6 (NumberOfFrames), apart from the pixels, group 7FE0
    {0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280034, 0x00280100, 0x00280101,
     0x00280102, 0x00280103, 0x00280106, 0x00280107, 0x00280121, 0x00281101, 0x00281102, 0x00281103, 0x00281201,
     0x00281202, 0x00281203, 0x00282000}
)  # fmt: skip
_FUNCTIONAL_GROUPS = frozenset({0x52009229, 0x52009230})  # PS3.3 C.7.6.16: geometry and rescale of each frame
_REAL_WORLD = 0x00409096  # RealWorldValueMappingSequence: the values a viewer reads off (PS3.3 C.7.6.16.2.11)
_PICTURE = frozenset(  # rescale, VOI and modality LUT, presentation LUT, palettes (PS3.3 C.11, C.7.9),
    # pixels elsewhere, masks to subtract and the advice to do so (C.7.6.10)
    {0x00280A02, 0x00281040, 0x00281041, 0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00281054, 0x00281055,
     0x00281056, 0x00281090, 0x00281199, 0x00281221, 0x00281222, 0x00281223, 0x00281351, 0x00281408, 0x00282002,
     0x00283000, 0x00283010, 0x00283110, 0x00286100, 0x00287FE0, 0x00289132, 0x00289145, 0x20500010, 0x20500020}
)  # fmt: skip


def changes_picture(tag: int) -> bool:
    """Whether an attribute changes what a viewer shows or the HU it holds: a signature that leaves it open is none.

    Pixels, where they lie and how they are read, rescale and LUTs, overlays and curves (60xx, 50xx), shutters and
    graphic annotation (0018,16xx; group 0070), functional groups.

    >>> changes_picture(0x60003000), changes_picture(0x00281053), changes_picture(0x00100010)
    (True, True, False)
    """
    group = tag >> 16
    if group == 0x7FE0:
        return True
    if group in (0x0028, 0x2050, 0x5200):
        return tag in _IMAGE_PIXEL or tag in _PICTURE or tag in _FUNCTIONAL_GROUPS
    if group & 0xFF01 in (0x6000, 0x5000):
        return True
    if group == 0x0070:
        return not 0x80 <= tag & 0xFFFF < 0x100  # these name the content and who made it
    return tag & 0xFFFFFF00 == 0x00181600 or tag == _REAL_WORLD


def must_be_signed(tag: int) -> bool:
    """Whether a signature that leaves this attribute open is too narrow to say anything of the picture."""
    return tag in _IDENTITY or changes_picture(tag)


def is_creator_minimum(tag: int) -> bool:
    """Whether the Creator RSA profile requires this attribute signed where it is present (PS3.15 C.2)."""
    return tag in _CREATION or tag in _EQUIPMENT or tag in _GENERAL_IMAGE or must_be_signed(tag)
