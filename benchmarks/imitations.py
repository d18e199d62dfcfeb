"""Simulated series that imitate real ones: the same pixels, slices, kernel and strength of noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from noise_windows import Series

from verict.ct.discover import find_series
from verict.ct.lungs import find_lungs
from verict.ct.phantom.anatomy import draw_anatomy
from verict.ct.phantom.kernels import KERNELS, MEASURED_KERNELS, Kernel
from verict.ct.phantom.scanner import Protocol, acquire
from verict.ct.read import read_series
from verict.ct.volume import CTVolume

HEIGHTS = (-0.5, 0.0, 0.45)  # of the blocks of slices scanned in each chest, as shares of half the lung
BLOCK_SLICES = 4
CHESTS = 2  # simulated patients a real series


@dataclass(frozen=True)
class Imitation:
    """How a real series is imitated: what its header says, and two figures fitted to it.

    ``dose`` is fitted to the noise of soft tissue, ``row_mm`` to its correlation along z, ``texture_sd_hu`` to
    the power of lung below 0.4 cycles per mm, ``blur_mm`` to what is left of it above.
    """

    folder: str
    patient: str
    kernel: str
    thickness_mm: float
    dose: float
    row_mm: float
    texture_sd_hu: float
    blur_mm: float = 0.6


IMITATIONS = (
    Imitation("petctdx-philips-B", "philips 5 mm", "Philips B", 5.0, 1.0, 2.0, 40, 1.0),
    Imitation("fusedct-siemens-B31f", "siemens 2 mm", "Siemens B31f", 2.0, 1.1, 1.2, 45),
    Imitation("petctdx-siemens-B40f", "siemens 8 mm", "Siemens B40f", 8.0, 1.6, 1.5, 66),
    Imitation("lidc-0314-philips-D", "philips 1 mm", "Philips D", 1.0, 2.0, 0.6, 70),
    Imitation("cmbcrc-ge-LUNG", "ge 2.5 mm", "GE LUNG", 2.5, 1.0, 1.8, 70),
    Imitation("petctdx-philips-L", "philips 5 mm", "Philips L", 5.0, 1.0, 2.0, 40, 1.0),
    Imitation("petctdx-siemens-B70f", "siemens 8 mm", "Siemens B70f", 8.0, 1.6, 1.5, 66),
)


def load_real(data: Path, one: Imitation) -> Series:
    """The real series, with its lungs."""
    volume = read_series(find_series(data / one.folder).series[0])
    return Series(one.folder, one.patient, volume.hu, find_lungs(volume).mask, volume.spacing_mm[1],
                  volume.spacing_mm[0])


@dataclass(frozen=True, eq=False)
class _Lifted:
    """An anatomy moved so that `z_mm` lies in the middle of the volume."""

    anatomy: object
    z_mm: float

    def draw_slab(self, z_mm: np.ndarray, size: int, pixel_mm: float) -> np.ndarray:
        return self.anatomy.draw_slab(z_mm + self.z_mm, size, pixel_mm)


def imitate(real: Series, one: Imitation, seed: int = 0) -> Iterator[Series]:
    """Blocks of neighbouring slices from several heights of several simulated chests."""
    protocol = Protocol(
        kernel=MEASURED_KERNELS[one.kernel], dose=one.dose, thickness_mm=one.thickness_mm, row_mm=one.row_mm,
        increment_mm=real.increment_mm, pixel_mm=real.pixel_mm, blur_mm=one.blur_mm, beam_hardening=True,
    )
    for chest in range(CHESTS):
        rng = np.random.default_rng((seed, chest, *one.patient.encode()))  # both kernels of a patient: one chest
        anatomy = draw_anatomy(rng, texture_sd_hu=one.texture_sd_hu)
        base, top = anatomy.z_range_mm
        for share in HEIGHTS:
            height = (base + top) / 2 + share * (top - base) / 2
            hu = acquire(_Lifted(anatomy, height), protocol, rng, slices=BLOCK_SLICES, size=real.hu.shape[1])
            yield Series(one.folder, f"{one.patient} chest {chest}", hu, find_lungs(_volume(hu, real)).mask,
                         real.pixel_mm, real.increment_mm)


SINGLES = "tcga-singles"
PRESETS = {  # by how the kernel's name begins
    "B20": Kernel.SOFT, "SOFT": Kernel.SOFT, "B30": Kernel.STANDARD, "B31": Kernel.STANDARD, "59": Kernel.STANDARD,
    "STANDARD": Kernel.STANDARD, "B60": Kernel.BONE, "BONE": Kernel.BONE,
}


def pair_singles(data: Path) -> Iterator[tuple[Series, Series]]:
    """Each single slice of another scanner, and one slice of a simulated chest of its own beside it.

    Nothing was fitted to these: the kernel is the preset of that family, the dose 1, all else random.
    """
    for number, found in enumerate(find_series(data / SINGLES).series):
        volume = read_series(found)
        name = str(volume.headers[0].ConvolutionKernel)
        kernel = next(k for start, k in PRESETS.items() if name.startswith(start))
        thickness_mm = volume.slice_thickness_mm or 5.0
        real = Series(SINGLES, str(volume.headers[0].PatientID), volume.hu, find_lungs(volume).mask,
                      volume.spacing_mm[1], thickness_mm, stacked=False)
        protocol = Protocol(kernel=KERNELS[kernel], thickness_mm=thickness_mm, increment_mm=thickness_mm,
                            pixel_mm=real.pixel_mm, beam_hardening=True)
        rng = np.random.default_rng((7, number))
        anatomy = draw_anatomy(rng)
        base, top = anatomy.z_range_mm
        height = (base + top) / 2 + rng.uniform(-0.5, 0.5) * (top - base) / 2
        hu = acquire(_Lifted(anatomy, height), protocol, rng, slices=1, size=volume.hu.shape[1])
        yield real, Series(SINGLES, f"chest {number}", hu, find_lungs(_volume(hu, real)).mask, real.pixel_mm,
                           thickness_mm, stacked=False)


def _volume(hu: np.ndarray, like: Series) -> CTVolume:
    count = len(hu)
    return CTVolume(
        hu=hu,
        origins_mm=np.arange(count)[:, None] * np.array([0, 0, like.increment_mm]),
        row_direction=np.array([1.0, 0, 0]),
        column_direction=np.array([0, 1.0, 0]),
        spacing_mm=(like.increment_mm, like.pixel_mm, like.pixel_mm),
        series_instance_uid="",
        study_instance_uid="",
        sop_instance_uids=("",) * count,
        frame_numbers=(1,) * count,
        source_files=("",) * count,
        slice_thickness_mm=None,
    )
