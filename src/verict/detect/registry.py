"""Every detector by name: one line each. Feeds the CLI's choices, the docs and the tests; imports no torch."""

from __future__ import annotations

from importlib import import_module

from verict.detect.evidence import Detector
from verict.errors import UsageError, did_you_mean

_CLASSES = {
    "header": "verict.detect.header:HeaderDetector",
    "spectrum": "verict.detect.spectrum:SpectrumDetector",
    "localiser": "verict.detect.localiser:LocaliserDetector",
    "fusion": "verict.detect.fusion:FusionDetector",
    "repeat": "verict.detect.repeat:RepeatDetector",
    "back-in-time": "verict.detect.back_in_time:BackInTimeDetector",
    "nodule": "verict.detect.nodule.detector:NoduleDetector",
}

DEFAULT = ("header", "fusion", "nodule")  # spectrum and localiser are parts of fusion; the others run when named


def names() -> tuple[str, ...]:
    """The known detectors, in the order they run."""
    return tuple(_CLASSES)


def check_name(name: str) -> None:
    """Refuse a name that no detector has, without loading any.

    Raises
    ------
    UsageError
        If no detector has that name.
    """
    if name not in _CLASSES:
        raise UsageError(f"no detector named {name!r}", next_step=did_you_mean(name, _CLASSES))


def create(name: str) -> Detector:
    """A detector by its name.

    Raises
    ------
    UsageError
        If no detector has that name.
    """
    check_name(name)
    module, _, cls = _CLASSES[name].partition(":")
    return getattr(import_module(module), cls)()
