"""DICOM objects built byte by byte: what no library would write, a verifier has to read."""

from __future__ import annotations

import struct
import zlib

EXPLICIT, IMPLICIT, BIG, DEFLATED = (
    "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99",
)  # fmt: skip
JPEG_LS, RLE = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.5"
SYNTAXES = {
    "explicit": EXPLICIT, "implicit": IMPLICIT, "big": BIG, "deflated": DEFLATED, "jpeg-ls": JPEG_LS, "rle": RLE,
}  # fmt: skip
LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_WIDTHS = {b"US": 2, b"SS": 2, b"OW": 2, b"AT": 2, b"UL": 4, b"SL": 4, b"FL": 4, b"OF": 4, b"FD": 8, b"OD": 8}
SOP_INSTANCE = b"1.2.826.0.1.3680043.10.1544.7\0"


class Writer:
    """Writes elements in one encoding; values are given little endian."""

    def __init__(self, syntax: str = EXPLICIT) -> None:
        self.syntax = syntax
        self.implicit, self.big = syntax == IMPLICIT, syntax == BIG
        self.encapsulated = syntax in (JPEG_LS, RLE)
        self.order = ">" if self.big else "<"

    def element(self, tag: int, vr: bytes, value: bytes, *, undefined: bool = False, reserved: int = 0) -> bytes:
        """One element; of a sequence ``value`` holds its items."""
        width = _WIDTHS.get(vr, 1)
        if self.big and width > 1:
            value = b"".join(value[i : i + width][::-1] for i in range(0, len(value), width))
        length = 0xFFFFFFFF if undefined else len(value)
        head = struct.pack(self.order + "HH", tag >> 16, tag & 0xFFFF)
        if self.implicit:
            return head + struct.pack(self.order + "I", length) + value
        if vr in LONG:
            return head + struct.pack(self.order + "2sHI", vr, reserved, length) + value
        return head + struct.pack(self.order + "2sH", vr, length) + value

    def item(self, value: bytes, *, undefined: bool = False) -> bytes:
        """One item."""
        head = struct.pack(self.order + "HHI", 0xFFFE, 0xE000, 0xFFFFFFFF if undefined else len(value))
        return head + value + (struct.pack(self.order + "HHI", 0xFFFE, 0xE00D, 0) if undefined else b"")

    def end(self, length: int = 0) -> bytes:
        """A sequence delimiter."""
        return struct.pack(self.order + "HHI", 0xFFFE, 0xE0DD, length)

    def file(self, body: bytes, *, meta_instance: bytes = SOP_INSTANCE, tail: bytes = b"") -> bytes:
        """A whole file around a dataset."""
        plain = Writer()
        meta = b"".join(
            plain.element(*parts)
            for parts in (
                (0x00020001, b"OB", b"\0\1"),
                (0x00020002, b"UI", b"1.2.840.10008.5.1.4.1.1.2\0"),
                (0x00020003, b"UI", meta_instance),
                (0x00020010, b"UI", self.syntax.encode() + b"\0" * (len(self.syntax) & 1)),
                (0x00020012, b"UI", b"1.2.826.0.1.3680043.10.1544\0"),
            )
        )
        head = b"\0" * 128 + b"DICM" + plain.element(0x00020000, b"UL", struct.pack("<I", len(meta))) + meta
        if self.syntax == DEFLATED:
            deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            body = deflater.compress(body) + deflater.flush()
            body += b"\0" * (len(body) & 1)
        return head + body + tail


def make_elements(w: Writer, *, unknown: bool = True, odd: bool = True) -> dict[int, bytes]:
    """The elements of a small CT slice by their tags: nested, private, UN, multi-valued, odd-length ones among them."""
    e = w.element
    code = e(0x00080100, b"SH", b"abc ") + e(0x00080104, b"LO", b"meaning ")
    inner = e(0x0040A170, b"SQ", w.item(code, undefined=True) + w.end(), undefined=True)
    found = {
        0x00080008: (b"CS", b"ORIGINAL\\PRIMARY\\AXIAL"),
        0x00080016: (b"UI", b"1.2.840.10008.5.1.4.1.1.2\0"),
        0x00080018: (b"UI", SOP_INSTANCE),
        0x00080060: (b"CS", b"CT"),
        0x00080070: (b"LO", b"VERICT TEST "),
        0x00100010: (b"PN", b"Test^Patient"),
        0x00100020: (b"LO", b"T1"),
        0x00180050: (b"DS", b"1.5 "),
        0x0020000D: (b"UI", b"1.2.826.0.1.3680043.10.1544.1\0"),
        0x0020000E: (b"UI", b"1.2.826.0.1.3680043.10.1544.2\0"),
        0x00200032: (b"DS", b"0\\0\\1.5 "),
        0x00204000: (b"LT", b"odd" if odd else b"even"),
        0x00280002: (b"US", b"\1\0"),
        0x00280004: (b"CS", b"MONOCHROME2 "),
        0x00280010: (b"US", b"\2\0"),
        0x00280011: (b"US", b"\2\0"),
        0x00280030: (b"DS", b"0.7\\0.7 "),
        0x00280100: (b"US", b"\x10\0"),
        0x00280101: (b"US", b"\x10\0"),
        0x00280102: (b"US", b"\x0f\0"),
        0x00280103: (b"US", b"\1\0"),
        0x00280106: (b"SS", b"\xfb\xff"),
        0x00281052: (b"DS", b"0 "),
        0x00281053: (b"DS", b"1 "),
        0x00283002: (b"SS", b"\1\0\2\0\3\0"),  # as implicit VR reads it beside signed pixels
        0x00090010: (b"LO", b"VERICT TEST "),
        0x00091001: (b"LO", b"private "),
        0x00091003: (b"FD", struct.pack("<d", 1.5)),
        0x60000010: (b"US", b"\2\0"),
        0x60003000: (b"OW", b"\1\0\2\0"),
    }
    if unknown:
        found[0x00091002] = (b"UN", b"1234")
    made = {tag: e(tag, vr, value) for tag, (vr, value) in found.items()}
    made[0x00081032] = e(0x00081032, b"SQ", w.item(code + inner) + w.item(b""))
    made[0x00400275] = e(0x00400275, b"SQ", w.item(code, undefined=True) + w.end(), undefined=True)
    made[0x00400555] = e(0x00400555, b"SQ", b"")
    if unknown:
        private = e(0x00090010, b"LO", b"VERICT TEST ") + e(0x00091002, b"UN", b"12")
        made[0x00081110] = e(0x00081110, b"SQ", w.item(private))
    if w.encapsulated:
        made[0x7FE00010] = e(0x7FE00010, b"OB", w.item(b"") + w.item(b"\1\2\3\4\5\6") + w.end(), undefined=True)
    else:
        made[0x7FE00010] = e(0x7FE00010, b"OW", b"\1\0\2\0\3\0\4\0")
    return made


def make_object(syntax: str = EXPLICIT, *, unknown: bool = True, odd: bool = True, **changed: bytes | None) -> bytes:
    """A small CT slice; ``changed`` gives whole elements by their tag as ``x00100020``, or None to leave one out."""
    w = Writer(syntax)
    made: dict[int, bytes | None] = {**make_elements(w, unknown=unknown, odd=odd)}
    made.update({int(tag[1:], 16): value for tag, value in changed.items()})
    return w.file(b"".join(made[tag] or b"" for tag in sorted(made)))
