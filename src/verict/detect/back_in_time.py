"""Back-in-Time Diffusion: how far one reverse step of a diffusion model, learnt from untouched lung, moves a slice.

The method of Grabovski et al. (arXiv 2407.15169): no noise is added to what is examined. It is taken for a noisy image
as it is, the network predicts its noise, and one step of the reverse process is made, without new noise. Where the
texture is not one the network learnt from, the step moves more; where it is smoother than what a scanner leaves, less.
The score of a cell is therefore how far the logarithm of that residual lies from what is usual in the same slice at
places as bright: noise and vessels decide the size of any residual. No forgery was learnt from. Step index, window and
norm were chosen on a campaign of the lab and stand in the card.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from verict.ct.lungs import LungRegion
from verict.ct.volume import CTVolume
from verict.detect.evidence import Evidence, Needs, ScoreMap
from verict.detect.model import Model, load_model
from verict.detect.spectrum import note_undefined_slices
from verict.errors import ModelError

NAME = "back-in-time"
TRAINING_STEPS = 1000  # arXiv 2407.15169
SIGMOID_FROM, SIGMOID_TO = -3.0, 3.0  # the sigmoid schedule: Jabri et al., arXiv 2212.11972, algorithm 1, tau 1
LARGEST_BETA = 0.999
CELL_PX = 4  # the map's stride
ORIGIN_PX = (CELL_PX - 1) / 2
LEAST_RESIDUAL = 1e-6  # half windows; keeps the logarithm finite
BRIGHTNESS_HU = (-1050.0, 250.0)  # air to soft tissue: beyond, brightness says no more
DEVIATION = 1.4826  # a normal deviate's standard deviation over its median absolute deviation
LEAST_SPREAD = 1e-3
LEAST_CELLS = 20  # of lung on a slice, for a median
TILES_AT_ONCE = 8  # what one call of the network is shown: bounds the memory
WORDS = "the texture here is not what a model of untouched lung expects"

Denoise = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(n, 1, tile, tile) float32 in [-1, 1] and (n,) float32 steps, to the noise (n, 1, tile, tile) float32."""


@dataclass(frozen=True)
class Reading:
    """How a slice is shown to the network and its residual read; a card's ``input``.

    Parameters
    ----------
    window_hu
        HU are clipped to it and shown as -1 to 1.
    step
        Index of the reverse step, 0 (the last one, to the clean image) to 999.
    tile_px, margin_px
        Side of what the network is shown at once, and what is left out along its sides where tiles overlap.
    smoothing_cells
        Sigma of the Gaussian average of the residual's logarithm over cells of 4 pixels.
    brightness_bins
        0: the residual as it is. 1: against the slice's median. More: against the median of so many equal shares of
        the slice's cells, dealt by brightness.
    is_two_sided
        Whether a residual smaller than usual counts as one that is larger.
    is_standardised
        Whether the slice's own spread (median absolute deviation) is the unit.
    """

    window_hu: tuple[float, float]
    step: int
    tile_px: int
    margin_px: int
    smoothing_cells: float
    brightness_bins: int
    is_two_sided: bool
    is_standardised: bool


def read_card_input(card: Mapping[str, Any]) -> Reading:
    """The reading a card prescribes.

    Raises
    ------
    ModelError
        If a value is missing or none that can be used.
    """
    try:
        told = card["input"]
        low, high = (float(v) for v in told["window_hu"])
        reading = Reading((low, high), int(told["step"]), int(told["tile_px"]), int(told["margin_px"]),
                          float(told["smoothing_cells"]), int(told["brightness_bins"]), bool(told["is_two_sided"]),
                          bool(told["is_standardised"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError("the card does not say how slices are shown to the network", file=f"{NAME}.json",
                         found=error, next_step="reinstall verict, or train it again") from error
    if not (low < high and 0 <= reading.step < TRAINING_STEPS and 0 <= 2 * reading.margin_px < reading.tile_px
            and reading.brightness_bins >= 0 and reading.smoothing_cells >= 0):
        raise ModelError("the card shows slices to the network in a way that cannot be", file=f"{NAME}.json",
                         found=reading, next_step="reinstall verict, or train it again")
    return reading


class BackInTimeDetector:
    """One reverse step of a diffusion model that learnt from untouched scans only.

    Looks at one slice at a time, so it works on single slices; it sees pixels, never headers.

    Parameters
    ----------
    model
        The model to use; the shipped one by default.
    """

    name = NAME
    summary = "one reverse step of a diffusion model of untouched lung: texture it does not expect"
    needs = Needs(lungs=True)
    marks_tampering = True

    def __init__(self, model: Model | None = None) -> None:
        self.model = model

    def examine(self, volume: CTVolume, lungs: LungRegion | None, *, workers: int | None = None) -> Evidence:
        """Score every cell of the lungs. See `Detector.examine`.

        Raises
        ------
        ModelError
            If the model is missing or altered, or its card does not say how to use it.
        """
        model = self.model or load_model(self.name)
        reading = read_card_input(model.card)
        mask = np.zeros_like(volume.hu, dtype=bool) if lungs is None else lungs.mask

        def denoise(tiles: np.ndarray, steps: np.ndarray) -> np.ndarray:
            noise: np.ndarray = model.session.run(None, {"tiles": tiles, "step": steps})[0]
            return noise

        def score(z: int) -> np.ndarray:
            return score_slice(volume.hu[z], mask[z], denoise, reading)

        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            values = np.stack(list(pool.map(score, range(volume.slice_count))))
        return Evidence(
            self.name,
            score_map=ScoreMap(values, CELL_PX, ORIGIN_PX),
            notes=note_undefined_slices(self.name, values, lungs),
            card=model.card,
            mark_threshold=model.calibration["mark_threshold"],
            words=WORDS,
        )


def kept_signal(steps: int = TRAINING_STEPS) -> np.ndarray:
    """(steps,) float64 share of the signal's variance left at each noise step, falling from nearly 1 to nearly 0."""
    at = np.linspace(SIGMOID_FROM, SIGMOID_TO, steps + 1)
    ends = 1 / (1 + np.exp([-SIGMOID_FROM, -SIGMOID_TO]))
    kept = (ends[1] - 1 / (1 + np.exp(-at))) / (ends[1] - ends[0])
    betas = np.clip(1 - kept[1:] / kept[:-1], 0, LARGEST_BETA)
    left: np.ndarray = np.cumprod(1 - betas)
    return left


def to_network(hu: np.ndarray, window_hu: tuple[float, float]) -> np.ndarray:
    """HU clipped to the window, as float32 from -1 to 1. Training and scanning both come here."""
    low, high = window_hu
    return ((np.clip(hu, low, high).astype(np.float32) - low) * (2 / (high - low)) - 1).astype(np.float32)


def step_back(image: np.ndarray, noise: np.ndarray, step: int) -> np.ndarray:
    """The image one reverse step earlier, without new noise: the mean of DDPM's posterior (arXiv 2006.11239, eq. 7).

    The clean image that the predicted noise amounts to (eq. 15) is clipped to -1 to 1 as in the published code.

    Parameters
    ----------
    image, noise
        Float32, -1 to 1; taken for the noisy image, and what the network says is noise in it.
    step
        Index of the noise step, 0 to 999.
    """
    kept = kept_signal()
    now, before = kept[step], kept[step - 1] if step else 1.0
    beta = 1 - now / before
    clean = np.clip((image - np.sqrt(1 - now) * noise) / np.sqrt(now), -1, 1)
    mean = (np.sqrt(before) * beta * clean + np.sqrt(1 - beta) * (1 - before) * image) / (1 - now)
    return mean.astype(np.float32)


def score_slice(hu: np.ndarray, lung_mask: np.ndarray, denoise: Denoise, reading: Reading) -> np.ndarray:
    """(rows, columns) float32 score map of one slice, a cell every 4 pixels, NaN where undefined.

    Parameters
    ----------
    hu
        (y, x) Hounsfield units.
    lung_mask
        (y, x) bool.
    denoise
        See `Denoise`.
    reading
        See `Reading`.

    Returns
    -------
    numpy.ndarray
        How unusual the residual is; higher = more suspicious.
    """
    return score_cells(to_cells(residual_of(hu, lung_mask, denoise, reading), hu), reading)


def residual_of(hu: np.ndarray, lung_mask: np.ndarray, denoise: Denoise, reading: Reading) -> np.ndarray:
    """(y, x) float32 |x0 - x(-1)| in half windows where a tile holds lung, NaN elsewhere and outside the lungs."""
    image = to_network(hu, reading.window_hu)
    out = np.full(image.shape, np.nan, np.float32)
    for corners in _in_batches(_lay_tiles(lung_mask, reading)):
        tiles = np.stack([_cut(image, top, left, reading.tile_px) for top, left in corners])[:, None]
        noise = denoise(tiles, np.full(len(tiles), reading.step, np.float32))
        moved = np.abs(tiles - step_back(tiles, noise, reading.step))[:, 0]
        for (top, left), one in zip(corners, moved, strict=True):
            _paste(out, one, top, left, reading.margin_px)
    out[~lung_mask] = np.nan
    return out


def _lay_tiles(lung_mask: np.ndarray, reading: Reading) -> list[tuple[int, int]]:
    """Corners of the tiles whose inner parts cover the lungs; those at the image's edges reach beyond it."""
    if not lung_mask.any():
        return []
    inner = reading.tile_px - 2 * reading.margin_px
    rows, columns = (np.flatnonzero(lung_mask.any(axis=axis)) for axis in (1, 0))
    return [
        (top - reading.margin_px, left - reading.margin_px)
        for top in range(int(rows[0]), int(rows[-1]) + 1, inner)
        for left in range(int(columns[0]), int(columns[-1]) + 1, inner)
        if lung_mask[top : top + inner, left : left + inner].any()
    ]


def _in_batches(corners: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    for start in range(0, len(corners), TILES_AT_ONCE):
        yield corners[start : start + TILES_AT_ONCE]


def _cut(image: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """A square of an image, which is mirrored at its edges."""
    rows, columns = (_mirror(np.arange(at, at + side), n) for at, n in zip((top, left), image.shape, strict=True))
    return image[np.ix_(rows, columns)]


def _mirror(index: np.ndarray, count: int) -> np.ndarray:
    period = max(2 * count - 2, 1)
    folded = np.abs(index) % period
    return np.minimum(folded, period - folded)


def _paste(out: np.ndarray, tile: np.ndarray, top: int, left: int, margin: int) -> None:
    side = len(tile) - margin
    rows = slice(max(top + margin, 0), min(top + side, out.shape[0]))
    columns = slice(max(left + margin, 0), min(left + side, out.shape[1]))
    out[rows, columns] = tile[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]


@dataclass(frozen=True, eq=False)
class Cells:
    """(rows, columns) each: logarithm of the mean residual and mean HU of cells, float32, and which are lung, bool.

    Where a cell is no lung the first is 0.
    """

    residual: np.ndarray
    brightness_hu: np.ndarray
    is_lung: np.ndarray


def to_cells(residual: np.ndarray, hu: np.ndarray) -> Cells:
    """Cells of 4 x 4 pixels of a (y, x) residual that is NaN outside the lungs; half of a cell at least is lung."""
    rows, columns = (n // CELL_PX for n in residual.shape)

    def deal(image: np.ndarray) -> np.ndarray:
        return image[: rows * CELL_PX, : columns * CELL_PX].reshape(rows, CELL_PX, columns, CELL_PX)

    counted = np.isfinite(deal(residual))
    number = counted.sum(axis=(1, 3))
    total = np.where(counted, deal(residual), 0).sum(axis=(1, 3))
    is_lung = number >= CELL_PX**2 / 2
    log = np.log(np.maximum(total / np.maximum(number, 1), LEAST_RESIDUAL))
    brightness = deal(np.clip(hu, *BRIGHTNESS_HU).astype(np.float32)).mean(axis=(1, 3))
    return Cells(np.where(is_lung, log, 0).astype(np.float32), brightness, is_lung)


def score_cells(cells: Cells, reading: Reading) -> np.ndarray:
    """(rows, columns) float32 score; NaN where a cell is no lung, and everywhere on a slice with too little of it."""
    out = np.full(cells.is_lung.shape, np.nan, np.float32)
    if cells.is_lung.sum() < LEAST_CELLS:
        return out
    values = cells.residual.astype(np.float64)
    if reading.brightness_bins:
        values[cells.is_lung] -= _usual_residual(cells, reading.brightness_bins)
    if reading.smoothing_cells:
        weight, total = (
            ndimage.gaussian_filter(part, reading.smoothing_cells, mode="constant")
            for part in (cells.is_lung.astype(np.float64), np.where(cells.is_lung, values, 0))
        )
        values = total / np.maximum(weight, 1e-6)
    score = values[cells.is_lung]
    if reading.brightness_bins:
        score = score - np.median(score)
    if reading.is_standardised:
        score = score / max(float(np.median(np.abs(score - np.median(score)))) * DEVIATION, LEAST_SPREAD)
    out[cells.is_lung] = np.abs(score) if reading.is_two_sided else score
    return out


def _usual_residual(cells: Cells, bins: int) -> np.ndarray:
    """(lung cells,) the median logarithm among cells about as bright."""
    residual, brightness = cells.residual[cells.is_lung], cells.brightness_hu[cells.is_lung]
    edges = np.quantile(brightness, np.linspace(0, 1, bins + 1))
    dealt = np.clip(np.searchsorted(edges, brightness, side="right") - 1, 0, bins - 1)
    usual = np.full(bins, np.median(residual), np.float64)
    for index in np.unique(dealt):
        usual[index] = np.median(residual[dealt == index])
    return usual[dealt]
