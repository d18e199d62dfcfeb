"""Branching trees of the lungs: arteries beside airways, veins between them.

A tree fills its lung: each branch goes towards the middle of the points it has to reach, then divides them among
two branches, until each point is reached (Tawhai, Pullan and Hunter, 10.1114/1.1289457). Radii follow from what
hangs on a branch: their cubes add up (Murray, 10.1073/pnas.12.3.207).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verict.ct.phantom.segments import Segments

STEP_SHARE = 0.38  # of the way to the middle of its points that a branch goes before it divides
LEAF_RADIUS_MM = 0.26  # of the last vessels that are drawn; smaller ones are the texture's matter
AIRWAY_LEAST = 24  # ends that an airway has to serve to have a lumen one can see


@dataclass(frozen=True, eq=False)
class Tree:
    """Branches of one tree: (n, 3) start and end in mm (z, y, x), ends served (n,), and the parent's (n,) number."""

    start: np.ndarray
    end: np.ndarray
    served: np.ndarray
    parent: np.ndarray


def grow_tree(root: np.ndarray, targets: np.ndarray, rng: np.random.Generator) -> Tree:
    """A tree from `root`, (3,), to (n, 3) targets, in mm."""
    starts, ends, served, parents = [], [], [], []
    waiting = [(root, targets, -1)]
    while waiting:
        start, points, parent = waiting.pop()
        middle = points[0] if len(points) == 1 else np.add.reduce(points) / len(points)
        way = middle - start
        far = float(np.sqrt(way @ way))
        if len(points) == 1:
            end = start + way * min(1.0, 6.0 / max(far, 1e-6))  # mm, longest last twig
        else:
            share = STEP_SHARE if len(points) < 600 else 0.6 * STEP_SHARE  # large branches divide early, at the hilum
            end = start + way * max(share, min(1.0, 1.5 / max(far, 1e-6))) + rng.normal(0, 0.06 * far, 3)
        starts.append(start)
        ends.append(end)
        served.append(len(points))
        parents.append(parent)
        if len(points) > 1:
            number = len(starts) - 1
            off = points - middle
            off = off - np.outer(off @ way, way) / max(far * far, 1e-9)
            across = off[0] if len(points) < 4 else np.linalg.eigh(off.T @ off + 1e-6 * np.eye(3))[1][:, -1]
            order = np.argsort(off @ across)
            cut = min(max(round(len(points) * rng.uniform(0.32, 0.68)), 1), len(points) - 1)
            waiting += [(end, points[order[cut:]], number), (end, points[order[:cut]], number)]
    return Tree(np.array(starts), np.array(ends), np.array(served), np.array(parents))


def to_vessels(tree: Tree, rng: np.random.Generator, *, largest_mm: float) -> Segments:
    """The tree as vessels, each branch bent once and tapering into the next."""
    radius = np.minimum(LEAF_RADIUS_MM * tree.served ** (1 / 3), largest_mm)
    before = np.where(tree.parent >= 0, radius[tree.parent], radius)
    first = np.minimum(before, 1.25 * radius)
    length = np.linalg.norm(tree.end - tree.start, axis=1, keepdims=True)
    bend = (tree.start + tree.end) / 2 + rng.standard_normal(tree.start.shape) * 0.07 * length
    middle = (first + radius) / 2
    return _as_segments(
        np.concatenate([tree.start, bend]), np.concatenate([bend, tree.end]),
        np.concatenate([first, middle]), np.concatenate([middle, radius]),
    )


def split_bundle(tree: Tree, rng: np.random.Generator) -> tuple[Segments, Segments]:
    """Airways (their lumen) and the arteries that run beside them as one bundle, of about the same size."""
    airy = tree.served >= AIRWAY_LEAST
    lumen = 0.26 * tree.served ** (1 / 3) * np.clip(np.log2(tree.served / AIRWAY_LEAST + 1), 0.5, 1)
    lumen = np.minimum(lumen, 5.2)
    before = np.where(tree.parent >= 0, lumen[tree.parent], lumen)
    airways = _as_segments(tree.start[airy], tree.end[airy], np.minimum(before, 1.2 * lumen)[airy], lumen[airy])
    artery = np.minimum(LEAF_RADIUS_MM * tree.served ** (1 / 3), 6.0)
    gap = np.where(airy, 1.25 * lumen + 0.5 + artery, 0.0)
    aside = np.array([0.35, -0.75, 0.55]) * np.where(tree.start[:, 2:] < 0, [[1, 1, -1]], [[1, 1, 1]])
    end = tree.end + aside * gap[:, None]
    start = np.where(tree.parent[:, None] >= 0, end[tree.parent], tree.start + aside * gap[:, None])
    return airways, to_vessels(Tree(start, end, tree.served, tree.parent), rng, largest_mm=6.0)


def _as_segments(start: np.ndarray, end: np.ndarray, radius: np.ndarray, end_radius: np.ndarray) -> Segments:
    return Segments(*(a.astype(np.float32) for a in (start, end, radius, end_radius)))
