"""Gradient-domain blending in 3D: the correction that lets a patch meet its new surroundings without a step."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.linalg import LinearOperator, cg

from verict.errors import InputError

LARGEST_ROUNDS = 2000  # of conjugate gradients; a hole 60 voxels wide takes about 150


def solve_membrane(
    hole: np.ndarray, anchors: np.ndarray, mismatch: np.ndarray, spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """The smoothest field inside a hole that equals the mismatch at its rim.

    Poisson image editing (Pérez, Gangnet, Blake, ACM Trans. Graph. 22(3), 2003, equation 11): the Laplace equation
    for the correction, Dirichlet at the rim. Adding it to the patch keeps the patch's gradients and meets the rim's
    values. Where the hole ends at neither an anchor nor a voxel of itself (the wall, the scan's last slice), nothing
    flows across: a Neumann condition.

    Parameters
    ----------
    hole
        (z, y, x) bool, the voxels to solve for.
    anchors
        (z, y, x) bool, the voxels beyond the hole whose mismatch is met.
    mismatch
        (z, y, x) what the correction has to be at the anchors: the scan's HU minus the patch's.
    spacing_mm
        (z, y, x).

    Returns
    -------
    numpy.ndarray
        (z, y, x) float32, 0 outside the hole.

    Raises
    ------
    InputError
        If a part of the hole meets no anchor, so that nothing says at which level it lies.
    """
    count = int(hole.sum())
    index = np.full(hole.shape, -1)
    index[hole] = np.arange(count)
    rim = anchors & ~hole
    diagonal, known = np.zeros(count), np.zeros(count)
    rows, columns, weights = [], [], []
    for axis, step_mm in enumerate(spacing_mm):
        for here, there in ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))):
            at, beside, is_rim, value = (np.moveaxis(values, axis, 0)[side] for values, side in
                                         ((index, here), (index, there), (rim, there), (mismatch, there)))
            linked, meets = (at >= 0) & (beside >= 0), (at >= 0) & is_rim
            rows.append(at[linked])
            columns.append(beside[linked])
            weights.append(np.full(len(rows[-1]), -1 / step_mm**2))
            diagonal += np.bincount(at[linked | meets], minlength=count) / step_mm**2
            known += np.bincount(at[meets], value[meets], minlength=count) / step_mm**2
    _check_anchored(hole, rim)
    matrix = coo_array((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), (count, count))
    links = matrix.tocsr()
    operator = LinearOperator((count, count), matvec=lambda v: diagonal * v + links @ v, dtype=np.float64)
    inverse = LinearOperator((count, count), matvec=lambda v: v / diagonal, dtype=np.float64)
    solution, _ = cg(operator, known, atol=0.0, maxiter=LARGEST_ROUNDS, M=inverse)
    field = np.zeros(hole.shape, np.float32)
    field[hole] = solution
    return field


def _check_anchored(hole: np.ndarray, rim: np.ndarray) -> None:
    parts, count = ndimage.label(hole)
    free = set(range(1, count + 1)) - set(np.unique(parts[ndimage.binary_dilation(rim) & hole]).tolist())
    if count == 0 or free:
        raise InputError(
            "the patch meets no lung it could be blended into",
            found=f"{len(free)} of {count} parts of it enclosed by the wall",
            expected="lung at its rim",
            next_step="choose another place, or the method splice",
        )
