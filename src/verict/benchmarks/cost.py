"""What fitting and judging cost: seconds of processor and clock, memory of the process and of a graphics card."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verict.errors import DeviceError

CPU = "cpu"
MIB = 2**20
FULL = ("out of memory", "ALLOC_FAILED")
"""What errors of a full card hold, torch's own and those of CUDA, cuBLAS and cuDNN."""


@dataclass(frozen=True)
class Cost:
    """What something took.

    Parameters
    ----------
    cpu_s, wall_s
        Seconds of all of this process's threads, and by the clock.
    peak_mib
        Highest resident memory of the process, samples included, in MiB; None where the system does not tell.
    card_mib
        Most that was held on the graphics card, in MiB; None on the processor.
    """

    cpu_s: float
    wall_s: float
    peak_mib: float | None
    card_mib: float | None = None

    def after(self, earlier: Cost, share: float) -> Cost:
        """Both, the earlier one with a share of its seconds; memory is the higher of the two."""
        return Cost(
            self.cpu_s + share * earlier.cpu_s, self.wall_s + share * earlier.wall_s,
            find_highest([self.peak_mib, earlier.peak_mib]), find_highest([self.card_mib, earlier.card_mib]),
        )  # fmt: skip


class Meter:
    """Measures from when it is made: seconds until `stop`, memory until `read`.

    Parameters
    ----------
    device
        Where the work is done: ``cpu``, or what torch calls another device.
    """

    def __init__(self, device: str = CPU) -> None:
        self.device = device
        _forget_peak()
        if device != CPU:
            _card(device).reset_peak_memory_stats()
        self._began = time.process_time(), time.perf_counter()

    def stop(self) -> tuple[float, float]:
        """Seconds of processor and clock, once a card has done what it was given."""
        if self.device != CPU:
            _card(self.device).synchronize()
        cpu, wall = self._began
        return time.process_time() - cpu, time.perf_counter() - wall

    def read(self, spent: tuple[float, float]) -> Cost:
        """What `stop` gave, with the memory held until now."""
        held = None if self.device == CPU else _card(self.device).max_memory_allocated() / MIB
        return Cost(*spent, read_peak_mib(), held)


@contextmanager
def tell_full_card(device: str) -> Iterator[None]:
    """What does not fit on a graphics card becomes one line; other errors, and the processor's, stay as they are.

    Raises
    ------
    DeviceError
        In place of torch's own error.
    """
    try:
        yield
    except RuntimeError as error:  # torch's own for it is one, and so are those of its libraries
        text = str(error)
        if device == CPU or not any(words in text for words in FULL):
            raise
        raise DeviceError("the graphics card has too little free memory", found=". ".join(text.split(". ")[:2]),
                          next_step="free some and give the same command again: finished folds are kept; or leave the "
                                    "network out with --models; or --device cpu, which fits every network anew",
                          ) from error  # fmt: skip


def find_highest(values: Sequence[float | None]) -> float | None:
    """The highest of those that are known."""
    return max((value for value in values if value is not None), default=None)


def read_peak_mib() -> float | None:
    """Highest resident memory of this process since a `Meter` was made, in MiB; None where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration, ValueError):
        return None


def _forget_peak() -> None:
    """Let the system count this process's peak memory anew, where it can (Linux, proc(5): clear_refs)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _card(device: str) -> Any:
    """The module that torch has for a device, such as ``torch.cuda``."""
    import torch

    return torch.get_device_module(device)
