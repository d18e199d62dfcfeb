"""What kind of object a DICOM instance is: an axial CT slice to examine, or something set aside with the reason."""

from __future__ import annotations

import math
from enum import StrEnum

from pydicom.uid import UID_dictionary

from verict.ct.instance import ENHANCED_CLASSES, MEDIA_DIRECTORY, Instance


class Kind(StrEnum):
    """What an instance is. Only AXIAL_CT is examined."""

    AXIAL_CT = "axial CT"
    SCOUT = "scout"
    REFORMAT = "reformatted image"
    SECONDARY_CAPTURE = "secondary capture"
    OTHER_IMAGE = "image of another modality"
    NOT_AN_IMAGE = "object without CT pixels"
    DIRECTORY = "media directory"


CT_CLASSES = ENHANCED_CLASSES | {"1.2.840.10008.5.1.4.1.1.2"}  # CT Image Storage (PS3.4 B.5)
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and its multi-frame forms .7.1 to .7.4
_SCOUT_WORDS = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM"})
_REFORMAT_WORDS = frozenset(
    {"REFORMATTED", "MPR", "MPR THICK", "CURVED", "CPR", "MIP", "MINIP", "PROJECTION IMAGE", "3D", "VRT",
     "VOLUME RENDERED", "MAX_IP", "MIN_IP", "AVERAGE"}
)  # fmt: skip
_SCREEN_WORDS = frozenset({"SCREEN SAVE", "DOSE_INFO", "DOSE REPORT", "SCREEN SHOT"})
_OTHER_PARTS = ("HEAD", "BRAIN", "SKULL", "FACE", "SINUS", "NECK", "ABDOMEN", "PELVIS", "HIP", "KNEE", "LEG", "FOOT",
                "ANKLE", "ARM", "HAND", "WRIST", "ELBOW", "EXTREMITY", "EAR", "ORBIT", "JAW", "PROSTATE", "BLADDER",
                "UTERUS", "COLON", "KIDNEY", "LIVER", "PANCREAS", "LSPINE", "CSPINE")  # fmt: skip
_CHEST_WORDS = ("CHEST", "LUNG", "THORA", "HEART", "WHOLE", "BODY", "BREAST", "RIB", "ESOPHAGUS")
_AXIAL_COSINE = math.cos(math.radians(45))  # a gantry tilts at most 30 degrees, so 45 tells the planes apart


def classify(instance: Instance) -> tuple[Kind, str]:
    """Say what an instance is and, unless it is an axial CT slice, why it is not examined."""
    sop_class, modality = instance.sop_class_uid, instance.modality.upper()
    words = set(instance.image_type)
    if sop_class == MEDIA_DIRECTORY:
        return Kind.DIRECTORY, "a DICOMDIR lists files and holds no image"
    if sop_class.startswith(_SECONDARY_CAPTURE):
        return Kind.SECONDARY_CAPTURE, "a picture of a screen or document, not Hounsfield units"
    if sop_class and sop_class not in CT_CLASSES:
        named = UID_dictionary.get(sop_class, ("an unknown SOP class",))[0]
        image = instance.rows > 0 and instance.columns > 0
        return (Kind.OTHER_IMAGE if image else Kind.NOT_AN_IMAGE), f"{named}, not a CT image"
    if modality != "CT" and (modality or not sop_class):
        reason = f"Modality is {_short(modality)}, not CT" if modality else "neither SOP class nor Modality"
        return Kind.OTHER_IMAGE, reason
    if lacks_image(instance):
        return Kind.NOT_AN_IMAGE, "Rows or Columns are missing or zero"
    if words & _SCREEN_WORDS:
        return Kind.SECONDARY_CAPTURE, "ImageType says dose report or screen save"
    if words & _SCOUT_WORDS:
        return Kind.SCOUT, "ImageType says LOCALIZER: a projection, not a slice"
    derived = "DERIVED" in words or "SECONDARY" in words
    if derived and (found := sorted(words & _REFORMAT_WORDS)):
        return Kind.REFORMAT, f"ImageType says {found[0]}: computed from other slices"
    if (cosine := _normal_z(instance)) is not None and cosine < _AXIAL_COSINE:
        return Kind.REFORMAT, "the image plane is coronal or sagittal"
    return Kind.AXIAL_CT, ""


def lacks_image(instance: Instance) -> bool:
    """Whether a file that calls itself a CT image, or nothing at all, has no image: damaged, not another object."""
    if instance.rows and instance.columns:
        return False
    return instance.sop_class_uid in CT_CLASSES if instance.sop_class_uid else instance.modality.upper() in ("CT", "")


def name_of_object(instance: Instance, kind: Kind) -> str:
    """Name an object that is set aside, for the list of what was not examined."""
    if kind in (Kind.OTHER_IMAGE, Kind.NOT_AN_IMAGE) and instance.modality:
        return f"{_short(instance.modality)} object"
    return str(kind)


def is_chest(instance: Instance) -> bool:
    """Whether BodyPartExamined leaves it open that this is a chest; missing or unknown parts do."""
    part = instance.body_part
    if any(word in part for word in _CHEST_WORDS):
        return True
    return not any(word in part for word in _OTHER_PARTS)


def _short(code: str) -> str:
    """A code string as it may be shown: at most 16 characters (PS3.5 6.2, VR CS)."""
    return code[:16]


def _normal_z(instance: Instance) -> float | None:
    """|cosine| between the slice normal and the patient's long axis; None where orientation is unusable."""
    if instance.orientation is None:
        return None
    a, b, c, d, e, f = instance.orientation
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    size = math.hypot(*normal)
    return abs(normal[2]) / size if size > 0.5 else None
