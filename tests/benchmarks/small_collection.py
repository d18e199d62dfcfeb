"""A small collection in the published layout whose scans have lungs and neighbours, and plain samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from builders import make_body_hu, make_series
from datasets.uci_folders import HEADER, labels_file, scan_folder

from verict.benchmarks.samples import WINDOW_PX, Samples
from verict.datasets.uci import SiteType

SPACING_MM = (2.0, 5.0, 5.0)
SLICES = 24
LEFT, RIGHT = (19, 32), (45, 32)  # x, y in the middle of each lung
ROWS = {
    1: ["FB,1001,12,19,32", "FB,1002,11,45,32", "FB,1003,13,19,30", "FM,1004,12,45,34", "FM,1005,12,19,32",
        "TM,1006,12,45,32", "TM,6031,12,19,32", "TM,1007,10,19,32", "TB,1008,0,0,0", "TB,1009,0,0,0", "TB,1010,0,0,0",
        "FM,1011,12,45,32", "TM,1012,12,45,32"],
    2: ["FB,6031,12,19,32"],
}  # fmt: skip


def build_small_collection(root: Path) -> Path:
    """14 rows of all four classes in 14 scans; 6031 in both experiments; TB rows name no place."""
    for experiment, rows in ROWS.items():
        for row in rows:
            kind, uuid, number, x, y = row.split(",")
            hu = make_body_hu(SLICES, seed=int(uuid))
            if kind in ("TM", "FM"):
                hu[int(number) - 3 : int(number) + 2, int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = 30
            folder = scan_folder(root, uuid, experiment=experiment)
            make_series(folder, hu=hu, spacing_mm=SPACING_MM, patient_id=uuid, seed=int(uuid) + 7 * experiment)
        labels_file(root, experiment=experiment).write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8")
    return root


def make_samples(patients: int = 12, each: int = 2, *, seed: int = 0) -> Samples:
    """Every patient has that many rows of each class; patches of a class have a brightness of their own."""
    rng = np.random.default_rng(seed)
    kinds = np.array([str(kind) for kind in SiteType for _ in range(each)] * patients)
    n = len(kinds)
    level = np.array([{"TB": -850, "FB": -780, "TM": 0, "FM": 90}[kind] for kind in kinds])
    noise = rng.normal(0, 20, (n, 1, 1, 1))
    names = np.repeat([f"p{i}" for i in range(patients)], each * 4)
    return Samples(
        kind=kinds, patient=names, uuid=names, experiment=np.ones(n, int), z=rng.integers(1, 99, n),
        y=rng.integers(1, 99, n), x=rng.integers(1, 99, n), number=rng.integers(1, 99, n),
        is_placed=np.ones(n, bool), at_corner=np.zeros(n, bool), centre_hu=level + noise[:, 0, 0, 0],
        diameter_mm=np.where(level > -100, 12.0, np.nan),
        cuboid=(level[:, None, None, None] + noise + rng.normal(0, 5, (n, 32, 32, 32))).astype(np.int16),
        window=(level[:, None, None] + noise[..., 0] + rng.normal(0, 5, (n, WINDOW_PX, WINDOW_PX))).astype(np.int16),
    )  # fmt: skip
