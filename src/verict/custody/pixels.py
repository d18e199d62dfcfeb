"""What the pixels of an object are, frame by frame, however they are stored.

A digest covers the stored values and what gives them their meaning: rows, columns, bits, sign (PS3.3 C.7.6.3). It is
the same for native, RLE, JPEG-LS, JPEG 2000 and JPEG lossless as long as the compression is without loss.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from verict.ct import instance as tags
from verict.ct.container import Layout, PixelElement
from verict.ct.decode import PixelFormat, decode_frame, read_format
from verict.ct.part10 import Part10
from verict.errors import PixelError


class PixelKind(StrEnum):
    """What was hashed: decoded values; the bytes as stored, where they cannot be decoded; or there are no pixels."""

    VALUES = "values"
    BYTES = "bytes"
    NONE = "none"


@dataclass(frozen=True)
class PixelDigests:
    """SHA-256 of each frame in hexadecimal digits, and of the bits outside BitsStored where any is set.

    For `PixelKind.BYTES` there is one digest, of all bytes, and ``reason`` says why they could not be decoded.
    """

    kind: PixelKind
    frames: tuple[str, ...]
    unused_bits: str = ""
    reason: str = ""


def digest_pixels(part: Part10, layout: Layout, *, file: str) -> PixelDigests:
    """Decode every frame and hash its values.

    Parameters
    ----------
    part, layout
        The opened file, and its walk with `verict.ct.instance.WANTED`.
    file
        Its name, for messages.
    """
    if layout.pixel is None:
        return PixelDigests(PixelKind.NONE, ())
    try:
        shape = read_format(layout.values, big=part.big, file=file)
        _check_offsets(part, layout.pixel, shape, file)
        return _digest_frames(part, layout, shape, file)
    except PixelError as error:
        return PixelDigests(PixelKind.BYTES, (_digest_bytes(part, layout),), reason=error.problem)


def _digest_frames(part: Part10, layout: Layout, shape: PixelFormat, file: str) -> PixelDigests:
    photometric = tags.text_of(layout.values.get(tags.PHOTOMETRIC))
    size = f"{shape.rows} {shape.columns} {shape.bits_allocated} {shape.bits_stored} {shape.signed:d}"
    meaning = f"{size} {photometric}\n"
    whole_cells = replace(shape, bits_stored=shape.bits_allocated, high_bit=shape.bits_allocated - 1)
    frames, unused, any_unused = [], hashlib.sha256(), False
    for number in range(1, shape.frames + 1):
        values, outside = decode_frame(part, layout.pixel, shape, number, file=file)
        frame = hashlib.sha256(meaning.encode())
        frame.update(_little_endian(values))
        frames.append(frame.hexdigest())
        if outside:  # nothing of a frame may change unseen, not even what no viewer should show (PS3.5 8.1.1)
            any_unused = True
            cells, _ = decode_frame(part, layout.pixel, whole_cells, number, file=file)
            unused.update(number.to_bytes(4, "little"))
            unused.update(_little_endian(cells))
    return PixelDigests(PixelKind.VALUES, tuple(frames), unused.hexdigest() if any_unused else "")


def _check_offsets(part: Part10, pixel: PixelElement, shape: PixelFormat, file: str) -> None:
    """Refuse an offset table that names other fragments than the frames lie in: readers would differ (PS3.5 A.4)."""
    if pixel.fragments is None or len(pixel.fragments) != shape.frames + 1 or shape.frames == 1:
        return
    (start, length), *pieces = pixel.fragments
    offsets = [offset - pieces[0][0] for offset, _ in pieces]
    if length and part.data[start : start + length] != struct.pack(f"<{shape.frames}I", *offsets):
        raise PixelError("the offset table contradicts the fragments", file=file, tag="PixelData (7FE0,0010)",
                         next_step="export the file again")  # fmt: skip


def _little_endian(values: np.ndarray) -> memoryview:
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False)).data


def _digest_bytes(part: Part10, layout: Layout) -> str:
    """The stored bytes: of native pixels in little endian, of compressed ones the fragments without their table."""
    pixel = layout.pixel
    digest = hashlib.sha256()
    if pixel is None:
        return ""
    if pixel.fragments is not None:
        digest.update(part.transfer_syntax.encode())
        for offset, length in pixel.fragments[1:]:
            digest.update(part.data[offset : offset + length])
        return digest.hexdigest()
    data = part.data[pixel.offset : pixel.offset + pixel.length]
    if part.big and tags.short_of(layout.values.get(tags.BITS_ALLOCATED), big=True) == 16 and len(data) % 2 == 0:
        data = np.frombuffer(data, ">u2").astype("<u2").tobytes()
    digest.update(data)
    return digest.hexdigest()
