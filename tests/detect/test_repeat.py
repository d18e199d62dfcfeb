"""Repeated noise: found where it was copied, mirrored, turned or added; nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.detect.volumes import make_lung_hu, make_volume
from verict.ct.discover import find_series
from verict.ct.lungs import LungRegion, find_lungs
from verict.ct.read import read_series
from verict.ct.volume import CTVolume
from verict.detect.evidence import Evidence
from verict.detect.repeat import ORIGIN_PX, STRIDE_PX, THRESHOLDS, RepeatDetector

SHAPE = (30, 112, 128)
SIZE = (12, 28, 28)
FROM, TO = (3, 8, 90), (16, 76, 16)


def _box(corner: tuple[int, int, int], size: tuple[int, int, int] = SIZE) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for a, n in zip(corner, size, strict=True))


def _examine(hu: np.ndarray) -> tuple[CTVolume, Evidence]:
    volume = make_volume(len(hu), hu=hu)
    lungs = LungRegion(np.ones(hu.shape, bool), np.ones(len(hu), bool))
    return volume, RepeatDetector().examine(volume, lungs, workers=1)


def _at(evidence: Evidence, corner: tuple[int, int, int], size: tuple[int, int, int] = SIZE) -> float:
    """The map in the middle of a box."""
    z, y, x = (a + n // 2 for a, n in zip(corner, size, strict=True))
    row, column = (round((v - ORIGIN_PX) / STRIDE_PX) for v in (y, x))
    return float(evidence.score_map.values[z, row, column])


def test_noise_of_its_own_everywhere_is_not_marked():
    _, evidence = _examine(make_lung_hu(SHAPE))
    assert np.nanmax(evidence.score_map.values) < THRESHOLDS["mark_threshold"]
    assert evidence.notes == ()


@pytest.mark.parametrize(("flips", "quarters"), [((), 0), ((0,), 1), ((1,), 0), ((0, 1), 3), ((), 2)])
def test_copied_tissue_is_found_at_both_places_whatever_its_turn(flips, quarters):
    hu = make_lung_hu(SHAPE, seed=3)
    hu[_box(TO)] = np.rot90(np.flip(hu[_box(FROM)], flips), quarters, (1, 2)) + 7  # fitted to another level
    _, evidence = _examine(hu)
    assert min(_at(evidence, FROM), _at(evidence, TO)) > THRESHOLDS["mark_threshold"] + 3
    marked = np.argwhere(evidence.score_map.values >= THRESHOLDS["mark_threshold"])
    for z, row, column in marked:
        place = np.array([z, row * STRIDE_PX, column * STRIDE_PX])
        away = [np.abs(place - np.add(corner, np.array(SIZE) // 2)).max() for corner in (FROM, TO)]
        assert min(away) <= 26, "marked where nothing was copied"
    assert {n.code for n in evidence.notes} == {"repeated_noise"}
    assert "correlation 0.9" in evidence.notes[0].message or "correlation 1.0" in evidence.notes[0].message


def test_noise_of_the_fixed_source_is_found_where_it_was_added_to_other_noise():
    hu = make_lung_hu(SHAPE, seed=4)
    middle = [int(part * n) for part, n in zip((0.5, 0.43, 0.27), SHAPE, strict=True)]
    source = hu[tuple(slice(m - n // 2, m - n // 2 + n) for m, n in zip(middle, (24, 40, 40), strict=True))]
    corner = (3, 64, 80)
    added = hu[_box(corner, source.shape)] + source - source.mean().astype(np.int16)
    hu[_box(corner, source.shape)] = added
    _, evidence = _examine(hu)
    assert _at(evidence, corner, source.shape) > THRESHOLDS["mark_threshold"] + 2
    told = evidence.notes[0].message
    assert "also at" in told and "mirrored" not in told


def test_the_same_noise_drawn_anew_is_not_found():
    hu = make_lung_hu(SHAPE, seed=4)
    hu[_box(TO)] += make_lung_hu(SIZE, seed=5, base_hu=0)
    _, evidence = _examine(hu)
    assert np.nanmax(evidence.score_map.values) < THRESHOLDS["mark_threshold"]


def test_one_slice_is_searched_within_itself_and_says_so():
    hu = make_lung_hu((1, 160, 160), seed=6)
    hu[0, 100:148, 100:148] = hu[0, 10:58, 20:68]
    _, evidence = _examine(hu)
    assert {n.code for n in evidence.notes} == {"within_slices", "repeated_noise"}
    assert _at(evidence, (0, 100, 100), (1, 48, 48)) > THRESHOLDS["mark_threshold"]
    _, clean = _examine(make_lung_hu((1, 160, 160), seed=6))
    assert [n.code for n in clean.notes] == ["within_slices"]


def test_undefined_outside_the_lungs_and_without_them():
    volume = make_volume(4, hu=make_lung_hu((4, 64, 64)))
    mask = np.zeros(volume.hu.shape, bool)
    mask[:, 16:48, 16:48] = True
    values = RepeatDetector().examine(volume, LungRegion(mask, np.ones(4, bool)), workers=1).score_map.values
    assert np.isfinite(values[:, 4:12, 4:12]).all() and np.isnan(values[:, :4]).all()
    without = RepeatDetector().examine(volume, None, workers=1)
    assert np.isnan(without.score_map.values).all()
    assert [n.code for n in without.notes] == ["no_lungs"]


def test_untouched_slices_are_unmarked_and_a_copy_in_them_is_found(shared_data):
    whole = read_series(find_series(shared_data / "authentic" / "petctdx-siemens-B70f").series[0], workers=1)
    lungs = find_lungs(whole)
    part = slice(8, 18)
    mask = lungs.mask[part]
    volume = replace(
        whole.without_headers(),
        hu=whole.hu[part],
        origins_mm=whole.origins_mm[part],
        sop_instance_uids=("",) * 10,
        frame_numbers=(1,) * 10,
        source_files=("",) * 10,
    )
    region = LungRegion(mask, lungs.found[part])
    untouched = RepeatDetector().examine(volume, region, workers=1)
    assert np.nanmax(untouched.score_map.values) < THRESHOLDS["mark_threshold"]
    (z0, y0, x0), (z1, y1, x1) = _lung_places(mask)
    hu = volume.hu.copy()
    source = hu[z0 - 1 : z0 + 2, y0 : y0 + 40, x0 : x0 + 40]
    hu[z1 - 1 : z1 + 2, y1 : y1 + 40, x1 : x1 + 40] = source[:, ::-1]
    values = RepeatDetector().examine(replace(volume, hu=hu), region, workers=1).score_map.values
    assert values[z1, (y1 + 20) // STRIDE_PX, (x1 + 20) // STRIDE_PX] > THRESHOLDS["mark_threshold"]


def _lung_places(mask: np.ndarray) -> list[tuple[int, int, int]]:
    """First corners (z, y, x) of two squares of 40 pixels that are all lung, far apart."""
    found: list[tuple[int, int, int]] = []
    for z in range(1, len(mask) - 1):
        for y in range(0, mask.shape[1] - 40, 10):
            for x in range(0, mask.shape[2] - 40, 10):
                apart = all(abs(z - f[0]) >= 4 or abs(x - f[2]) >= 80 for f in found)
                if apart and len(found) < 2 and mask[z - 1 : z + 2, y : y + 40, x : x + 40].all():
                    found.append((z, y, x))
    return found
