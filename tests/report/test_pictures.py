"""Windows, contours, crops and score maps lie exactly where the pixels are."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from report.page import decode_png
from report.results import make_picture, make_region

from verict.report.pictures import (
    LUNG_WINDOW_HU,
    choose_crop,
    choose_scale_bar,
    colour_scores,
    css_gradient,
    draw_figure,
    draw_grey,
    encode_png,
    fit_scale,
    noise_limit,
    trace_contour,
)


def test_lung_window_maps_its_ends_to_black_and_white() -> None:
    values = np.array([[-2000, -1350, -600, 150, 3000], [np.nan, np.inf, -np.inf, -975, -225]], np.float32)
    assert draw_grey(values, *LUNG_WINDOW_HU).tolist() == [[0, 0, 128, 255, 255], [0, 255, 0, 64, 191]]


def test_png_keeps_every_pixel() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(decode_png(encode_png(grey)), grey)


def _segments(path: str) -> set[tuple[float, float, float, float]]:
    found = set()
    for x, y, way, end in re.findall(r"M([\d.]+) ([\d.]+)([HV])([\d.]+)", path):
        x0, y0, stop = float(x), float(y), float(end)
        found.add((x0, y0, stop, y0) if way == "H" else (x0, y0, x0, stop))
    return found


def test_contour_follows_the_outer_edges_of_pixels() -> None:
    mask = np.zeros((6, 8), bool)
    mask[2:4, 3:7] = True
    assert _segments(trace_contour(mask, (0.5, 2.0))) == {
        (6.0, 1.0, 14.0, 1.0), (6.0, 2.0, 14.0, 2.0), (6.0, 1.0, 6.0, 2.0), (14.0, 1.0, 14.0, 2.0),
    }  # fmt: skip


def test_contour_of_a_ring_is_its_outer_edge() -> None:
    filled = np.zeros((9, 9), bool)
    filled[2:7, 2:7] = True
    ring = filled.copy()
    ring[3:6, 3:6] = False
    assert trace_contour(ring, (1.0, 1.0)) == trace_contour(filled, (1.0, 1.0))


def test_contour_at_the_border_and_of_nothing() -> None:
    assert len(_segments(trace_contour(np.ones((4, 4), bool), (1.0, 1.0)))) == 4
    assert trace_contour(np.zeros((4, 4), bool), (1.0, 1.0)) == ""


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((240, 271, 240, 271), (192, 320, 192, 320)),  # 32 px of 0.5 mm: 64 mm around it
        ((0, 31, 480, 511), (0, 128, 384, 512)),  # pushed inside at a corner
        ((100, 227, 100, 227), (36, 292, 36, 292)),  # 64 mm: twice as much
        ((0, 511, 0, 511), (96, 416, 96, 416)),  # never more than 160 mm
    ],
)
def test_crop(bounds: tuple, expected: tuple) -> None:
    assert choose_crop((512, 512), bounds, (0.5, 0.5)) == expected


def test_crop_of_a_slice_smaller_than_the_crop() -> None:
    assert choose_crop((40, 512), (10, 20, 10, 20), (1.0, 1.0)) == (0, 40, 0, 64)


@pytest.mark.parametrize(("width", "bar"), [(360.0, 100), (64.0, 10), (160.0, 20), (2.0, 0), (4.0, 1)])
def test_scale_bar(width: float, bar: int) -> None:
    assert choose_scale_bar(width) == bar


def test_noise_window_follows_the_noise_not_its_outliers() -> None:
    residual = np.random.default_rng(0).normal(0, 20, (100, 100)).astype(np.float32)
    residual[:5] = 4000
    assert noise_limit(residual, (0, 100, 0, 100)) == pytest.approx(100, rel=0.1)
    assert noise_limit(np.zeros((4, 4), np.float32), (0, 4, 0, 4)) == 1.0


@pytest.mark.parametrize(
    ("score", "threshold", "expected"),
    [
        ([0.0, 1.0, 2.0], 1.5, (1.0, 2.0, 0.5)),
        ([0.0, 1.0, 2.0], 5.0, (1.0, 5.0, 1.0)),
        ([6.0, 7.0, 8.0], 5.0, (5.0, 8.0, 0.0)),
        ([3.0, 3.0, np.nan], None, (3.0, 4.0, None)),
        ([0.0, 1.0, 2.0], math.nan, (1.0, 2.0, None)),
    ],
)
def test_score_scale_holds_the_threshold(score: list, threshold: float | None, expected: tuple) -> None:
    scale = fit_scale(np.array([score], np.float32), threshold)
    assert scale is not None
    assert (scale.low, scale.high, scale.threshold_at) == expected


def test_score_scale_of_nothing() -> None:
    assert fit_scale(np.full((2, 2), np.nan, np.float32), 1.0) is None


def test_higher_scores_are_lighter_and_less_transparent() -> None:
    score = np.array([[0.0, 1.0, 2.0, 3.0, np.nan]], np.float32)
    colours = colour_scores(score, fit_scale(np.array([[0.0, 0.0, 3.0]]), None)).astype(int)[0]
    assert (np.diff(colours[:4, 3]) > 0).all()
    assert (np.diff(colours[:4, :3].sum(axis=1)) > 0).all()
    assert colours[4, 3] == 0
    assert css_gradient().count("rgb(") == 4


def test_score_cells_lie_over_their_pixels() -> None:
    """Cell (14, 8) of stride 4 from pixel 1.5 covers pixels 56 to 59 and 32 to 35: its edge is where the mark's is."""
    figure = draw_figure(make_picture(), make_region(), 4.0)
    assert [p.title for p in figure.panels] == ["Whole slice", "Enlarged", "Noise", "Score map"]
    panel = figure.panels[3]
    assert panel.overlay is not None
    cell_mm = panel.overlay.height_mm / 32
    assert panel.overlay.y_mm + 14 * cell_mm == pytest.approx(56 * 0.7)
    assert panel.overlay.x_mm + 8 * cell_mm == pytest.approx(32 * 0.7)
    tops = sorted(y for _, y, _, _ in _segments(panel.contour))
    assert tops[0] == pytest.approx(56 * 0.7, abs=0.01)


def test_enlarged_panel_is_the_framed_part_of_the_slice() -> None:
    figure = draw_figure(make_picture(), make_region(), None)
    whole, enlarged = figure.panels[0], figure.panels[1]
    assert whole.box_mm == enlarged.view_mm
    x, y, width, height = (round(v / 0.7) for v in enlarged.view_mm)
    np.testing.assert_array_equal(
        decode_png(whole.image.uri)[y : y + height, x : x + width], decode_png(enlarged.image.uri)
    )


def test_unequal_pixels_keep_their_shape() -> None:
    figure = draw_figure(replace(make_picture(), pixel_spacing_mm=(1.4, 0.7)), make_region())
    assert figure.panels[0].view_mm == pytest.approx((0, 0, 128 * 0.7, 128 * 1.4))


def test_no_scale_bar_without_a_spacing() -> None:
    figure = draw_figure(replace(make_picture(), pixel_spacing_mm=(0.0, 0.7)), make_region())
    assert {p.scale_bar_mm for p in figure.panels} == {0.0}
    assert "not known" in figure.panels[0].caption
