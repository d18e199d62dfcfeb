"""CT-GAN: a 3D conditional GAN that paints a cancer into lung, or lung over a cancer.

Mirsky, Mahler, Shelef, Elovici, USENIX Security 2019, and its published code. What it leaves: a cuboid of 32 mm that
was resampled to 1 mm and back, its middle 20 mm painted, to be blended by `verict.tamper.ctgan_touch_up` over a larger
cube. The published weights were never released; those shipped here are small ones trained for this purpose.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from verict.errors import ModelError
from verict.tamper.ctgan_cuboid import (
    SIDE,
    Equaliser,
    Generator,
    cuboid_voxels,
    paint_cuboid,
    sample_cuboid,
    to_voxels,
)
from verict.tamper.cubes import cube_around
from verict.tamper.forgery import ForgeryKind, Paint, Target
from verict.weights import open_session, read_card

WEIGHTS = Path(__file__).parents[1] / "weights"
SCHEMA = "verict.generator/1"
EQUALISER = "equaliser"  # the entry of the ONNX file's metadata that holds it, so that one hash covers both
NEEDED = ("id", "version", "sha256", "kind", "config", "training", "figures", "limits")


@dataclass(frozen=True, eq=False)
class Model:
    """A trained generator with the equaliser of its training and its card."""

    generator: Generator
    equaliser: Equaliser
    card: dict[str, Any]


class CtGan:
    """The published attack.

    Parameters
    ----------
    generator
        Another network in place of the shipped ones, for either kind.
    equaliser
        That network's own; fitted on the target's cuboid where none is given.
    """

    name = "ctgan"
    summary = "the published 3D GAN: a cuboid of 32 mm at 1 mm, its middle 20 mm painted by a network"
    kinds = frozenset(ForgeryKind)

    def __init__(self, generator: Generator | None = None, equaliser: Equaliser | None = None) -> None:
        self.generator = generator
        self.equaliser = equaliser

    def paint(self, target: Target, rng: np.random.Generator) -> Paint:
        """Paint the target; the same place is always painted alike, and a wanted diameter is not heeded.

        Raises
        ------
        ModelError
            If the weights are missing or altered.
        """
        sides = cuboid_voxels(target.spacing_mm)
        cube = cube_around(target.centre, sides, target.hu.shape, run=target.run)
        cuboid = sample_cuboid(target.hu, target.spacing_mm, target.centre, run=target.run)
        if self.generator is None:
            model = open_shipped(target.kind)
            generator, equaliser = model.generator, model.equaliser
            network = {key: model.card[key] for key in ("id", "version", "sha256")}
        else:
            generator, equaliser = self.generator, self.equaliser or Equaliser.fit(cuboid)
            network = {"id": "given by the caller"}
        painted = paint_cuboid(cuboid, equaliser, generator)
        details = {
            "network": network,
            "cuboid_mm": SIDE,
            "cuboid_voxels_zyx": sides.tolist(),
            "clamped_at_ends": cube.is_clamped,
            "diameter_heeded": False,
        }
        return Paint(cube.box, to_voxels(painted, cube.offsets, target.spacing_mm), None, details)


@lru_cache
def open_shipped(kind: ForgeryKind) -> Model:
    """The generator verict ships, opened once; errors as of `open_model`."""
    return open_model(kind)


def open_model(kind: ForgeryKind, folder: Path = WEIGHTS) -> Model:
    """Open the generator of that kind from ``ctgan-inject`` or ``ctgan-remove``, ``.onnx`` and ``.json``.

    Raises
    ------
    ModelError
        If either is missing, they do not belong together, or the file holds no equaliser.
    """
    name = f"ctgan-{kind}"
    card = read_card(folder / f"{name}.json", SCHEMA, NEEDED)
    weights = folder / f"{name}.onnx"
    session = open_session(weights, card["sha256"])
    try:
        stored = json.loads(session.get_modelmeta().custom_metadata_map[EQUALISER])
        equaliser = Equaliser(**{**stored, "level": np.array(stored["level"], np.float64)})
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError("the weights hold no equaliser", file=weights.name, found=error,
                         next_step="reinstall verict, or train it again") from error

    def generate(masked: np.ndarray) -> np.ndarray:
        painted: np.ndarray = session.run(None, {"masked": masked[None, None].astype(np.float32)})[0]
        return painted[0, 0]

    return Model(generate, equaliser, card)
