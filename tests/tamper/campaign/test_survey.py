"""What a source is found to offer, and every reason why one cannot be used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from builders import make_series
from tamper.campaign.sources import NODULES, SIDE, SLICES, SPACING_MM, make_chest

from verict.ct.discover import find_series
from verict.ct.read import read_series
from verict.datasets.splits import Scanner
from verict.errors import DatasetError, InputError, UsageError
from verict.tamper.campaign.survey import (
    HEALTHY_APART_MM,
    INJECTION_APART_MM,
    Source,
    Survey,
    find_sources,
    number_slices,
    read_source,
    survey_source,
)
from verict.tamper.forgery import Donor, ForgeryKind
from verict.tamper.mark import write_control


@pytest.fixture(scope="module")
def chest(tmp_path_factory) -> Path:
    return make_chest(tmp_path_factory.mktemp("survey") / "p1", seed=1)


@pytest.fixture(scope="module")
def kept(chest) -> tuple[Survey, list[Donor]]:
    donors: list[Donor] = []

    def keep(donor: Donor) -> int:
        donors.append(donor)
        return 100 + len(donors) - 1

    return survey_source(only_source(chest), 7, keep), donors


def only_source(folder: Path) -> Source:
    (source,), unusable = find_sources([folder])
    assert unusable == []
    return source


def distances(voxels: Sequence) -> np.ndarray:
    """(n, n) mm between voxels, inf of each from itself."""
    points = np.array(voxels) * SPACING_MM
    away = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return away + np.diag(np.full(len(points), np.inf))


def test_labelled_nodules_come_first_with_a_measured_size(kept):
    survey, _ = kept
    labelled = [spot for spot in survey.nodules if spot.origin == "label"]
    assert [spot.voxel for spot in labelled] == list(NODULES)
    assert all(10 < spot.diameter_mm < 20 for spot in labelled)
    assert all(spot.origin == "found" for spot in survey.nodules[len(labelled):])


def test_plain_lung_is_noted_away_from_nodules_and_apart(kept):
    survey, _ = kept
    for spots, apart_mm in ((survey.plain, INJECTION_APART_MM), (survey.healthy, HEALTHY_APART_MM)):
        assert len(spots) >= 4
        voxels = [spot.voxel for spot in spots]
        assert distances(voxels).min() >= apart_mm
        assert distances([*voxels, *NODULES])[-2:, :-2].min() >= apart_mm
        assert all(spot.diameter_mm is None and spot.place.depth_mm > 0 for spot in spots)


def test_tissue_is_put_aside_by_kind_without_a_patients_name(kept):
    survey, donors = kept
    for kind in ForgeryKind:
        own = [donors[number - 100] for number in survey.donors[kind]]
        assert own
        assert all(donor.kind is kind and donor.source.startswith("p1, voxel ") for donor in own)
    assert {d.source for d in donors if d.kind is ForgeryKind.INJECT} == {
        f"p1, voxel {z}, {y}, {x}" for z, y, x in NODULES
    }


def test_headers_tell_patient_scanner_and_slice_numbers(kept, chest):
    survey, _ = kept
    assert survey.patient == "PATIENT-1"
    assert survey.scanner == Scanner("philips", "m1")
    assert survey.kernel == "B"
    assert survey.numbers == tuple(range(1, SLICES + 1))
    assert survey.input_sha256 == read_series(find_series(chest).series[0]).input_sha256


def test_the_same_seed_finds_the_same_places_and_another_one_others(chest, kept):
    source = only_source(chest)
    again, other = (survey_source(source, seed, lambda _: 0) for seed in (7, 8))
    assert (again.plain, again.healthy) == (kept[0].plain, kept[0].healthy)
    assert other.plain != again.plain


def test_a_phantoms_own_sizes_are_taken(tmp_path):
    folder = make_chest(tmp_path / "p2", seed=2)
    z, y, x = NODULES[0]
    nodule = {"centre_voxel_zyx": [z + 0.3, y - 0.2, x + 0.1], "diameter_mm": 14.25}
    (folder / "phantom.json").write_text(json.dumps({"nodules": [nodule]}), encoding="utf-8")
    sizes = {s.voxel: s.diameter_mm for s in survey_source(only_source(folder), 7, lambda _: 0).nodules}
    assert sizes[NODULES[0]] == 14.25
    assert sizes[NODULES[1]] != 14.25, "measured, since the truth does not tell it"


def test_documented_nodules_of_a_collection_are_taken(tmp_path):
    folder = make_chest(tmp_path / "authentic" / "here", seed=3)
    (folder / "labels.csv").unlink()
    z, y, x = NODULES[0]
    table = "folder,type,instance_number,z_mm,x,y,extent_px,z_min_mm,z_max_mm,source\n"
    (tmp_path / "nodules.csv").write_text(f"{table}here,TM,{z + 1},0,{x},{y},6,0,0,four readers\n"
                                          f"elsewhere,TM,{z + 1},0,1,1,6,0,0,nobody\n", encoding="ascii")
    survey = survey_source(only_source(tmp_path / "authentic"), 7, lambda _: 0)
    first = survey.nodules[0]
    assert (first.voxel, first.origin, first.diameter_mm) == (NODULES[0], "label", 15.0)


@pytest.mark.parametrize(("told", "kept_numbers"), [
    (range(1, 5), [1, 2, 3, 4]), (range(40, 44), [40, 41, 42, 43]), (range(9, 5, -1), [9, 8, 7, 6]),
    ((1, 1, 2, 3), [1, 2, 3, 4]), ((None, 2, 3, 4), [1, 2, 3, 4]), ((1, 3, 5, 7), [1, 2, 3, 4]),
    ((1, 2, 4, 3), [1, 2, 3, 4]),
])  # fmt: skip
def test_slice_numbers_count_or_are_made_to(tmp_path, told, kept_numbers):
    make_series(tmp_path / "s", slices=4)
    volume = read_series(find_series(tmp_path / "s").series[0])
    for header, number in zip(volume.headers, told, strict=True):
        header.InstanceNumber = number
    before = [header.get("InstanceNumber") for header in volume.headers]
    numbered = number_slices(volume)
    assert [int(header.InstanceNumber) for header in numbered.headers] == kept_numbers
    assert [header.get("InstanceNumber") for header in volume.headers] == before, "the source's headers are its own"


def test_sources_stand_in_the_order_of_their_names(tmp_path):
    for name in ("b", "a", "c"):
        make_series(tmp_path / name, slices=2, patient_id=name)
    sources, _ = find_sources([tmp_path])
    assert [source.name for source in sources] == ["a", "b", "c"]
    sources, _ = find_sources([tmp_path / "c", tmp_path / "a"])
    assert [source.name for source in sources] == ["a", "c"]


@pytest.mark.parametrize(("change", "reason"), [
    ("single", "no neighbours"), ("gap", "gap"), ("air", "no lung"), ("marked", "forgery by verict"),
    ("table", "missing column type"), ("label", "cannot be used"), ("broken", "truncated"),
])  # fmt: skip
def test_a_source_that_cannot_be_used_says_why(tmp_path, change, reason):
    folder = make_chest(tmp_path / "p", seed=5) if change != "air" else tmp_path / "p"
    if change == "air":
        make_series(folder, hu=np.full((12, SIDE, SIDE), -1000, np.int16), spacing_mm=SPACING_MM)
    elif change in ("single", "gap"):
        (folder / "labels.csv").unlink()
        keep = {13} if change == "single" else {*range(1, 8), *range(12, 19), *range(23, 29)}
        for number in set(range(1, SLICES + 1)) - keep:
            (folder / f"{number:03d}.dcm").unlink()
    elif change == "marked":
        volume = read_series(find_series(folder).series[0])
        write_control(volume, tmp_path / "marked", {})
        folder = tmp_path / "marked"
    elif change == "table":
        (folder / "labels.csv").write_text("a,b\n1,2\n", encoding="ascii")
    elif change == "label":
        (folder / "labels.csv").write_text("type,uuid,slice,x,y\nTM,p,99,3,3\n", encoding="ascii")
    elif change == "broken":
        file = folder / "003.dcm"
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises((InputError, DatasetError), match=reason):
        survey_source(only_source(folder), 7, lambda _: 0)


def test_folders_without_series_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        find_sources([tmp_path / "absent"])
    with pytest.raises(DatasetError, match="no CT series"):
        find_sources([tmp_path])


def test_a_source_is_read_whole(chest):
    volume, lungs = read_source(only_source(chest))
    assert volume.hu.shape == (SLICES, SIDE, SIDE)
    assert lungs.any_found


def test_short_stretches_beside_a_long_one_are_passed_over(tmp_path):
    """A lone thin slice after a gap holds no place, and is no reason to refuse the rest."""
    folder = make_chest(tmp_path / "p", seed=6)
    (folder / "027.dcm").unlink()
    survey = survey_source(only_source(folder), 7, lambda _: 0)
    assert survey.shape[0] == SLICES - 1
    assert survey.plain
    assert all(spot.voxel[0] < SLICES - 2 for spot in (*survey.plain, *survey.healthy, *survey.nodules))
