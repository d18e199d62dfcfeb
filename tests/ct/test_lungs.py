"""Lung regions on simulated slices, whose truth is known, and on the real CT data.

Coordinates of the simulated body are mm from the image centre: x to the right, y down (to the back).
"""

from __future__ import annotations

import importlib.util
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from verict.ct.lungs import LungRegion, find_lungs
from verict.ct.volume import CTVolume

AIR, LUNG, GAS, SOFT, BONE = -1000, -860, -995, 40, 900
RIGHT, LEFT = (-75.0, 5.0), (75.0, 5.0)  # centres of the lungs
LUNG_RADII = (52.0, 75.0)
FOV_MM = 360.0


class Slice:
    """One simulated chest slice on a square grid, drawn ellipse by ellipse."""

    def __init__(self, size: int = 256, spacing_mm: float | None = None, fill: float = AIR) -> None:
        self.spacing_mm = spacing_mm or FOV_MM / size
        axis = (np.arange(size) - (size - 1) / 2) * self.spacing_mm
        self.y, self.x = axis[:, None], axis[None, :]
        self.hu = np.full((size, size), float(fill))

    def inside(self, centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
        """(y, x) bool: the ellipse around `centre` (x, y) with `radii` (x, y), in mm."""
        return ((self.x - centre[0]) / radii[0]) ** 2 + ((self.y - centre[1]) / radii[1]) ** 2 <= 1

    def draw(self, centre: tuple[float, float], radii: tuple[float, float], hu: float) -> Slice:
        """Fill an ellipse."""
        self.hu[self.inside(centre, radii)] = hu
        return self

    def draw_body(self) -> Slice:
        """Soft tissue, spine, and a table under it: two thin shells with foam between."""
        self.hu[(abs(self.x) < 165) & (self.y > 133) & (self.y < 165)] = SOFT
        self.hu[(abs(self.x) < 162) & (self.y > 136) & (self.y < 162)] = -915
        self.draw((0, 0), (160, 115), SOFT)
        return self.draw((0, 80), (18, 20), BONE)

    def draw_lungs(self, scale: float = 1.0) -> Slice:
        """Two lungs with vessels, and the windpipe between them."""
        for cx, cy in (RIGHT, LEFT):
            self.draw((cx, cy), (LUNG_RADII[0] * scale, LUNG_RADII[1] * scale), LUNG)
            for step in range(-2, 3):
                self.draw((cx + 12 * step * scale, cy + 18 * step * scale), (2.5, 2.5), SOFT)
        return self.draw((0, 20), (8, 9), GAS)

    @property
    def lungs(self) -> np.ndarray:
        """(y, x) bool: the drawn lungs at scale 1."""
        return self.inside(RIGHT, LUNG_RADII) | self.inside(LEFT, LUNG_RADII)

    def add_noise(self, sd_hu: float, seed: int = 0) -> Slice:
        """Add white noise."""
        self.hu += np.random.default_rng(seed).normal(0, sd_hu, self.hu.shape)
        return self


def make_chest(**options: float) -> Slice:
    """A slice through both lungs with a little noise."""
    return Slice(**options).draw_body().draw_lungs().add_noise(20)


def make_crescent() -> Slice:
    """A slice through the lowest end of one lung."""
    return Slice().draw_body().draw((-75, 60), (25, 18), LUNG).draw((-75, 49), (36, 18), SOFT).add_noise(20)


def make_volume(
    slices: list[np.ndarray], spacing_mm: float, step_mm: float = 2.0, positions_mm: list[float] | None = None
) -> CTVolume:
    """The volume of some slices, `step_mm` apart or at `positions_mm`."""
    hu = np.stack(slices)
    if hu.dtype.kind == "f" and hu.dtype != np.float32:
        hu = np.rint(hu).astype(np.int16)
    z_mm = np.array(positions_mm if positions_mm is not None else np.arange(len(hu)) * step_mm, float)
    return CTVolume(
        hu=hu,
        origins_mm=np.stack([np.zeros_like(z_mm), np.zeros_like(z_mm), z_mm], axis=1),
        row_direction=np.array([1.0, 0, 0]),
        column_direction=np.array([0, 1.0, 0]),
        spacing_mm=(step_mm, spacing_mm, spacing_mm),
        series_instance_uid="1.2",
        study_instance_uid="1.1",
        sop_instance_uids=tuple(f"1.2.{i}" for i in range(len(hu))),
        frame_numbers=(1,) * len(hu),
        source_files=("",) * len(hu),
        slice_thickness_mm=step_mm,
    )


def find_in(*slices: Slice, **options: float) -> LungRegion:
    """The lungs of simulated slices as one volume."""
    return find_lungs(make_volume([one.hu for one in slices], slices[0].spacing_mm, **options))


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    """Dice coefficient."""
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


def test_single_slice_holds_lungs_and_their_margin_and_little_else() -> None:
    chest = make_chest()
    region = find_in(chest)
    mask = region.mask[0]
    assert region.mask.dtype == bool
    assert region.mask.shape == (1, 256, 256)
    assert region.found.tolist() == [True]
    assert region.any_found
    assert mask[chest.lungs].all(), "vessels and all of the lung"
    for cx, cy in (RIGHT, LEFT):
        assert mask[chest.inside((cx, cy), (LUNG_RADII[0] + 4, LUNG_RADII[1] + 4))].all(), "4 mm beyond the pleura"
    wide = chest.inside(RIGHT, (LUNG_RADII[0] + 9, LUNG_RADII[1] + 9))
    wide |= chest.inside(LEFT, (LUNG_RADII[0] + 9, LUNG_RADII[1] + 9))
    assert not mask[~wide].any(), "nothing 9 mm beyond it: no table, no windpipe, no mediastinum"


@pytest.mark.parametrize(
    ("centre", "radius_mm"),
    [
        pytest.param((-80, 0), 10, id="nodule inside"),
        pytest.param((80, -10), 22, id="mass inside"),
        pytest.param((-75 - 52 + 5, 5), 9, id="nodule at the side wall"),
        pytest.param((75, 5 + 75 - 4), 8, id="nodule at the back wall"),
        pytest.param((-75 + 52 - 4, 0), 9, id="nodule at the mediastinum"),
    ],
)
def test_nodules_lie_inside(centre: tuple[float, float], radius_mm: float) -> None:
    chest = Slice().draw_body().draw_lungs().draw(centre, (radius_mm, radius_mm), SOFT).add_noise(20)
    mask = find_in(chest).mask[0]
    assert mask[chest.inside(centre, (radius_mm, radius_mm)) & chest.lungs].all()


@pytest.mark.parametrize("noise_hu", [0, 50, 150, 300])
@pytest.mark.parametrize("size", [256, 512])
def test_noise_hardly_changes_the_region(noise_hu: float, size: int) -> None:
    clean = find_in(Slice(size).draw_body().draw_lungs()).mask[0]
    noisy = find_in(Slice(size).draw_body().draw_lungs().add_noise(noise_hu, seed=1)).mask[0]
    assert overlap(clean, noisy) > 0.97


@pytest.mark.parametrize("size", [64, 100, 256, 511, 512, 768])
def test_any_image_size_finds_the_same_lungs(size: int) -> None:
    chest = make_chest(size=size)
    mask = find_in(chest).mask[0]
    assert mask[chest.lungs].mean() > 0.99
    body = chest.inside((0, 0), (160, 115))
    assert 0.4 < mask.sum() / body.sum() < 0.65
    assert not mask[~body].any()


def test_pixels_need_not_be_square_nor_images() -> None:
    chest = make_chest(size=512)
    volume = make_volume([chest.hu[::2, 20:]], chest.spacing_mm)
    volume = replace(volume, spacing_mm=(2.0, 2 * chest.spacing_mm, chest.spacing_mm))
    mask = find_lungs(volume).mask[0]
    assert mask.shape == (256, 492)
    assert overlap(mask, find_in(chest).mask[0, ::2, 20:]) > 0.95


@pytest.mark.parametrize("padding", [-1024, -2000, -3024, 63536])
@pytest.mark.parametrize("radius_mm", [178, 120])
def test_padding_outside_the_circle_is_not_taken_for_lung(padding: int, radius_mm: float) -> None:
    """At 120 mm the circle cuts through both lungs."""
    chest = make_chest()
    circle = chest.inside((0, 0), (radius_mm, radius_mm))
    chest.hu[~circle] = padding
    hu = chest.hu.astype(np.float32 if padding > 32767 else np.int16)
    mask = find_lungs(make_volume([hu], chest.spacing_mm)).mask[0]
    assert not mask[~chest.inside((0, 0), (radius_mm + 3, radius_mm + 3))].any()
    assert mask[chest.lungs & circle].mean() > 0.98


def test_lung_cut_off_by_the_image_is_kept() -> None:
    chest = make_chest()
    left = round(128 - 100 / chest.spacing_mm)  # through the right lung
    mask = find_lungs(make_volume([chest.hu[:, left:]], chest.spacing_mm)).mask[0]
    assert mask[chest.lungs[:, left:]].mean() > 0.98


def test_float_volumes_give_the_same_mask() -> None:
    chest = make_chest()
    whole = np.rint(chest.hu)
    as_integer = find_lungs(make_volume([whole.astype(np.int16)], chest.spacing_mm))
    as_float = find_lungs(make_volume([whole.astype(np.float32)], chest.spacing_mm))
    assert (as_integer.mask == as_float.mask).all()


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_patient_may_lie_in_any_position(quarter_turns: int) -> None:
    chest = make_chest()
    upright = find_in(chest).mask[0]
    turned = find_lungs(make_volume([np.rot90(chest.hu, quarter_turns)], chest.spacing_mm)).mask[0]
    assert overlap(np.rot90(upright, quarter_turns), turned) > 0.97


def test_effusion_on_one_side_leaves_the_other() -> None:
    chest = Slice().draw_body().draw_lungs().draw(LEFT, LUNG_RADII, 15).add_noise(20)
    mask = find_in(chest).mask[0]
    assert mask[chest.inside(RIGHT, LUNG_RADII)].all()
    assert not mask[chest.inside(LEFT, (40, 60))].any()


def no_lung_cases() -> list[object]:
    noise = np.random.default_rng(3)
    head = Slice().draw((0, 0), (75, 95), SOFT).draw((0, 0), (70, 90), BONE).draw((0, 0), (63, 83), SOFT)
    head.draw((-20, -55), (13, 16), GAS).draw((20, -55), (13, 16), GAS)
    for step in range(24):  # mastoid cells: small, gas and bone averaged
        head.draw((-55 + 3 * (step % 4), 25 + 3 * (step // 4)), (1.4, 1.4), GAS)
    abdomen = Slice().draw_body().draw((40, -70), (30, 14), GAS).draw((-50, -60), (16, 14), GAS)
    neck = Slice().draw((0, 0), (120, 60), SOFT).draw((0, -15), (9, 10), GAS)
    water = Slice().draw((0, 0), (100, 100), 0)
    hole = Slice().draw((0, 0), (100, 100), 0).draw((30, 0), (25, 25), AIR)
    cases = {"head": head, "abdomen with gas": abdomen, "windpipe alone": neck, "water": water, "hole in water": hole}
    arrays = {name: case.add_noise(15).hu for name, case in cases.items()}
    arrays["all air"] = Slice().add_noise(15).hu
    arrays["table alone"] = Slice().draw_body().draw((0, 0), (160, 130), AIR).add_noise(15).hu
    for value in (-3024, -1000, -800, 0, 3000):
        arrays[f"constant {value}"] = np.full((256, 256), float(value))
    for mean, sd in ((0, 500), (-700, 200), (-900, 100)):
        arrays[f"noise around {mean}"] = noise.normal(mean, sd, (256, 256))
    arrays["one pixel"] = np.full((1, 1), -800.0)
    arrays["one row"] = np.full((1, 256), -800.0)
    return [pytest.param(hu, id=name) for name, hu in arrays.items()]


@pytest.mark.parametrize("hu", no_lung_cases())
@pytest.mark.parametrize("count", [1, 12])
def test_no_lung_where_there_is_none(hu: np.ndarray, count: int) -> None:
    region = find_lungs(make_volume([hu] * count, FOV_MM / 256, step_mm=3.0))
    assert not region.any_found
    assert not region.mask.any()
    assert not region.found.any()
    assert [note.code for note in region.notes] == ["no_lung"]


def test_volume_takes_gas_away_and_keeps_thin_bases() -> None:
    """Stomach gas just below the lungs is no lung; the last crescent of lung is, as part of the lungs above."""
    abdomen = Slice().draw_body().draw((40, -60), (30, 14), GAS).add_noise(20)
    crescent = make_crescent()
    chests = [Slice().draw_body().draw_lungs().add_noise(20, seed=i) for i in range(4)]
    region = find_in(abdomen, crescent, *chests, step_mm=4.0)
    assert region.found.tolist() == [False, True, True, True, True, True]
    assert find_in(crescent).found.tolist() == [False], "alone it is too small to be sure of"


def test_gap_separates_runs() -> None:
    """Slices beyond a gap are judged without the others, whatever those hold."""
    crescent, chest = make_crescent(), make_chest()
    slices = [crescent, chest, chest, chest]
    assert find_in(*slices, step_mm=4.0).found.tolist() == [True] * 4
    assert find_in(*slices, step_mm=4.0, positions_mm=[0, 40, 44, 48]).found.tolist() == [False, True, True, True]


def test_single_slices_give_the_same_alone_and_in_company() -> None:
    chest, abdomen = make_chest(), Slice().draw_body().add_noise(20)
    together = find_in(chest, abdomen, chest, step_mm=5.0, positions_mm=[0, 50, 120])
    alone = find_in(chest, step_mm=5.0)
    assert together.found.tolist() == [True, False, True]
    assert (together.mask[0] == alone.mask[0]).all()
    assert (together.mask[2] == alone.mask[0]).all()


def test_slices_at_one_position_are_judged_alone() -> None:
    chest = make_chest()
    region = find_in(chest, Slice().draw_body(), step_mm=0.0, positions_mm=[0, 0])
    assert region.found.tolist() == [True, False]


@pytest.mark.parametrize("step_mm", [0.6, 1.0, 1.25, 2.5, 5.0, 10.0])
def test_any_slice_distance(step_mm: float) -> None:
    """Also where thin slices are averaged and their number is no multiple; 10 slices below and 27 with lung."""
    abdomen, chest = Slice(128).draw_body(), Slice(128).draw_body().draw_lungs()
    slices = [abdomen] * 10 + [chest] * 27
    region = find_in(*slices, step_mm=step_mm)
    assert not region.found[:7].any()
    assert region.found[10:].all()
    assert region.mask[12:, chest.lungs].all()


def test_same_answer_twice_and_volume_untouched() -> None:
    volume = make_volume([make_chest().hu] * 5, FOV_MM / 256)
    before = volume.hu.copy()
    volume.hu.flags.writeable = False
    assert (find_lungs(volume).mask == find_lungs(volume).mask).all()
    assert (volume.hu == before).all()


def test_pieces_of_work_do_not_show() -> None:
    """A long series is worked through in pieces; shifting it by one slice changes nothing but the shift."""
    slices = [Slice(64).draw_body().draw_lungs(0.7 + 0.3 * np.sin(i / 9)).hu for i in range(70)]
    whole = find_lungs(make_volume(slices, FOV_MM / 64))
    later = find_lungs(make_volume(slices[1:], FOV_MM / 64))
    assert (whole.mask[1:] == later.mask).all()


def test_memory_stays_within_mask_and_a_fraction_of_the_volume() -> None:
    """300 slices of 512 x 512: at most the mask (79 MB) and a quarter of the volume (157 MB) at any moment."""
    hu = np.repeat(np.rint(make_chest(size=512).hu).astype(np.int16)[None], 300, axis=0)
    volume = replace(
        make_volume([hu[0]], FOV_MM / 512),
        hu=hu,
        origins_mm=np.arange(300)[:, None] * np.array([0, 0, 1.0]),
        spacing_mm=(1.0, FOV_MM / 512, FOV_MM / 512),
    )
    tracemalloc.start()
    try:
        region = find_lungs(volume)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert region.found.all()
    assert peak < region.mask.nbytes + 0.25 * hu.nbytes


@pytest.fixture(scope="module")
def sheet() -> ModuleType:
    """The script that draws the contact sheet: it counts the label sites and loads the real data."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "lung_contact_sheet.py"
    spec = importlib.util.spec_from_file_location("lung_contact_sheet", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_all_label_sites_lie_in_the_region(sheet: ModuleType, shared_data: Path) -> None:
    sites = sheet.list_sites(shared_data)
    missed = sheet.list_missed_sites(sites)
    print(f"labelled sites in the lung region: {len(sites) - len(missed)} of {len(sites)}")
    assert len(sites) == 55
    assert missed == []


def test_documented_nodule_lies_in_the_region(sheet: ModuleType, shared_data: Path) -> None:
    """LIDC-IDRI-0314, marked by four readers: x 184, y 243, 28 px wide, z -528.8 to -510.8 mm (nodules.csv)."""
    files = sorted((shared_data / "authentic" / "lidc-0314-philips-D").glob("*.dcm"))
    volume = sheet.load_volume(files[135:186])
    inside = (volume.positions_mm >= -528.8) & (volume.positions_mm <= -510.8)
    assert inside.sum() >= 17
    region = find_lungs(volume)
    assert region.found.all()
    assert region.mask[inside, 243 - 10 : 243 + 11, 184 - 10 : 184 + 11].all()


@pytest.mark.parametrize(
    ("folder", "first", "last"),
    [
        pytest.param("cmbcrc-ge-LUNG", 0, 89, id="table of foam; neck at the end"),
        pytest.param("petctdx-philips-B", 3, 55, id="abdomen at the start, windpipe alone at the end"),
        pytest.param("petctdx-siemens-B40f", 0, 28, id="thick slices, stomach gas beside the bases"),
    ],
)
def test_real_volumes(sheet: ModuleType, shared_data: Path, folder: str, first: int, last: int) -> None:
    """Lung on the slices a person sees it on (within two slices), one stretch, never most of the body."""
    (volume,) = sheet.load_folder(shared_data / "authentic" / folder)
    region = find_lungs(volume)
    slices = np.flatnonzero(region.found)
    assert abs(slices[0] - first) <= 2
    assert abs(slices[-1] - last) <= 2
    assert region.found[slices[0] : slices[-1] + 1].all()
    share = sheet.measure_body_share(volume, region)
    assert 0.3 < np.median(share[region.found]) < 0.6
    assert share.max() < 0.7


def test_real_single_slices(sheet: ModuleType, shared_data: Path) -> None:
    """51 single slices, among them abdomen, pelvis and neck: 36 show lung by eye, small remnants aside."""
    volumes = sheet.load_folder(shared_data / "authentic" / "tcga-singles")
    found = sum(int(find_lungs(volume).found.sum()) for volume in volumes)
    assert sum(volume.slice_count for volume in volumes) == 51
    assert 34 <= found <= 38
