"""Bad and odd DICOM inputs, built in code: a table of what is put beside a healthy series and what scan says of it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from builders import (
    dataset_bytes,
    make_body_hu,
    make_enhanced,
    make_series,
    make_slice_dataset,
    make_uid,
    set_pixels,
    write_dataset,
)
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless

SIDE_PX = 128
SPACING_MM = (1.0, 2.5, 2.5)  # 128 pixels of 2.5 mm hold a chest; the smallest that gets a verdict in a blink
SECRET_NAME, SECRET_ID, SECRET_BIRTH = "Geheim^Waltraud", "GEHEIM4711", "19310203"
ODD_UID = make_uid("the odd series")
HU = make_body_hu(3, SIDE_PX, SIDE_PX)
NOTHING_EXAMINED, FAILED, CLEAN = 11, 1, 0

Build = Callable[[Path], "Path | None"]


@dataclass(frozen=True)
class Case:
    """One odd input.

    Parameters
    ----------
    name
        What is odd.
    build
        Puts it into an empty folder; returns the path to scan where that is not the folder.
    alone, beside
        Exit code without and with the healthy series in the same study.
    said
        What standard error must hold: one failure line with file, tag, found, expected and next step.
    told
        What the JSON must hold: notes, and what was not examined and why.
    needs
        "links", "pipes" or "names": only on a system and disk that have such.
    """

    name: str
    build: Build
    alone: int
    beside: int
    said: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    needs: str = ""


def one(edit: Callable[[bytes], bytes] | None = None, *, hu: np.ndarray = HU[0], **attributes: object) -> Build:
    """A single slice, ``bad.dcm``, its bytes changed by ``edit``."""

    def build(folder: Path) -> None:
        content = dataset_bytes(_slice(hu, **attributes))
        (folder / "bad.dcm").write_bytes(edit(content) if edit else content)

    return build


def many(edit: Callable[[int, bytes], bytes] | None = None, **attributes: object) -> Build:
    """A series of three slices, 001.dcm to 003.dcm, each changed by ``edit``."""

    def build(folder: Path) -> None:
        _series(folder, **attributes)
        for index, file in enumerate(sorted(folder.glob("*.dcm"))):
            if edit:
                file.write_bytes(edit(index, file.read_bytes()))

    return build


def raw(keyword_tag: int, value: bytes, *, only: int | None = None) -> Callable[..., bytes]:
    """An edit that gives an element a value no writer would let pass; for `one` and `many`."""

    def edit(*arguments: object) -> bytes:
        content = arguments[-1]
        if only is not None and arguments[0] != only:
            return content
        at = content.index(struct.pack("<HH", keyword_tag >> 16, keyword_tag & 0xFFFF), 132)
        old = struct.unpack_from("<H", content, at + 6)[0]
        padded = value + b" " * (len(value) % 2)
        return content[: at + 6] + struct.pack("<H", len(padded)) + padded + content[at + 8 + old :]

    return edit


def insert(element: bytes, *, before: int = 0x00080060) -> Callable[[bytes], bytes]:
    """An edit that puts a hand-made element in front of another."""

    def edit(content: bytes) -> bytes:
        at = content.index(struct.pack("<HH", before >> 16, before & 0xFFFF), 132)
        return content[:at] + element + content[at:]

    return edit


def cut(tag: int, extra: int) -> Callable[[bytes], bytes]:
    """An edit that ends the file ``extra`` bytes after the start of an element."""
    return lambda content: content[: content.index(struct.pack("<HH", tag >> 16, tag & 0xFFFF), 132) + extra]


def make_odd_slice(hu: np.ndarray, index: int) -> Dataset:
    """Slice ``index`` of a good series of its own patient."""
    return _slice(hu, position_mm=(-100.0, -90.0, float(index)), instance_number=index + 1)


def make_odd_series(folder: Path) -> None:
    """A good series of its own patient."""
    _series(folder)


def _slice(hu: np.ndarray = HU[0], **attributes: object) -> Dataset:
    usual = {"series_uid": ODD_UID, "pixel_spacing_mm": SPACING_MM[1:], **_PATIENT}
    return make_slice_dataset(hu, **{**usual, **attributes})


def _series(folder: Path, **attributes: object) -> None:
    make_series(folder, **{"hu": HU, "series_uid": ODD_UID, "spacing_mm": SPACING_MM, **_PATIENT, **attributes})


_PATIENT = {"patient_id": SECRET_ID, "PatientName": SECRET_NAME, "PatientBirthDate": SECRET_BIRTH}


def nested(depth: int, *, defined: bool) -> bytes:
    """Sequences in sequences, of undefined or of known length."""
    if not defined:
        level = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        return level * depth + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0" * depth
    inner = b""
    for _ in range(depth):
        inner = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(inner)) + inner
        inner = b"\x08\x00\x40\x11SQ\0\0" + struct.pack("<I", len(inner)) + inner
    return inner


def not_an_image(sop_class: str, modality: str, **attributes: object) -> Build:
    """An object without pixels beside images: a report, a structure set, a document."""
    gone = dict.fromkeys(("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"))
    return one(SOPClassUID=sop_class, Modality=modality, **gone, **attributes)


def recompressed(syntax: str, stream: bytes) -> Build:
    """A slice whose compressed pixels are replaced by other bytes."""

    def build(folder: Path) -> None:
        dataset = _slice()
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0" + struct.pack("<I", len(stream)) + stream
        dataset.PixelData += b"\xfe\xff\xdd\xe0\0\0\0\0"
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        write_dataset(dataset, folder / "bad.dcm")

    return build


def colour(folder: Path) -> None:
    dataset = _slice(SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = bytes(3 * SIDE_PX * SIDE_PX)
    write_dataset(dataset, folder / "bad.dcm")


def bits(allocated: int) -> Build:
    def build(folder: Path) -> None:
        dataset = _slice()
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = allocated, allocated, allocated - 1
        dataset.PixelData = bytes(SIDE_PX * SIDE_PX * max(allocated, 8) // 8)
        write_dataset(dataset, folder / "bad.dcm")

    return build


def wide(folder: Path) -> None:
    dataset = _slice()
    dataset.BitsAllocated = 32
    dataset.BitsStored, dataset.HighBit = 32, 31
    dataset.PixelData = HU[0].astype("<i4").tobytes()
    write_dataset(dataset, folder / "bad.dcm")


def two_series(second: dict[str, object]) -> Build:
    """One folder, two series; ``second`` is how the other differs."""

    def build(folder: Path) -> None:
        _series(folder / "first")
        _series(folder / "second", **{"seed": 1, "hu": HU[:, ::-1].copy(), "first_position": (0.0, 0.0, 0.0), **second})
        for index, file in enumerate(sorted(folder.glob("*/*.dcm"))):
            file.rename(folder / f"{index}.dcm")

    return build


def copies(*, different: bool) -> Build:
    def build(folder: Path) -> None:
        _series(folder)
        for file in sorted(folder.glob("*.dcm")):
            content = bytearray(file.read_bytes())
            if different:
                content[-2000:] = bytes(2000)
            file.with_name(f"copy-{file.name}").write_bytes(content)

    return build


def stack(positions: list[tuple[float, float, float]], **attributes: object) -> Build:
    """Slices at positions of one's own."""
    noisy = make_body_hu(len(positions), SIDE_PX, SIDE_PX, seed=3)

    def build(folder: Path) -> None:
        for index, place in enumerate(positions):
            dataset = _slice(noisy[index], position_mm=place, instance_number=index + 1, **attributes)
            write_dataset(dataset, folder / f"{index:03d}.dcm")

    return build


def media_directory(folder: Path) -> None:
    """A DICOMDIR as it lies on a disc: its class is in the file meta information only."""
    content = dataset_bytes(_slice(SOPClassUID="1.2.840.10008.1.3.10"))
    group_4 = b"\x04\0\x30\x11CS\4\0DISK" + b"\x04\0\x12\x12US\2\0\0\0"
    (folder / "DICOMDIR").write_bytes(content[: content.index(b"\x08\0\x08\0CS", 132)] + group_4)


def deflate_bomb(folder: Path) -> None:
    content = dataset_bytes(_slice())
    start = content.index(b"\x08\x00\x16\x00", 132)
    bomb = content[start:] + b"\xfc\xff\xfc\xffOB\0\0" + struct.pack("<I", 200 << 20)
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(bomb) + b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    small = dataset_bytes(_slice(transfer_syntax=DeflatedExplicitVRLittleEndian))
    head = small[: small.index(DeflatedExplicitVRLittleEndian.encode()) + len(DeflatedExplicitVRLittleEndian)]
    (folder / "bad.dcm").write_bytes(head + b"\0" * (len(head) % 2) + _rest_of_meta(small, len(head)) + packed)


def _rest_of_meta(content: bytes, pos: int) -> bytes:
    """The file meta elements behind the transfer syntax."""
    start = pos = pos + pos % 2
    while content[pos : pos + 2] == b"\x02\x00":
        pos += 8 + struct.unpack_from("<H", content, pos + 6)[0]
    return content[start:pos]


def without_meta(content: bytes) -> bytes:
    return content[content.index(b"\x08\x00\x08\x00CS", 132) :]


def enhanced(**attributes: object) -> Build:
    def build(folder: Path) -> None:
        make_enhanced(folder / "bad.dcm", hu=HU, spacing_mm=SPACING_MM, **attributes)

    return build


def enhanced_with_few_groups(folder: Path) -> None:
    group = Dataset()
    group.PlanePositionSequence = Sequence([Dataset()])
    enhanced(PerFrameFunctionalGroupsSequence=Sequence([group]))(folder)


def head(folder: Path) -> None:
    """A head CT: a skull full of brain, no lung in the pixels."""
    y, x = (np.arange(SIDE_PX) - SIDE_PX / 2) * 2.0, (np.arange(SIDE_PX) - SIDE_PX / 2) * 2.0
    radius = np.hypot(y[:, None], x[None])
    image = np.where(radius < 80, 35, np.where(radius < 88, 900, -1000))
    noise = np.random.default_rng(5).normal(0, 15, HU.shape)
    _series(folder, hu=np.rint(image + noise).astype(np.int16), spacing_mm=(1.0, 2.0, 2.0), BodyPartExamined="HEAD")


def abdomen(folder: Path) -> None:
    """An abdomen: a body full of soft tissue with a little gas in the bowel."""
    y, x = ((np.arange(SIDE_PX) - SIDE_PX / 2) * 2.5 for _ in range(2))
    image = np.where((y[:, None] / 110) ** 2 + (x[None] / 150) ** 2 < 1, 45, -1000)
    image[np.hypot(y[:, None] + 40, x[None] - 20) < 12] = -950
    noise = np.random.default_rng(6).normal(0, 15, HU.shape)
    _series(folder, hu=np.rint(image + noise).astype(np.int16), BodyPartExamined="ABDOMEN")


def scattered_head(folder: Path) -> None:
    """A head CT taken several times at each place, as for its blood flow, that names no body part."""
    head(folder)
    for file in sorted(folder.glob("*.dcm")):
        content = raw(0x00080018, make_uid(file.name).encode())(file.read_bytes())
        (folder / f"again-{file.name}").write_bytes(raw(0x00180015, b"")(content))
        file.write_bytes(raw(0x00180015, b"")(file.read_bytes()))


def filled(value: int, **attributes: object) -> Build:
    return many(hu=np.full(HU.shape, value, np.int16), **attributes)


def small(side: int, columns: int | None = None) -> Build:
    return one(hu=make_body_hu(1, side, columns or side)[0])


def claim(folder: Path) -> None:
    write_dataset(_slice(Rows=4096, Columns=4096), folder / "bad.dcm")


def j2k_of_another_size(folder: Path) -> None:
    dataset = _slice()
    set_pixels(dataset, HU[0][:64, :64].copy(), JPEG2000Lossless)
    write_dataset(dataset, folder / "bad.dcm")


LOSSLESS_STREAM = b"\xff\xd8\xff\xc3\0\x0b\x10" + struct.pack(">HH", SIDE_PX, SIDE_PX) + b"\1\1\x11\0" + bytes(63)
SR, PR, RT, SEG, PDF = ("1.2.840.10008.5.1.4.1.1.88.22", "1.2.840.10008.5.1.4.1.1.11.1",
                            "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.66.4",
                            "1.2.840.10008.5.1.4.1.1.104.1")  # fmt: skip
