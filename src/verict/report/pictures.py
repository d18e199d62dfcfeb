"""Pictures of a marked place: the slice, the place enlarged, its noise, and the detector's score map.

Each picture is a small greyscale PNG with its marks drawn over it as vector shapes, so that it stays
sharp in print and a page with many of them stays small. All coordinates of marks are mm on the slice,
from the outer corner of pixel (0, 0).
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from verict.detect.result import Region, RegionPicture

LUNG_WINDOW_HU = (-1350.0, 150.0)  # level -600, width 1500: the usual lung window
ZOOM_LEAST_MM = 64.0  # twice the side of a CT-GAN cuboid (doi:10.48550/arXiv.1901.03597), so its surroundings show
ZOOM_MOST_MM = 160.0
_SCALE_BARS_MM = (1, 2, 5, 10, 20, 50, 100)
_COLOURS = np.array(  # dark violet, red, orange, pale yellow: brighter and lighter together, for colour-blind readers
    [[60, 9, 101], [187, 55, 84], [249, 142, 9], [252, 255, 164]], np.float32
)


@dataclass(frozen=True)
class Image2D:
    """A PNG as a data URI and where it lies, in mm on the slice."""

    uri: str
    x_mm: float
    y_mm: float
    width_mm: float
    height_mm: float


@dataclass(frozen=True)
class Panel:
    """One picture: its image, what is drawn on it, and its words.

    ``view_mm`` is (x, y, width, height). ``contour`` is an SVG path; ``box_mm`` marks the part another
    panel enlarges; ``scale_bar_mm`` is 0 where the pixel spacing is not known.
    """

    title: str
    caption: str
    image: Image2D
    view_mm: tuple[float, float, float, float]
    overlay: Image2D | None = None
    contour: str = ""
    box_mm: tuple[float, float, float, float] | None = None
    scale_bar_mm: float = 0.0


@dataclass(frozen=True)
class ScoreScale:
    """The colours of a score map: its lowest and highest shown score, and where the threshold lies (0 to 1)."""

    low: float
    high: float
    threshold: float | None

    @property
    def threshold_at(self) -> float | None:
        """Place of the threshold on the scale, 0 to 1, or None."""
        if self.threshold is None or not self.low <= self.threshold <= self.high:
            return None
        return (self.threshold - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Figure:
    """All panels of one marked place, or of one overview slice."""

    slice_index: int
    panels: tuple[Panel, ...]
    scale: ScoreScale | None


def draw_figure(picture: RegionPicture, region: Region | None, mark_threshold: float | None = None) -> Figure:
    """Draw what was kept of one region or nodule.

    Parameters
    ----------
    picture
        The pixels kept for it.
    region
        The region, or None for a nodule without one and for an overview slice without a mark.
    mark_threshold
        Score at and above which a cell was marked, if known.
    """
    spacing = _usable_spacing(picture.pixel_spacing_mm)
    scale = fit_scale(picture.score, mark_threshold)
    overlay = None if scale is None else _draw_scores(picture, scale, spacing)
    bounds = region.bounds[2:] if region else _bounds_of(picture.contour) if picture.nodule >= 0 else None
    if bounds is None:
        panels = _draw_overview(picture, spacing, overlay)
    else:
        enclosed = "encloses the marked cells" if region else "is a ring around the nodule"
        panels = _draw_place(picture, choose_crop(picture.hu.shape, bounds, spacing), spacing, overlay, enclosed)
    return Figure(picture.slice_index, tuple(panels), scale)


def _draw_overview(
    picture: RegionPicture, spacing: tuple[float, float], overlay: Image2D | None
) -> list[Panel]:
    """A whole slice, and again under its score map where it has one."""
    known_mm = spacing == tuple(picture.pixel_spacing_mm)
    whole = (0, picture.hu.shape[0], 0, picture.hu.shape[1])
    lung = draw_grey(picture.hu, *LUNG_WINDOW_HU)
    size = _describe_size(whole, spacing, known_mm=known_mm)
    panels = [_make_panel("Slice", f"Lung window; {size}.", lung, whole, spacing, known_mm=known_mm)]
    if overlay:
        panels.append(_make_panel("Score map", "Colours as in the scale below.", lung, whole, spacing,
                                  known_mm=known_mm, overlay=overlay))
    return panels


def _draw_place(
    picture: RegionPicture,
    crop: tuple[int, int, int, int],
    spacing: tuple[float, float],
    overlay: Image2D | None,
    enclosed: str,
) -> list[Panel]:
    """A place on its slice, enlarged, its noise, and under the score map where there is one.

    ``crop`` is the part to enlarge, see `choose_crop`; ``enclosed`` says what the contour does.
    """
    known_mm = spacing == tuple(picture.pixel_spacing_mm)
    whole = (0, picture.hu.shape[0], 0, picture.hu.shape[1])
    contour = trace_contour(picture.contour, spacing)
    lung = draw_grey(picture.hu, *LUNG_WINDOW_HU)
    size, zoomed = (_describe_size(part, spacing, known_mm=known_mm) for part in (whole, crop))
    limit_hu = noise_limit(picture.residual, crop)
    noise = draw_grey(picture.residual, -limit_hu, limit_hu)
    panels = [
        _make_panel("Whole slice", f"Lung window (level -600, width 1500 HU); {size}. The frame is enlarged beside it.",
                    lung, whole, spacing, known_mm=known_mm, contour=contour, box=_box_mm(crop, spacing)),
        _make_panel("Enlarged", f"The same, {zoomed}. The line {enclosed}.",
                    lung, crop, spacing, known_mm=known_mm, contour=contour),
        _make_panel("Noise", f"What remains when everything smooth is taken away, shown from -{limit_hu:.0f} to "
                             f"+{limit_hu:.0f} HU. Painted places often differ in grain.",
                    noise, crop, spacing, known_mm=known_mm),
    ]
    if overlay:
        panels.append(_make_panel("Score map", "The detector's score in colour, as in the scale below.",
                                  lung, crop, spacing, known_mm=known_mm, overlay=overlay, contour=contour))
    return panels


def draw_grey(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """(y, x) uint8 grey levels of ``values`` windowed from ``low`` to ``high``; what is not finite is black."""
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / (high - low)
    return np.round(np.clip(scaled, 0.0, 1.0) * 255.0).astype(np.uint8)


def encode_png(pixels: np.ndarray) -> str:
    """A (y, x) or (y, x, 4) uint8 image as a PNG data URI."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def noise_limit(residual: np.ndarray, crop: tuple[int, int, int, int]) -> float:
    """Half the width of the grey window for a residual: five robust standard deviations, at least 1 HU."""
    y0, y1, x0, x1 = crop
    part = np.abs(residual[y0:y1, x0:x1])
    part = part[np.isfinite(part)]
    # 1.4826 turns the median absolute deviation of Gaussian noise into its standard deviation.
    return max(1.0, 5 * 1.4826 * float(np.median(part))) if part.size else 1.0


def fit_scale(score: np.ndarray, threshold: float | None) -> ScoreScale | None:
    """The colour scale of one slice's scores: from their median to their highest, the threshold inside it.

    None where no score is finite.
    """
    finite = score[np.isfinite(score)]
    if not finite.size:
        return None
    low, high = float(np.median(finite)), float(finite.max())
    if threshold is not None and math.isfinite(threshold):
        low, high = min(low, threshold), max(high, threshold)
    else:
        threshold = None
    return ScoreScale(low, high if high > low else low + 1.0, threshold)


def colour_scores(score: np.ndarray, scale: ScoreScale) -> np.ndarray:
    """(rows, columns, 4) uint8 colours of scores: the lower the more transparent, undefined cells wholly so."""
    place = np.clip((np.nan_to_num(score, nan=scale.low) - scale.low) / (scale.high - scale.low), 0.0, 1.0)
    stops = np.linspace(0.0, 1.0, len(_COLOURS))
    channels = [np.interp(place, stops, _COLOURS[:, c]) for c in range(3)]
    alpha = np.where(np.isfinite(score), 40.0 + 160.0 * place, 0.0)
    return np.round(np.stack([*channels, alpha], axis=-1)).astype(np.uint8)


def css_gradient() -> str:
    """The colours of `colour_scores` as a CSS gradient, low to high."""
    return "linear-gradient(to right, {})".format(", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in _COLOURS))


def trace_contour(mask: np.ndarray, spacing: tuple[float, float]) -> str:
    """The outline of a (y, x) bool mask as an SVG path in mm, inner holes closed; "" for an empty mask."""
    if not mask.any():
        return ""
    filled = np.pad(ndimage.binary_fill_holes(mask), 1).astype(np.int8)
    dy, dx = spacing
    parts = []
    for line, runs in _runs(np.diff(filled, axis=0)[:, 1:-1] != 0):
        parts += [f"M{a * dx:.2f} {line * dy:.2f}H{b * dx:.2f}" for a, b in runs]
    for line, runs in _runs((np.diff(filled, axis=1)[1:-1] != 0).T):
        parts += [f"M{line * dx:.2f} {a * dy:.2f}V{b * dy:.2f}" for a, b in runs]
    return "".join(parts)


def _runs(edges: np.ndarray) -> list[tuple[int, list[tuple[int, int]]]]:
    """Runs of True in each row that has any: (row, [(start, stop), ...])."""
    found = []
    for row in np.flatnonzero(edges.any(axis=1)).tolist():
        steps = np.flatnonzero(np.diff(np.pad(edges[row], 1).astype(np.int8)))
        found.append((row, list(zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True))))
    return found


def _bounds_of(contour: np.ndarray) -> tuple[int, int, int, int] | None:
    """Inclusive box (y0, y1, x0, x1) of a (y, x) bool mask, None where it is empty."""
    rows, columns = (np.flatnonzero(contour.any(axis=axis)) for axis in (1, 0))
    return (int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])) if rows.size else None


def choose_crop(
    shape: tuple[int, int], bounds: tuple[int, int, int, int], spacing: tuple[float, float]
) -> tuple[int, int, int, int]:
    """The part of a slice to enlarge, (y0, y1, x0, x1) with ends excluded: a place and about as much around it.

    ``bounds`` is the place's inclusive box (y0, y1, x0, x1) in pixels, ``spacing`` (y, x) in mm.
    """
    y0, y1, x0, x1 = bounds
    extent_mm = max((y1 - y0 + 1) * spacing[0], (x1 - x0 + 1) * spacing[1])
    side_mm = min(max(2.0 * extent_mm, ZOOM_LEAST_MM), ZOOM_MOST_MM)
    crop: list[int] = []
    for size, low, high, step in zip(shape, (y0, x0), (y1, x1), spacing, strict=True):
        length = min(size, max(8, round(side_mm / step)))
        start = min(max(0, round((low + high + 1 - length) / 2)), size - length)
        crop += [start, start + length]
    return crop[0], crop[1], crop[2], crop[3]


def choose_scale_bar(width_mm: float) -> float:
    """The longest round length that takes at most 30 % of the width."""
    fitting = [bar for bar in _SCALE_BARS_MM if bar <= 0.3 * width_mm]
    return float(fitting[-1]) if fitting else 0.0


def _usable_spacing(spacing: tuple[float, float]) -> tuple[float, float]:
    """The spacing, or 1 mm each way where it cannot be one."""
    y, x = spacing
    if math.isfinite(y) and math.isfinite(x) and y > 0 and x > 0:
        return y, x
    return 1.0, 1.0


def _box_mm(crop: tuple[int, int, int, int], spacing: tuple[float, float]) -> tuple[float, float, float, float]:
    y0, y1, x0, x1 = crop
    return x0 * spacing[1], y0 * spacing[0], (x1 - x0) * spacing[1], (y1 - y0) * spacing[0]


def _describe_size(crop: tuple[int, int, int, int], spacing: tuple[float, float], *, known_mm: bool) -> str:
    _, _, width, height = _box_mm(crop, spacing)
    return f"{width:.0f} x {height:.0f} {'mm' if known_mm else 'pixels, their size in mm is not known'}"


def _make_panel(
    title: str,
    caption: str,
    grey: np.ndarray,
    crop: tuple[int, int, int, int],
    spacing: tuple[float, float],
    *,
    known_mm: bool,
    overlay: Image2D | None = None,
    contour: str = "",
    box: tuple[float, float, float, float] | None = None,
) -> Panel:
    y0, y1, x0, x1 = crop
    view = _box_mm(crop, spacing)
    return Panel(
        title=title,
        caption=caption,
        image=Image2D(encode_png(grey[y0:y1, x0:x1]), *view),
        view_mm=view,
        overlay=overlay,
        contour=contour,
        box_mm=box,
        scale_bar_mm=choose_scale_bar(view[2]) if known_mm else 0.0,
    )


def _draw_scores(picture: RegionPicture, scale: ScoreScale, spacing: tuple[float, float]) -> Image2D:
    """The coloured score map laid where its cells are: cell (i, j) is centred at pixel origin + i, j times stride."""
    rows, columns = picture.score.shape
    stride = picture.stride_px
    # Pixel centres lie half a pixel from the corner, cell edges half a stride from the cell's centre.
    corner = picture.origin_px + 0.5 - stride / 2
    return Image2D(
        encode_png(colour_scores(picture.score, scale)),
        corner * spacing[1], corner * spacing[0], columns * stride * spacing[1], rows * stride * spacing[0],
    )
