"""Stored pixel values of one frame: every transfer syntax CT comes in, checked before anything is allocated.

Decoders are named, never picked by what happens to be installed. JPEG lossless needs the extra ``jpeg-lossless``;
it is imported in one function, when the first such slice arrives.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from verict.ct import instance as tags
from verict.ct.container import PixelElement
from verict.ct.part10 import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Part10
from verict.errors import PixelError

MIN_SIDE_PX, MAX_SIDE_PX = 16, 8192  # no CT slice is smaller or larger
JPEG_LS = frozenset({"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"})
JPEG_2000 = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.201",
                       "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"})  # fmt: skip
JPEG_LOSSLESS = frozenset({"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"})
UNCOMPRESSED = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED})
RLE = "1.2.840.10008.1.2.5"
COMPRESSED = JPEG_LS | JPEG_2000 | JPEG_LOSSLESS | {RLE}
LOSSY = frozenset({"1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"})
EXTRA_COMMAND = "pip install 'verict[jpeg-lossless]'"

_DECODER_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, NotImplementedError,
                   OverflowError, MemoryError, OSError, struct.error)  # fmt: skip


@dataclass(frozen=True)
class PixelFormat:
    """The Image Pixel attributes (PS3.3 C.7.6.3) a frame is decoded by; paddings are stored values."""

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    frames: int
    padding: int | None = None
    padding_limit: int | None = None

    @property
    def frame_bytes(self) -> int:
        """Bytes of one uncompressed frame."""
        return self.rows * self.columns * self.bits_allocated // 8


def read_format(values: dict[int, bytes], *, big: bool, file: str) -> PixelFormat:
    """Read and check the Image Pixel attributes.

    Raises
    ------
    PixelError
        If they are missing, contradict each other, or cannot be a CT slice.
    """

    def short(tag: int) -> int | None:
        return tags.short_of(values.get(tag), big=big)

    rows, columns = short(tags.ROWS), short(tags.COLUMNS)
    allocated, samples = short(tags.BITS_ALLOCATED), short(tags.SAMPLES) or 1
    stored = short(tags.BITS_STORED) or allocated
    high_bit = short(tags.HIGH_BIT)
    high_bit = (stored or 1) - 1 if high_bit is None else high_bit
    signed = short(tags.PIXEL_REPRESENTATION) == 1
    frames = tags.integer_of(values.get(tags.FRAMES)) or 1
    checks = (
        (not rows or not MIN_SIDE_PX <= rows <= MAX_SIDE_PX, "Rows (0028,0010)", rows,
         f"{MIN_SIDE_PX} to {MAX_SIDE_PX}"),
        (not columns or not MIN_SIDE_PX <= columns <= MAX_SIDE_PX, "Columns (0028,0011)", columns,
         f"{MIN_SIDE_PX} to {MAX_SIDE_PX}"),
        (samples != 1, "SamplesPerPixel (0028,0002)", samples, "1: CT has one value a pixel"),
        (allocated not in (16, 32), "BitsAllocated (0028,0100)", allocated, "16: Hounsfield units do not fit in less"),
        (not stored or not 8 <= stored <= (allocated or 16), "BitsStored (0028,0101)", stored, "8 to BitsAllocated"),
        (not (stored or 1) - 1 <= high_bit < (allocated or 16), "HighBit (0028,0102)", high_bit,
         "BitsStored - 1 or above, below BitsAllocated"),
        (frames < 1, "NumberOfFrames (0028,0008)", frames, "1 or more"),
    )  # fmt: skip
    for wrong, tag, found, expected in checks:
        if wrong:
            raise PixelError(
                "the image is not one a CT scanner writes",
                file=file,
                tag=tag,
                found="nothing" if found is None else found,
                expected=expected,
                next_step="leave it out, or export the original images",
            )
    padding = tags.short_of(values.get(tags.PADDING_VALUE), big=big, signed=signed)
    limit = tags.short_of(values.get(tags.PADDING_LIMIT), big=big, signed=signed)
    return PixelFormat(rows, columns, allocated, stored, high_bit, signed, frames, padding, limit)  # type: ignore[arg-type]


def decode_frame(
    part: Part10, pixel: PixelElement | None, shape: PixelFormat, number: int, *, file: str
) -> tuple[np.ndarray, bool]:
    """Decode one frame.

    Parameters
    ----------
    part, pixel
        The opened file and where its pixels lie.
    shape
        From `read_format`.
    number
        Frame number from 1.
    file
        Its name, for messages.

    Returns
    -------
    numpy.ndarray
        (rows, columns) stored values, signed or unsigned integers as PixelRepresentation says; may be read-only.
    bool
        Whether bits outside BitsStored were set and have been cleared (PS3.5 8.1.1).

    Raises
    ------
    PixelError
        If the pixels are missing, truncated, of another size, or cannot be decoded.
    """
    if pixel is None:
        raise PixelError(
            "the image has no pixels",
            file=file,
            tag="PixelData (7FE0,0010)",
            found="nothing",
            expected=f"{shape.frame_bytes * shape.frames} bytes",
            next_step="export the file again",
        )
    if number > shape.frames:
        raise PixelError(
            "the frame does not exist", file=file, found=f"frame {number}", expected=f"1 to {shape.frames}"
        )
    _check_storage(part.transfer_syntax, encapsulated=pixel.fragments is not None, file=file)
    if pixel.fragments is None:
        return _clean(_native_frame(part, pixel, shape, number, file), shape)
    frame = _frame_of_fragments(part, pixel, shape, number, file)
    stored = _decompress(frame, part.transfer_syntax, shape, file)
    return _clean(stored, shape)


def _check_storage(syntax: str, *, encapsulated: bool, file: str) -> None:
    if syntax not in UNCOMPRESSED | COMPRESSED:
        raise PixelError(
            "the compression is not one verict reads",
            file=file,
            tag="TransferSyntaxUID (0002,0010)",
            found=syntax,
            expected="uncompressed, deflated, RLE, JPEG-LS, JPEG lossless or JPEG 2000",
            next_step="export the series uncompressed",
        )
    if encapsulated != (syntax in COMPRESSED):
        raise PixelError(
            "the pixels are not stored as the transfer syntax says",
            file=file,
            tag="PixelData (7FE0,0010)",
            found=f"{'fragments' if encapsulated else 'one value'} under {syntax}",
            expected="fragments if compressed, one value if not (PS3.5 A.4)",
            next_step="export the file again",
        )


def _native_frame(part: Part10, pixel: PixelElement, shape: PixelFormat, number: int, file: str) -> np.ndarray:
    needed = shape.frame_bytes * shape.frames
    if pixel.length < needed:
        raise _truncated(file, pixel.length, f"{needed} bytes ({shape.frames} x {shape.rows} x {shape.columns})")
    kind = ("i" if shape.signed else "u") + str(shape.bits_allocated // 8)
    values = np.frombuffer(
        part.data,
        dtype=(">" if part.big else "<") + kind,
        count=shape.rows * shape.columns,
        offset=pixel.offset + (number - 1) * shape.frame_bytes,
    )
    return values.astype(kind, copy=False).reshape(shape.rows, shape.columns)


def _frame_of_fragments(part: Part10, pixel: PixelElement, shape: PixelFormat, number: int, file: str) -> bytes:
    """Join the fragments of one frame (PS3.5 A.4)."""
    fragments = pixel.fragments or ()
    if pixel.short_by:
        raise _truncated(file, pixel.length, f"at least {pixel.short_by} bytes more")
    if len(fragments) < 2:
        raise _truncated(file, 0, "at least one fragment of compressed pixels")
    table, pieces = fragments[0], fragments[1:]
    if shape.frames == 1:
        chosen = pieces
    elif len(pieces) == shape.frames:
        chosen = pieces[number - 1 : number]
    elif table[1] == 4 * shape.frames:
        starts = struct.unpack_from(f"<{shape.frames}I", part.data, table[0])
        first = pieces[0][0] - 8
        end = starts[number] if number < shape.frames else pixel.length
        chosen = tuple(piece for piece in pieces if starts[number - 1] <= piece[0] - 8 - first < end)
    else:
        raise PixelError(
            "the fragments cannot be told apart by frame",
            file=file,
            tag="PixelData (7FE0,0010)",
            found=f"{len(pieces)} fragments, no offset table",
            expected=f"{shape.frames} frames",
            next_step="export the series uncompressed",
        )
    return b"".join(part.data[offset : offset + length] for offset, length in chosen)


def _decompress(frame: bytes, syntax: str, shape: PixelFormat, file: str) -> np.ndarray:
    if syntax in JPEG_LS:
        decode = _decode_jpeg_ls
    elif syntax in JPEG_2000:
        decode = _decode_jpeg_2000
    elif syntax in JPEG_LOSSLESS:
        decode = _decode_jpeg_lossless
    else:
        decode = _decode_rle
    if syntax != RLE:
        _check_codestream(frame, shape, file)
    try:
        decoded = decode(frame, syntax, shape, file)
    except PixelError:
        raise
    except _DECODER_ERRORS as error:
        raise PixelError(
            "the compressed pixels cannot be decoded",
            file=file,
            tag="PixelData (7FE0,0010)",
            found=f"{type(error).__name__}: {' '.join(str(error).split())}",
            next_step="copy or export the file again",
        ) from error
    if decoded.shape != (shape.rows, shape.columns):
        raise _wrong_size(file, f"{decoded.shape}", shape)
    return decoded


def _decode_jpeg_ls(frame: bytes, syntax: str, shape: PixelFormat, file: str) -> np.ndarray:
    import jpeg_ls

    buffer, info = jpeg_ls.decode_pixel_data(frame)
    values = np.frombuffer(buffer, dtype="u1" if info["bits_per_sample"] <= 8 else "<u2")
    values = values.reshape(info["height"], info["width"])
    return _as_stored(values, int(info["bits_per_sample"]), shape)


def _decode_jpeg_2000(frame: bytes, syntax: str, shape: PixelFormat, file: str) -> np.ndarray:
    import openjpeg

    values = openjpeg.decode(frame)
    if values.dtype.kind == "i":
        kind = ("i" if shape.signed else "u") + str(shape.bits_allocated // 8)
        return values.astype(kind)
    return _as_stored(values, shape.bits_stored, shape)


def _decode_rle(frame: bytes, syntax: str, shape: PixelFormat, file: str) -> np.ndarray:
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    kind = "i" if shape.signed else "u"
    options: dict[str, Any] = {
        "rows": shape.rows,
        "columns": shape.columns,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "pixel_representation": int(shape.signed),
        "bits_allocated": shape.bits_allocated,
        "bits_stored": shape.bits_stored,
        "number_of_frames": 1,
        "transfer_syntax_uid": UID(RLE),
    }
    decoder = get_decoder(UID(RLE))
    values, _ = decoder.as_array(_encapsulate(frame), index=0, raw=True, decoding_plugin="pydicom", **options)
    return values.astype(kind + str(shape.bits_allocated // 8), copy=False)


def _decode_jpeg_lossless(frame: bytes, syntax: str, shape: PixelFormat, file: str) -> np.ndarray:
    try:
        from imagecodecs import jpeg8_decode  # libjpeg-turbo 3: all seven predictors, 2 to 16 bits
    except ImportError as error:
        raise PixelError(
            "JPEG lossless needs an optional decoder",
            file=file,
            tag="TransferSyntaxUID (0002,0010)",
            found=syntax,
            expected="the extra jpeg-lossless",
            next_step=EXTRA_COMMAND,
        ) from error
    return _as_stored(jpeg8_decode(frame), shape.bits_stored, shape)


def _as_stored(values: np.ndarray, precision: int, shape: PixelFormat) -> np.ndarray:
    """Give codec output the allocated width and sign; codecs return bare bits of ``precision``."""
    width = shape.bits_allocated
    values = values.astype(f"u{width // 8}", copy=False)
    if shape.signed:
        values = values.view(f"i{width // 8}")
        if precision < width:
            values = (values << (width - precision)) >> (width - precision)
    return values


def _encapsulate(frame: bytes) -> bytes:
    if len(frame) % 2:
        frame += b"\0"
    return b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0" + struct.pack("<I", len(frame)) + frame


def _clean(values: np.ndarray, shape: PixelFormat) -> tuple[np.ndarray, bool]:
    """Keep BitsStored bits below HighBit, extend the sign, and say whether that changed anything."""
    if shape.bits_stored == shape.bits_allocated:
        return values, False
    low = -(1 << (shape.bits_stored - 1)) if shape.signed else 0
    high = low + (1 << shape.bits_stored) - 1
    shifted = shape.high_bit != shape.bits_stored - 1
    if not shifted and low <= int(values.min()) and int(values.max()) <= high:
        return values, False
    up = shape.bits_allocated - 1 - shape.high_bit
    down = shape.bits_allocated - shape.bits_stored
    return (values << up) >> down, True


def _check_codestream(frame: bytes, shape: PixelFormat, file: str) -> None:
    """Compare the size a compressed frame claims with the header's, before a decoder allocates it."""
    size = codestream_size(frame)
    if size is None:
        raise PixelError(
            "the compressed pixels have no readable frame header",
            file=file,
            tag="PixelData (7FE0,0010)",
            found=f"{len(frame)} bytes",
            expected="a JPEG, JPEG-LS or JPEG 2000 code stream",
            next_step="copy or export the file again",
        )
    if size != (shape.rows, shape.columns, 1):
        raise _wrong_size(file, f"{size[0]} x {size[1]} x {size[2]} in the code stream", shape)


def codestream_size(frame: bytes) -> tuple[int, int, int] | None:
    """(rows, columns, components) a JPEG family code stream claims, or None (ITU-T T.81 B.2.2, T.800 A.5.1)."""
    start = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start >= 0 and len(frame) >= start + 42:
        right, low, left, top = struct.unpack_from(">IIII", frame, start + 8)
        return low - top, right - left, struct.unpack_from(">H", frame, start + 40)[0]
    if frame[:2] != b"\xff\xd8":
        return None
    pos = 2
    while pos + 10 <= len(frame) and frame[pos] == 0xFF:
        marker = frame[pos + 1]
        if marker in (0xF7, *range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC)):
            rows, columns, components = struct.unpack_from(">HHB", frame, pos + 5)
            return rows, columns, components
        if marker == 0xFF:
            pos += 1
            continue
        pos += 2 + struct.unpack_from(">H", frame, pos + 2)[0]
    return None


def _truncated(file: str, found: int, expected: str) -> PixelError:
    return PixelError(
        "the pixels are truncated",
        file=file,
        tag="PixelData (7FE0,0010)",
        found=f"{found} bytes",
        expected=expected,
        next_step="copy or export the file again",
    )


def _wrong_size(file: str, found: str, shape: PixelFormat) -> PixelError:
    return PixelError(
        "the pixels have another size than the header says",
        file=file,
        tag="PixelData (7FE0,0010)",
        found=found,
        expected=f"{shape.rows} x {shape.columns}, one component",
        next_step="copy or export the file again",
    )
