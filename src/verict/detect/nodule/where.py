"""Where in the lungs a place lies, in words: which lung, and which third of it where the scan reaches far enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume

WHOLE_LUNG_MM = 160.0  # of lung along the patient that must be there before thirds are told: adults have 200 to 280
THIRDS = ("lower third", "middle third", "upper third")
_EVERY = 8  # voxels: where the lungs lie need not be known finer


def say_where(volume: CTVolume, lungs: LungRegion, centre_zyx: Sequence[float]) -> str:
    """Such as "right lung, upper third"; lobes are not told apart, since fissures are not looked for.

    Parameters
    ----------
    volume, lungs
        A series and where its lungs are.
    centre_zyx
        Voxel.
    """
    x, _, z = volume.to_patient_mm(*centre_zyx)
    lit = np.flatnonzero(lungs.found)
    nearest = int(lit[np.argmin(np.abs(lit - centre_zyx[0]))])
    places = np.argwhere(lungs.mask[nearest, ::_EVERY, ::_EVERY]) * _EVERY
    if not len(places):
        return "lung"
    across = [volume.to_patient_mm(nearest, *place)[0] for place in places]
    side = "right lung" if x < (min(across) + max(across)) / 2 else "left lung"  # x grows to the patient's left
    heights = [volume.to_patient_mm(int(i), *centre_zyx[1:])[2] for i in (lit[0], lit[-1])]
    if abs(heights[1] - heights[0]) < WHOLE_LUNG_MM:
        return side
    part = (z - min(heights)) / (max(heights) - min(heights))
    return f"{side}, {THIRDS[int(np.clip(part * 3, 0, 2))]}"
