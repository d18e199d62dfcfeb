"""A simulated chest CT: a simulated patient in the simulated scanner, with all that is true of both."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from verict.ct.phantom.anatomy import Anatomy, draw_anatomy
from verict.ct.phantom.nodules import Nodule, NoduleOrder
from verict.ct.phantom.scanner import Protocol, acquire
from verict.ct.write import SeriesHeader, simulated_attributes, write_series

EDGE_MM = 12.0  # between a nodule's centre and the first or last slice, or the side of the picture
WHOLE_CHEST_MM = 310.0  # from below the diaphragm to above the lungs, of a tall patient
ROUTINE_MAS = 100  # what dose 1 stands for in the headers, mAs of a routine chest at 120 kV
_ROTATION_MS = 500


@dataclass(frozen=True, eq=False)
class SimulatedChest:
    """A finished scan.

    Parameters
    ----------
    hu
        (z, y, x) int16 HU, -1024 to 3071, slices from the feet to the head.
    anatomy, protocol, seed
        Who was scanned, how, and what all of it followed from.
    """

    hu: np.ndarray
    anatomy: Anatomy
    protocol: Protocol
    seed: int

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of voxels (z, y, x)."""
        return self.protocol.increment_mm, self.protocol.pixel_mm, self.protocol.pixel_mm

    @property
    def origin_mm(self) -> tuple[float, float, float]:
        """Patient position (x, y, z) of the first voxel: the middle of the chest is at 0."""
        z, y, x = (-(n - 1) / 2 * s for n, s in zip(self.hu.shape, self.spacing_mm, strict=True))
        return x, y, z

    def to_voxel(self, nodule: Nodule) -> tuple[float, float, float]:
        """Voxel (z, y, x) of a nodule's centre; whole numbers are middles of voxels."""
        z, y, x = np.array(nodule.centre_zyx_mm) / self.spacing_mm + (np.array(self.hu.shape) - 1) / 2
        return float(z), float(y), float(x)

    def describe(self) -> dict[str, object]:
        """All that is true of the scan, ready for JSON."""
        return {
            "seed": self.seed,
            "shape_zyx": list(self.hu.shape),
            "spacing_zyx_mm": list(self.spacing_mm),
            "protocol": asdict(self.protocol),
            "metal": None if self.anatomy.metal is None else str(self.anatomy.metal.kind),
            "emphysema": self.anatomy.parenchyma.emphysema,
            "nodules": [self._describe_nodule(n) for n in self.anatomy.nodules],
        }

    def _describe_nodule(self, nodule: Nodule) -> dict[str, object]:
        z, y, x = nodule.centre_zyx_mm
        return {
            "diameter_mm": nodule.diameter_mm,
            "hu": nodule.hu,
            "shape": str(nodule.shape),
            "attachment": str(nodule.attachment),
            "core_diameter_mm": nodule.core_mm or None,
            "core_hu": nodule.core_hu if nodule.core_mm else None,
            "centre_voxel_zyx": list(self.to_voxel(nodule)),
            "centre_mm_lps": [x, y, z],
        }


def simulate_chest(
    protocol: Protocol,
    *,
    slices: int,
    size: int = 512,
    nodules: int | NoduleOrder = 0,
    metal: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SimulatedChest:
    """Scan a random patient.

    Parameters
    ----------
    protocol
        How the scanner is set.
    slices, size
        Number of slices, around the middle of the chest, and pixels a side.
    nodules
        How many, or what exactly; all within the scanned volume.
    metal
        Whether the patient bears metal.
    seed
        The same one gives the same patient under any protocol with the same field of view; with the same
        protocol, the same scan to the byte.
    progress
        Called with (slices done, slices in all).

    Raises
    ------
    InputError
        If the scanned part of the lungs does not hold so many nodules.
    """
    half_z = (slices - 1) / 2 * protocol.increment_mm - EDGE_MM
    order = nodules if isinstance(nodules, NoduleOrder) else NoduleOrder(nodules)
    order = replace(order, z_mm=(-half_z, half_z), reach_mm=size / 2 * protocol.pixel_mm - EDGE_MM)
    anatomy = draw_anatomy(np.random.default_rng((seed, 0)), nodules=order, metal=metal)
    hu = acquire(anatomy, protocol, np.random.default_rng((seed, 1)), slices=slices, size=size, progress=progress)
    return SimulatedChest(hu, anatomy, protocol, seed)


def count_slices(increment_mm: float) -> int:
    """How many slices the whole chest takes."""
    return math.ceil(WHOLE_CHEST_MM / increment_mm)


def write_chest(chest: SimulatedChest, folder: Path, *, kernel_name: str) -> list[Path]:
    """Write a scan as a DICOM series that says it is simulated.

    UIDs follow from the seed and all settings alone: the same scan has the same ones.

    Parameters
    ----------
    chest
        The scan.
    folder
        Made anew; an existing one must be empty. Appears only once every slice is written.
    kernel_name
        What ConvolutionKernel says, at most 16 characters (PS3.5 6.2, SH).

    Raises
    ------
    OutputError
        If the folder is not empty or cannot be written.
    """
    protocol = chest.protocol
    mas = ROUTINE_MAS * protocol.dose
    attributes = simulated_attributes() | {
        "KVP": 120,
        "SliceThickness": f"{protocol.thickness_mm:g}",
        "SpacingBetweenSlices": f"{protocol.increment_mm:g}",
        "ReconstructionDiameter": f"{chest.hu.shape[2] * protocol.pixel_mm:.6g}",
        "GantryDetectorTilt": 0,
        "ExposureTime": _ROTATION_MS,
        "XRayTubeCurrent": max(1, round(mas * 1000 / _ROTATION_MS)),
        "Exposure": max(1, round(mas)),
    }
    settings = json.dumps(chest.describe(), sort_keys=True)
    header = SeriesHeader(
        patient_id=f"PHANTOM-{chest.seed}",
        series_description="simulated chest",
        kernel=kernel_name,
        origin_mm=chest.origin_mm,
        attributes=attributes,
        uid_seed=f"verict phantom {kernel_name} {settings}",
    )
    return write_series(chest.hu, folder, spacing_mm=chest.spacing_mm, header=header)
