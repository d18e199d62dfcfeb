"""Many thin tubes at once: vessel and airway trees as straight, tapering pieces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verict.ct.phantom.canvas import Canvas


@dataclass(frozen=True, eq=False)
class Segments:
    """Straight pieces: (n, 3) start and end in mm (z, y, x), and the (n,) radius at either in mm; all float32."""

    start: np.ndarray
    end: np.ndarray
    radius: np.ndarray
    end_radius: np.ndarray

    def widen(self, factor: float, more_mm: float) -> Segments:
        """The same pieces wider, as walls are around a lumen."""
        return Segments(self.start, self.end, self.radius * factor + more_mm, self.end_radius * factor + more_mm)

    def cover(self, canvas: Canvas) -> np.ndarray:
        """How much of each pixel of a slice the pieces cover, (size, size) float32 from 0 to 1.

        A piece thinner than a pixel covers it by the share of its section.
        """
        out = np.zeros(canvas.hu.shape, np.float32)
        pixel = canvas.raster.pixel_mm
        widest = np.maximum(self.radius, self.end_radius) + 0.6 * pixel
        low, high = np.minimum(self.start[:, 0], self.end[:, 0]), np.maximum(self.start[:, 0], self.end[:, 0])
        near = np.flatnonzero((low - widest < canvas.z_mm) & (high + widest > canvas.z_mm))
        start, along = self.start[near], self.end[near] - self.start[near]
        rows, columns = self._boxes(canvas, start, along, widest[near])
        height, width = np.maximum(rows[1] - rows[0], 0), np.maximum(columns[1] - columns[0], 0)
        count = height * width
        which = np.repeat(np.arange(len(near)), count)
        if not which.size:
            return out
        local = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        row = rows[0][which] + local // width[which]
        column = columns[0][which] + local % width[which]
        at = canvas.raster.at_mm
        offset = canvas.z_mm - start[which, 0], at[row] - start[which, 1], at[column] - start[which, 2]
        step = along[which]
        squared = np.maximum((along * along).sum(axis=1), 1e-9)[which]
        part = np.clip(sum(o * step[:, i] for i, o in enumerate(offset)) / squared, 0, 1)
        distance = np.sqrt(sum((o - part * step[:, i]) ** 2 for i, o in enumerate(offset)))
        radius = self.radius[near][which] + part * (self.end_radius - self.radius)[near][which]
        # an edge one pixel wide adds pi pixel^2 / 12 to the section; nothing can be shown thinner than half a pixel
        shown = np.sqrt(np.maximum(radius**2 - pixel**2 / 12, pixel**2 / 4))
        value = np.clip((shown - distance) / pixel + 0.5, 0, 1) * np.minimum(3 * (radius / pixel) ** 2, 1)
        some = value > 0
        np.maximum.at(out.ravel(), (row * len(at) + column)[some], value[some].astype(np.float32))
        return out

    def _boxes(
        self, canvas: Canvas, start: np.ndarray, along: np.ndarray, reach: np.ndarray
    ) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """First and last + 1 pixel, down and across, that each piece reaches at the height of the slice."""
        rise = np.where(np.abs(along[:, 0]) < 1e-6, 1e-6, along[:, 0])
        ends = [np.clip((canvas.z_mm + side * reach - start[:, 0]) / rise, 0, 1) for side in (-1, 1)]
        at, pixel = canvas.raster.at_mm, canvas.raster.pixel_mm
        boxes = []
        for axis in (1, 2):
            places = [start[:, axis] + e * along[:, axis] for e in ends]
            first = np.ceil((np.minimum(*places) - reach - at[0]) / pixel)
            last = np.floor((np.maximum(*places) + reach - at[0]) / pixel) + 1
            boxes.append((np.clip(first, 0, len(at)).astype(int), np.clip(last, 0, len(at)).astype(int)))
        return boxes[0], boxes[1]


def join_segments(parts: list[Segments]) -> Segments:
    """All pieces as one set."""
    return Segments(*(np.concatenate([getattr(p, name) for p in parts]).astype(np.float32)
                      for name in ("start", "end", "radius", "end_radius")))
