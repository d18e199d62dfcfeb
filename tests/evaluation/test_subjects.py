"""Which places a scan gets, and that nothing else decides them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from detect.volumes import make_lungs, make_volume
from pydicom.dataset import Dataset
from scipy import ndimage

from verict.datasets.authentic import Nodule
from verict.datasets.scans import Label, Scan, Source
from verict.datasets.splits import Scanner
from verict.datasets.uci import SiteType
from verict.evaluation import subjects
from verict.evaluation.case import PlaceKind
from verict.evaluation.subjects import make_subject, painted_near_mm

SHAPE = (240, 400)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
LUNG = ((Y - 120) / 110) ** 2 + ((X - 200) / 190) ** 2 < 1
DISCS = [(120, 80), (120, 200), (120, 320)]


def make_slice(seed: int) -> np.ndarray:
    """A lung with three discs of 10 mm and vessels of 4 mm, pixels of 1 mm."""
    hu = np.where(LUNG, -850.0, 40.0)
    for y, x in DISCS:
        hu[np.hypot(Y - y, X - x) < 5] = 40
    for y in range(60, 190, 20):
        for x in range(50, 360, 30):
            if min(np.hypot(y - a, x - b) for a, b in DISCS) > 15:
                hu[np.hypot(Y - y, X - x) < 2] = 40
    return np.rint(ndimage.gaussian_filter(hu, 0.7) + np.random.default_rng(seed).normal(0, 10, SHAPE)).astype(np.int16)


def make_scan(slices: int, *, source=Source.AUTHENTIC, labels=None, avoid_mm=None, patient="p") -> Scan:
    hu = np.stack([make_slice(z) for z in range(slices)])
    volume = make_volume([100.0 * z for z in range(slices)], hu=hu, pixel_mm=(1.0, 1.0), thickness_mm=2.0)
    mask = np.repeat(LUNG[None], slices, axis=0)
    return Scan(
        source,
        "folder",
        patient,
        Scanner("ge", "a"),
        volume,
        make_lungs(mask),
        tuple(range(10, 10 + slices)),
        labels or {},
        avoid_mm or {},
    )


def labelled(*labels: Label, avoid=None, patient="p") -> Scan:
    near = np.array([(n.y, n.x) for n in labels], float) if avoid is None else np.array(avoid, float)
    return make_scan(2, source=Source.LABELLED, labels={1: labels}, avoid_mm={1: near}, patient=patient)


def of(subject, *kinds: str):
    return [p for p in subject.places if p.kind in kinds]


def test_labelled_slices_carry_labels_and_untouched_places_clear_of_them():
    subject = make_subject(labelled(Label(SiteType.FM, 120, 80), Label(SiteType.FB, 60, 60)), 0)
    assert {p.z for p in subject.places} == {1}
    assert [(p.kind, p.y, p.x) for p in of(subject, "FM", "FB")] == [("FM", 120, 80), ("FB", 60, 60)]
    assert len(of(subject, "parenchyma")) == 20
    assert len(of(subject, "bright")) == 20
    for p in of(subject, "parenchyma", "bright", "nodule"):
        assert min(np.hypot(p.y - y, p.x - x) for y, x in ((120, 80), (60, 60))) >= 48
    found = of(subject, "nodule")
    assert sorted((round(p.x, -1)) for p in found) == [200, 320]  # the third is the label itself
    for p in (*found, *of(subject, "FM")):
        assert p.diameter_mm == pytest.approx(10, abs=1)
        assert -850 < p.ring_hu < -600
    assert all(np.isnan(p.diameter_mm) for p in of(subject, "FB", "parenchyma"))
    assert all(p.centre_hu > -300 for p in found)
    assert all(p.centre_hu < -500 for p in of(subject, "parenchyma"))


def test_the_seed_decides_and_nothing_else():
    scan = labelled(Label(SiteType.FM, 120, 80))
    first, again, other = (repr(make_subject(scan, seed).places) for seed in (0, 0, 1))
    assert first == again != other
    longer = replace(scan, labels={**scan.labels, 0: (Label(SiteType.FB, 60, 60),)})
    own = [p for p in make_subject(longer, 0).places if p.z == 1]
    assert repr(tuple(own)) == first


def test_a_real_cancer_is_a_nodule_unless_something_was_painted_near_it():
    alone = make_subject(labelled(Label(SiteType.TM, 120, 80)), 0)
    assert next((p.y, p.x) for p in of(alone, "nodule")) == (120, 80)
    beside = labelled(Label(SiteType.TM, 120, 80), Label(SiteType.FB, 120, 110))
    assert (120, 80) not in [(p.y, p.x) for p in make_subject(beside, 0).places]
    unknown = labelled(Label(SiteType.TM, 120, 80), avoid=[(120, 80), (130, 90)])
    assert (120, 80) not in [(p.y, p.x) for p in make_subject(unknown, 0).places]


def test_painted_near_keeps_what_may_be_painted():
    labels = {0: (Label(SiteType.TM, 5, 5),), 1: (Label(SiteType.FB, 5, 5), Label(SiteType.TM, 9, 9))}
    near = {0: np.array([[10.0, 5.0], [18.0, 9.0], [40.0, 40.0]])}
    kept = painted_near_mm(labels, near, (1.0, 2.0, 1.0), 0)
    assert kept.tolist() == [[10.0, 5.0], [40.0, 40.0]]  # FB at the same pixel; of a slice that is not at hand
    assert painted_near_mm(labels, near, (1.0, 2.0, 1.0), 7).shape == (0, 2)


def test_authentic_series_carry_places_on_so_many_slices(monkeypatch):
    assert subjects.SLICES_OF_A_SERIES == 20
    monkeypatch.setattr(subjects, "SLICES_OF_A_SERIES", 3)
    short, long = make_scan(2), make_scan(6)
    assert {p.z for p in make_subject(short, 0).places} == {0, 1}
    sampled = [{p.z for p in make_subject(long, seed).places} for seed in (0, 0, 1, 2)]
    assert [len(zs) for zs in sampled] == [3] * 4
    assert sampled[0] == sampled[1]
    assert len({frozenset(zs) for zs in sampled}) > 1


def test_documented_nodules_are_found_by_folder_and_number():
    def nodule(folder="folder", number=11, kind=SiteType.TM) -> Nodule:
        return Nodule(folder, kind, number, 0.0, 204, 118, 10, 0.0, 0.0, "")

    scan = make_scan(2)
    told = make_subject(scan, 0, nodules=[nodule(), nodule("other"), nodule(number=99), nodule(kind=SiteType.TB)])
    assert [(p.z, p.y, p.x) for p in told.places if (p.y, p.x) == (118, 204)] == [(1, 118, 204)]
    assert len(told.places) == len(make_subject(scan, 0).places) + 1


def test_a_subject_holds_no_pixels_and_no_headers():
    subject = make_subject(make_scan(2), 0)
    assert subject.geometry.headers == ()
    assert subject.geometry.hu.shape == (2, *SHAPE)
    assert not subject.geometry.hu.any()
    assert subject.geometry.hu.strides == (0, 0, 0)
    assert PlaceKind.FB not in {p.kind for p in subject.places}


def test_an_untouched_place_that_is_labelled_is_parenchyma_unless_something_was_painted_near_it():
    alone = make_subject(labelled(Label(SiteType.TB, 100, 150)), 0)
    assert next((p.y, p.x) for p in of(alone, "parenchyma")) == (100, 150)
    beside = labelled(Label(SiteType.TB, 100, 150), Label(SiteType.FB, 100, 180))
    assert (100, 150) not in [(p.y, p.x) for p in make_subject(beside, 0).places]


def test_a_place_knows_how_it_was_forged():
    subject = make_subject(labelled(Label(SiteType.FB, 60, 60, "ctgan", "copied")), 0)
    assert [(p.method, p.touch_up) for p in of(subject, "FB")] == [("ctgan", "copied")]
    assert {(p.method, p.touch_up) for p in of(subject, "parenchyma", "bright")} == {("", "")}


def test_a_slice_touched_up_as_a_whole_has_no_untouched_places():
    scan = labelled(Label(SiteType.FB, 60, 60))
    subject = make_subject(replace(scan, retouched=frozenset({1})), 0)
    assert {p.kind for p in make_subject(scan, 0).places} > {PlaceKind.FB}
    assert {p.kind for p in subject.places} == {PlaceKind.FB}
    assert subject.retouched == {1}


def test_kernel_and_scanner_of_a_campaign_are_believed_those_of_the_published_fakes_are_not():
    header = Dataset()
    header.ConvolutionKernel = "B70f"
    scan = labelled(Label(SiteType.FB, 60, 60))
    scan = replace(scan, volume=replace(scan.volume, headers=(header, header)))
    published, campaign = (make_subject(replace(scan, of_campaign=own), 0) for own in (False, True))
    assert (published.kernel, published.headers_tell) == ("", False)
    assert (campaign.kernel, campaign.headers_tell) == ("B70f", True)
