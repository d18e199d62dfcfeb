"""The few header values that find, tell apart and order CT images, read without a full parse.

Values are taken as text and numbers are only believed when finite. The patient's identity is kept as a digest, so
that it can be compared but never printed.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass

from verict.ct.container import walk
from verict.ct.part10 import NeedMore, Part10, open_part10
from verict.ct.sources import Source, read_bytes
from verict.errors import InputError

FIRST_READ_BYTES = 32 << 10  # the headers of nearly every CT slice
MAX_HEADER_BYTES = 256 << 20

SOP_CLASS_UID, SOP_INSTANCE_UID = 0x00080016, 0x00080018
IMAGE_TYPE, MODALITY = 0x00080008, 0x00080060
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = 0x0020000D, 0x0020000E
PATIENT_ID, BODY_PART = 0x00100020, 0x00180015
SLICE_THICKNESS, SPACING_BETWEEN, GANTRY_TILT = 0x00180050, 0x00180088, 0x00181120
ACQUISITION_NUMBER, INSTANCE_NUMBER = 0x00200012, 0x00200013
IMAGE_POSITION, IMAGE_ORIENTATION = 0x00200032, 0x00200037
SAMPLES, PHOTOMETRIC, FRAMES, ROWS, COLUMNS = 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011
PIXEL_SPACING, BITS_ALLOCATED, BITS_STORED, HIGH_BIT = 0x00280030, 0x00280100, 0x00280101, 0x00280102
PIXEL_REPRESENTATION, PADDING_VALUE, PADDING_LIMIT = 0x00280103, 0x00280120, 0x00280121
INTERCEPT, SLOPE, RESCALE_TYPE = 0x00281052, 0x00281053, 0x00281054
MODALITY_LUT = 0x00283000

WANTED = frozenset(
    {SOP_CLASS_UID, SOP_INSTANCE_UID, IMAGE_TYPE, MODALITY, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, PATIENT_ID,
     BODY_PART, SLICE_THICKNESS, SPACING_BETWEEN, GANTRY_TILT, ACQUISITION_NUMBER, INSTANCE_NUMBER, IMAGE_POSITION,
     IMAGE_ORIENTATION, SAMPLES, PHOTOMETRIC, FRAMES, ROWS, COLUMNS, PIXEL_SPACING, BITS_ALLOCATED, BITS_STORED,
     HIGH_BIT, PIXEL_REPRESENTATION, PADDING_VALUE, PADDING_LIMIT, INTERCEPT, SLOPE, RESCALE_TYPE, MODALITY_LUT}
)  # fmt: skip
MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
ENHANCED_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
        "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image Storage
    }
)
_LAST_WANTED = MODALITY_LUT

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Instance:
    """One DICOM object as discovery saw it. Empty text and None mean missing or unusable.

    ``position_mm`` (3 numbers), ``orientation`` (6) and ``pixel_spacing_mm`` (row step, column step) are as in
    PS3.3 C.7.6.2; ``patient_digest`` compares patients without naming them.
    """

    source: Source
    transfer_syntax: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    modality: str
    image_type: tuple[str, ...]
    patient_digest: str
    body_part: str
    acquisition_number: int | None
    instance_number: int | None
    position_mm: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing_mm: tuple[float, ...] | None
    slice_thickness_mm: float | None
    gantry_tilt_deg: float | None
    rows: int
    columns: int
    frames: int
    slope: float | None
    intercept: float | None
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def is_enhanced(self) -> bool:
        """Whether geometry and rescale lie in functional groups, by SOP class or by several frames."""
        return self.frames != 1 or self.sop_class_uid in ENHANCED_CLASSES


def read_instance(source: Source, archive: object | None = None) -> Instance:
    """Read the header values of one source, as few bytes of it as possible.

    Raises
    ------
    NotDicomError
        If it is no DICOM file.
    InputError
        If its header is damaged or it cannot be read.
    """
    limit = FIRST_READ_BYTES
    while True:
        data = read_bytes(source, archive, limit)  # type: ignore[arg-type]
        complete = len(data) < limit or len(data) >= source.size
        try:
            part = open_part10(data, file=source.name, complete=complete, inflate_limit=8 * limit)
            values = walk(part, WANTED, file=source.name, last=_LAST_WANTED).values
            return _build_instance(source, part, values)
        except NeedMore:
            if limit >= MAX_HEADER_BYTES:
                raise InputError(
                    "the header is too large",
                    file=source.name,
                    found=f"more than {MAX_HEADER_BYTES} bytes before the pixels",
                    expected="some kilobytes",
                    next_step="treat the file as damaged or hostile",
                ) from None
            limit *= 8


def text_of(raw: bytes | None) -> str:
    """A text value without padding; bytes beyond ASCII are replaced."""
    return "" if raw is None else raw.decode("ascii", "replace").strip(" \0")


def number_of(raw: bytes | None) -> float | None:
    """A decimal or integer string (PS3.5 6.2) as a finite number, or None."""
    text = text_of(raw)
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def numbers_of(raw: bytes | None, count: int) -> tuple[float, ...] | None:
    """Exactly ``count`` finite numbers, or None."""
    if raw is None:
        return None
    values = tuple(number_of(part) for part in raw.split(b"\\"))
    return None if len(values) != count or None in values else values  # type: ignore[return-value]


def integer_of(raw: bytes | None) -> int | None:
    """An integer string as an int, or None."""
    value = number_of(raw)
    return int(value) if value is not None and abs(value) < 2**53 else None


def short_of(raw: bytes | None, *, big: bool, signed: bool = False) -> int | None:
    """A two-byte number (US or SS), or None."""
    if raw is None or len(raw) < 2:
        return None
    return int.from_bytes(raw[:2], "big" if big else "little", signed=signed)


def _build_instance(source: Source, part: Part10, values: dict[int, bytes]) -> Instance:
    get = values.get
    patient = text_of(get(PATIENT_ID))
    sop_class = text_of(get(SOP_CLASS_UID))
    if not sop_class and part.media_class == MEDIA_DIRECTORY:
        sop_class = MEDIA_DIRECTORY  # a DICOMDIR has it in the file meta information only (PS3.10 8.6)
    return Instance(
        source=source,
        transfer_syntax=part.transfer_syntax,
        sop_class_uid=sop_class,
        sop_instance_uid=text_of(get(SOP_INSTANCE_UID)),
        series_instance_uid=text_of(get(SERIES_INSTANCE_UID)),
        study_instance_uid=text_of(get(STUDY_INSTANCE_UID)),
        modality=text_of(get(MODALITY)),
        image_type=tuple(word.strip().upper() for word in text_of(get(IMAGE_TYPE)).split("\\") if word.strip()),
        patient_digest=hashlib.sha256(patient.encode()).hexdigest()[:16] if patient else "",
        body_part=text_of(get(BODY_PART)).upper(),
        acquisition_number=integer_of(get(ACQUISITION_NUMBER)),
        instance_number=integer_of(get(INSTANCE_NUMBER)),
        position_mm=numbers_of(get(IMAGE_POSITION), 3),
        orientation=numbers_of(get(IMAGE_ORIENTATION), 6),
        pixel_spacing_mm=numbers_of(get(PIXEL_SPACING), 2),
        slice_thickness_mm=number_of(get(SLICE_THICKNESS)),
        gantry_tilt_deg=number_of(get(GANTRY_TILT)),
        rows=short_of(get(ROWS), big=part.big) or 0,
        columns=short_of(get(COLUMNS), big=part.big) or 0,
        frames=integer_of(get(FRAMES)) or 1,
        slope=number_of(get(SLOPE)) if SLOPE in values else None,
        intercept=number_of(get(INTERCEPT)) if INTERCEPT in values else None,
        notes=part.notes,
    )
