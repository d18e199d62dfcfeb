"""One DICOM object as custody sees it: who it is, what its values and pixels are, apart from how it is encoded."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import ZipFile

from verict.ct import instance as tags
from verict.ct.container import walk
from verict.ct.part10 import NeedMore, open_part10
from verict.ct.sources import MAX_RATIO, Source, ZipMember, list_sources, open_zip, read_bytes
from verict.custody.pixels import PixelDigests, digest_pixels
from verict.custody.values import MAC_PARAMETERS, SIGNATURE_VALUE, SIGNATURES, digest_values
from verict.errors import InputError, NotDicomError

DEFLATED_BYTES = 64 << 20  # the most a small deflated file may unpack to
_OF_SIGNATURES = (SIGNATURES, MAC_PARAMETERS)
_SIGNATURE_VALUE = re.compile(rf"{SIGNATURES}\[\d+\]\.{SIGNATURE_VALUE}")

Progress = Callable[[int, int], None]
"""Called with (files read, files in all)."""


@dataclass(frozen=True, eq=False)
class ObjectContent:
    """One object.

    ``values`` maps the path of each attribute to the digest of its value (`verict.custody.values`), without the
    signatures inside the object: ``signatures`` holds the digest of each one's value. ``height_mm`` is where the
    object lies along the normal of its own plane, None where the header does not say.
    """

    name: str
    file_sha256: str
    transfer_syntax: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    instance_number: int | None
    height_mm: float | None
    pixels: PixelDigests
    values: Mapping[str, bytes] = field(repr=False)
    signatures: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyContent:
    """Every object below a path, and what could not be read."""

    objects: tuple[ObjectContent, ...]
    failures: tuple[InputError, ...]


def read_study(path: Path, *, progress: Progress | None = None) -> StudyContent:
    """Read every DICOM object of a file, a folder tree or a zip; other files and directories are passed over.

    Raises
    ------
    InputError
        If the path as a whole cannot be used.
    """
    listing = list_sources(path)
    objects: list[ObjectContent] = []
    failures = list(listing.failures)
    with ExitStack() as stack:
        archive = None
        if listing.sources and isinstance(listing.sources[0], ZipMember):
            archive = stack.enter_context(open_zip(listing.sources[0].path))
        for done, source in enumerate(listing.sources, start=1):
            try:
                found = read_object(source, archive)
                objects += [found] if found is not None else []
            except NotDicomError as error:
                failures += [error] if source.name.lower().endswith(".dcm") else []
            except InputError as error:
                failures.append(error)
            if progress is not None:
                progress(done, len(listing.sources))
    return StudyContent(tuple(objects), tuple(failures))


def read_object(source: Source, archive: ZipFile | None = None) -> ObjectContent | None:
    """Read one object whole; None for a DICOMDIR.

    Raises
    ------
    NotDicomError
        If it is no DICOM file.
    InputError
        If it cannot be read or is damaged.
    """
    data = read_bytes(source, archive)
    name = source.name
    try:
        part = open_part10(data, file=name, inflate_limit=DEFLATED_BYTES + MAX_RATIO * len(data))
        layout = walk(part, tags.WANTED, file=name)
    except NeedMore:
        raise InputError("the deflated dataset unpacks to more than any object holds (deflate bomb)", file=name,
                         next_step="treat the file as damaged or hostile") from None  # fmt: skip
    get = layout.values.get
    if part.media_class == tags.MEDIA_DIRECTORY and not get(tags.SOP_INSTANCE_UID) and layout.pixel is None:
        return None  # not for its file meta information alone, which nobody signs
    found = digest_values(part, layout.pixel, file=name)
    return ObjectContent(
        name=name,
        file_sha256=hashlib.sha256(data).hexdigest(),
        transfer_syntax=part.transfer_syntax,
        sop_class_uid=tags.text_of(get(tags.SOP_CLASS_UID)),
        sop_instance_uid=tags.text_of(get(tags.SOP_INSTANCE_UID)),
        series_instance_uid=tags.text_of(get(tags.SERIES_INSTANCE_UID)),
        study_instance_uid=tags.text_of(get(tags.STUDY_INSTANCE_UID)),
        instance_number=tags.integer_of(get(tags.INSTANCE_NUMBER)),
        height_mm=_height_mm(get(tags.IMAGE_POSITION), get(tags.IMAGE_ORIENTATION)),
        pixels=digest_pixels(part, layout, file=name),
        values={path: digest for path, digest in found.items() if not path.startswith(_OF_SIGNATURES)},
        signatures=tuple(sorted(d.hex() for path, d in found.items() if _SIGNATURE_VALUE.fullmatch(path))),
    )


def order_objects(objects: Iterable[ObjectContent]) -> list[ObjectContent]:
    """The objects of one series upwards along the normal of their planes, as `verict.ct.order` orders slices.

    Objects without a position come last; ties are broken by InstanceNumber, then by SOPInstanceUID.
    """

    def key(one: ObjectContent) -> tuple[bool, float, bool, int, str]:
        height, number = one.height_mm, one.instance_number
        return height is None, height or 0.0, number is None, number or 0, one.sop_instance_uid

    return sorted(objects, key=key)


def _height_mm(position: bytes | None, orientation: bytes | None) -> float | None:
    """Position along the normal (PS3.3 C.7.6.2.1.1); of a plane without orientation taken for axial, as in `ct`."""
    place = tags.numbers_of(position, 3)
    if place is None:
        return None
    a, b, c, d, e, f = tags.numbers_of(orientation, 6) or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    height = (b * f - c * e) * place[0] + (c * d - a * f) * place[1] + (a * e - b * d) * place[2]
    return height if math.isfinite(height) else None
