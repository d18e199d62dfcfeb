"""Every error verict raises on purpose.

VerictError
├── InputError          a file, series or folder that cannot be used as it is
│   ├── NotDicomError   not a DICOM file at all
│   ├── PixelError      pixel data missing, truncated or undecodable
│   ├── GeometryError   position, orientation or spacing missing or contradictory
│   └── ArchiveError    a zip that is broken or hostile
├── DatasetError        a labelled collection that contradicts itself
├── ModelError          weights or card missing, altered, or of another contract
├── OutputError         an output place that cannot be written or is not empty
├── DeviceError         a graphics card that cannot do what it is given
├── MissingExtraError   an optional package is needed and not installed
└── UsageError          options that contradict each other or name nothing
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class VerictError(Exception):
    """A failure told to the user as one line: what, where, found, expected, next step.

    Parameters
    ----------
    problem
        What is wrong, in words, without the file name.
    file
        The file or folder it is wrong in, if there is one.
    tag
        The DICOM keyword or tag it is wrong in, e.g. ``PixelSpacing (0028,0030)``.
    found, expected
        The value that was read, and what would have been acceptable.
    next_step
        What the user can do about it.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: object | None = None,
        tag: str | None = None,
        found: object | None = None,
        expected: str | None = None,
        next_step: str | None = None,
    ) -> None:
        self.problem = problem
        self.file = None if file is None else str(file)
        self.tag = tag
        self.found = None if found is None else _shorten(str(found))
        self.expected = expected
        self.next_step = next_step
        super().__init__(self.one_line())

    def one_line(self) -> str:
        """The whole message on one line, control characters escaped."""
        parts = [f"{self.file}: {self.problem}" if self.file else self.problem]
        if self.tag:
            parts.append(f"tag {self.tag}")
        if self.found is not None:
            parts.append(f"found {self.found}")
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.next_step:
            parts.append(self.next_step)
        return printable("; ".join(parts))

    def as_dict(self) -> dict[str, str | None]:
        """The parts of the message under their names, for JSON."""
        return {
            "error": type(self).__name__,
            "problem": self.problem,
            "file": self.file,
            "tag": self.tag,
            "found": self.found,
            "expected": self.expected,
            "next_step": self.next_step,
        }


class InputError(VerictError):
    """A file, series or folder that cannot be used as it is."""


class NotDicomError(InputError):
    """Not a DICOM file at all."""


class PixelError(InputError):
    """Pixel data missing, truncated or undecodable."""


class GeometryError(InputError):
    """Position, orientation or spacing missing or contradictory."""


class ArchiveError(InputError):
    """A zip that is broken or hostile."""


class DatasetError(VerictError):
    """A labelled collection that contradicts itself."""


class ModelError(VerictError):
    """Weights or card missing, altered, or of another contract."""


class OutputError(VerictError):
    """An output place that cannot be written or is not empty."""


class DeviceError(VerictError):
    """A graphics card that cannot do what it is given."""


class MissingExtraError(VerictError):
    """An optional package is needed and not installed."""


class UsageError(VerictError):
    """Options that contradict each other or name nothing."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a mistyped name: the nearest known one, or the whole list.

    >>> did_you_mean("spektrum", ["header", "spectrum"])
    'did you mean spectrum?'
    """
    known = sorted(known)
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"


def say_count(count: int, one: str, many: str = "") -> str:
    """A counted noun, for messages.

    >>> say_count(1, "slice"), say_count(0, "series", "series")
    ('1 slice', '0 series')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def printable(text: object) -> str:
    r"""The text on one line, each control, format or surrogate character escaped.

    >>> printable("a\x1b[2J\udce9\u202eb")
    'a\\x1b[2J\\udce9\\u202eb'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def _shorten(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
