"""A small series with everything a header may hold, and the ways to change it that tests need."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from builders import make_series, set_pixels, write_dataset
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from verict.custody.changes import SeriesChanges, compare_series
from verict.custody.content import read_study
from verict.custody.keys import Signer
from verict.custody.manifest import Manifest, build_manifest
from verict.custody.sign_object import SignOptions, sign_bytes

SLICES = 6


def make_rich_series(folder: Path, *, slices: int = SLICES, **options: object) -> list[Path]:
    """A series whose objects hold private, nested, empty, multi-valued, binary and odd-length values."""
    files = make_series(folder, slices=slices, **options)  # type: ignore[arg-type]
    for number, file in enumerate(files):
        change_object(file, lambda ds, number=number: enrich(ds, number))
    return files


def enrich(ds: Dataset, number: int) -> None:
    """Add to a dataset what the plain builder leaves out."""
    ds.AccessionNumber = "A1"
    ds.ReferringPhysicianName = ""
    ds.WindowCenter, ds.WindowWidth = ["-500", "40"], ["1500", "400"]
    ds.ImageComments = "odd" if number % 2 else "even"
    ds.LossyImageCompression = "00"
    ds.add_new("SmallestImagePixelValue", "SS", -1024)
    inner = Dataset()
    inner.ReferencedSOPClassUID, inner.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"1.2.3.{number}"
    outer = Dataset()
    outer.PurposeOfReferenceCodeSequence = [code(number)]
    outer.ReferencedSOPInstanceUID = f"1.2.4.{number}"
    ds.SourceImageSequence = [outer, inner]
    ds.ReferencedStudySequence = []
    ds.add_new("RealWorldValueFirstValueMapped", "US", number)
    block = ds.private_block(0x0029, "VERICT TEST", create=True)
    block.add_new(0x01, "LO", "private text")
    block.add_new(0x02, "US", 300 + number)
    block.add_new(0x03, "FD", 1.5)
    block.add_new(0x04, "OB", b"\x01\x02\x03\x20")
    block.add_new(0x05, "SQ", [code(number)])
    block.add_new(0x06, "UN", b"who knows ")
    block.add_new(0x07, "OB", b"\xfe\xff\x00\xe0" + b"\xff\xff\xff\x7f" + b"no sequence ")


def code(number: int) -> Dataset:
    """An item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = f"C{number}", "99TEST", "a code"
    return item


def change_object(file: Path, change: Callable[[Dataset], None]) -> None:
    """Rewrite a file with a changed dataset, in its own transfer syntax."""
    ds = pydicom.dcmread(file)
    ds.walk(lambda *_: None)
    change(ds)
    write_dataset(ds, file)


def reencode(file: Path, transfer_syntax: str) -> None:
    """Rewrite an uncompressed explicit file in another transfer syntax, as an archive does."""
    ds = pydicom.dcmread(file)
    for _ in ds.iterall():
        pass
    set_pixels(ds, ds.pixel_array.astype("<i2"), transfer_syntax)
    write_dataset(ds, file)


def paint(file: Path, value: int = 300) -> None:
    """Change some pixels and leave every attribute as it is."""

    def change(ds: Dataset) -> None:
        pixels = np.frombuffer(ds.PixelData, "<i2").reshape(ds.Rows, ds.Columns).copy()
        pixels[20:24, 30:34] = value
        ds.PixelData = pixels.tobytes()
        ds["PixelData"].VR = "OW"

    change_object(file, change)


def sign_roughly(ds: Dataset, name: str = "a") -> None:
    """What a digital signature leaves in an object; the mathematics is not asked here."""
    signature = Dataset()
    signature.MACIDNumber, signature.DigitalSignatureUID = 1, uid(name)
    signature.DigitalSignatureDateTime = "20261127170000"
    signature.add_new("Signature", "OB", name.encode() * 64)
    ds.DigitalSignaturesSequence = [*ds.get("DigitalSignaturesSequence", []), signature]


def sign_roughly_all(folder: Path) -> None:
    """The same for every file of a folder, each with a signature of its own."""
    for index, file in enumerate(sorted(folder.iterdir())):
        change_object(file, lambda ds, index=index: sign_roughly(ds, f"{index:02d}"))


def sign_all(folder: Path, signer: Signer) -> None:
    """Sign every object of a folder, in place."""
    for file in sorted(folder.iterdir()):
        file.write_bytes(sign_bytes(file.read_bytes(), signer, SignOptions(), file=file.name).data)


def seal(folder: Path) -> Manifest:
    """The manifest of what lies in a folder."""
    return build_manifest(read_study(folder).objects)


def compare(manifest: Manifest, folder: Path) -> SeriesChanges:
    """What became of it."""
    return compare_series(manifest, read_study(folder).objects)


def uid(text: str) -> UID:
    """A UID for a test."""
    return UID(f"1.2.826.0.1.3680043.10.1544.{int.from_bytes(text.encode()[:8], 'big')}")


EXPLICIT = ExplicitVRLittleEndian
