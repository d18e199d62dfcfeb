"""A family and a touch-up as plain as can be, for tests of what lies around them."""

from __future__ import annotations

import numpy as np

from verict.tamper.cubes import cube_around
from verict.tamper.forgery import ForgeryKind, Paint, Target


class Block:
    """Paints a block of 7 voxels a side of one value."""

    name = "block"
    summary = "a block of one value"
    kinds = frozenset(ForgeryKind)

    def paint(self, target: Target, rng: np.random.Generator) -> Paint:
        cube = cube_around(target.centre, (7, 7, 7), target.hu.shape, run=target.run)
        value = 40 if target.kind is ForgeryKind.INJECT else -850
        noise = rng.normal(0, 5, cube.shape).astype(np.float32)
        return Paint(cube.box, value + noise, details={"value_hu": value, "donors": len(target.donors)})


class OnlyInjects(Block):
    """The same, for injection only."""

    name = "only-injects"
    kinds = frozenset({ForgeryKind.INJECT})


class AsItIs:
    """Leaves the paint as it is."""

    name = "as-it-is"
    summary = "leaves the paint as it is"

    def apply(self, target: Target, paint: Paint, rng: np.random.Generator) -> Paint:
        return paint
