"""Ways to hide a forgery, by name: one line each."""

from __future__ import annotations

from importlib import import_module

from verict.errors import UsageError, did_you_mean
from verict.tamper.forgery import TouchUp

_TOUCH_UPS = {
    "none": "verict.tamper.touch_ups.added_noise:Untouched",
    "white": "verict.tamper.touch_ups.added_noise:White",
    "zoomed": "verict.tamper.touch_ups.added_noise:Zoomed",
    "copied": "verict.tamper.touch_ups.added_noise:Copied",
    "matched": "verict.tamper.touch_ups.matched:Matched",
    "jpeg2000": "verict.tamper.touch_ups.whole_slice:Jpeg2000",
    "resampled": "verict.tamper.touch_ups.whole_slice:Resampled",
}


def names() -> tuple[str, ...]:
    """Every touch-up."""
    return tuple(_TOUCH_UPS)


def create(name: str) -> TouchUp:
    """Make a touch-up by its name.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    if name not in _TOUCH_UPS:
        raise UsageError("no such touch-up", found=name, next_step=did_you_mean(name, _TOUCH_UPS))
    module, _, cls = _TOUCH_UPS[name].partition(":")
    touch_up: TouchUp = getattr(import_module(module), cls)()
    return touch_up
