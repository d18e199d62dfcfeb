"""Which device networks are fitted on."""

from __future__ import annotations

from verict.errors import UsageError

DEVICES = ("auto", "cpu", "cuda")


def choose_device(asked: str) -> str:
    """``cpu`` or ``cuda``; auto takes a graphics card where there is one.

    Raises
    ------
    UsageError
        If there is no such device, or no card where one is asked for.
    ModuleNotFoundError
        If torch is not installed.
    """
    if asked not in DEVICES:
        raise UsageError("no such device", found=asked, expected=", ".join(DEVICES))
    import torch

    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise UsageError("no graphics card that torch can use", found="--device cuda",
                         next_step="leave it out, or name --device cpu")  # fmt: skip
    return "cuda" if there and asked != "cpu" else "cpu"
