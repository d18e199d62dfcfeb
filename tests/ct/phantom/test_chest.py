"""The simulated chest as a scan: its truth in voxels, its headers, its lungs, and how near it comes to real ones."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy import ndimage

from verict.ct.discover import find_series
from verict.ct.lungs import find_lungs
from verict.ct.phantom.chest import SimulatedChest, count_slices, simulate_chest, write_chest
from verict.ct.phantom.kernels import KERNELS, Kernel
from verict.ct.phantom.nodules import Attachment, NoduleOrder, NoduleShape
from verict.ct.phantom.scanner import Protocol
from verict.ct.read import read_series

SMALL = Protocol(thickness_mm=4.0, increment_mm=3.0, pixel_mm=2.9, dose=4.0, beam_hardening=True)
SOLID = NoduleOrder(3, (12.0, 20.0), (NoduleShape.ROUND,), (Attachment.FREE,))
SLICES = 24
BAND_EDGES = np.arange(2, 22, 2) / 32  # cycles per pixel


@pytest.fixture(scope="module")
def chest() -> SimulatedChest:
    return simulate_chest(SMALL, slices=SLICES, size=128, nodules=SOLID, metal=True, seed=3)


@pytest.fixture(scope="module")
def folder(chest: SimulatedChest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("chest") / "series"
    write_chest(chest, out, kernel_name="STANDARD")
    return out


def test_same_seed_same_scan_and_another_kernel_the_same_patient() -> None:
    usual = replace(SMALL, pixel_mm=5.8, beam_hardening=False)
    soft = replace(usual, kernel=KERNELS[Kernel.SOFT])
    one, again, other = (simulate_chest(p, slices=10, size=64, nodules=1, seed=3) for p in (usual, usual, soft))
    np.testing.assert_array_equal(again.hu, one.hu)
    assert again.describe() == one.describe()
    assert other.describe()["nodules"] == one.describe()["nodules"]
    assert (other.hu != one.hu).mean() > 0.3


def test_nodules_lie_where_they_are_said_to(chest: SimulatedChest) -> None:
    assert len(chest.anatomy.nodules) == 3
    for nodule in chest.anatomy.nodules:
        z, y, x = (round(v) for v in chest.to_voxel(nodule))
        assert chest.hu[z, y, x] == pytest.approx(nodule.hu, abs=150)
        around = chest.hu[z, y - 6 : y + 7, x - 6 : x + 7].astype(float)
        solid = around > -400
        assert solid.any()
        rows, columns = np.nonzero(solid)
        assert np.hypot(rows.mean() - 6, columns.mean() - 6) < 4


def test_the_truth_can_be_written_down(chest: SimulatedChest) -> None:
    truth = json.loads(json.dumps(chest.describe()))
    assert truth["seed"] == 3
    assert truth["protocol"]["thickness_mm"] == 4.0
    assert truth["metal"]
    for told, nodule in zip(truth["nodules"], chest.anatomy.nodules, strict=True):
        assert told["shape"] == "round"
        assert told["attachment"] == "free"
        assert told["diameter_mm"] == nodule.diameter_mm
        z, y, x = nodule.centre_zyx_mm
        assert told["centre_mm_lps"] == [x, y, z]


def test_the_series_is_what_was_scanned(chest: SimulatedChest, folder: Path) -> None:
    volume = read_series(find_series(folder).series[0])
    np.testing.assert_array_equal(volume.hu, chest.hu)
    np.testing.assert_allclose(volume.spacing_mm, chest.spacing_mm, atol=1e-6)
    for nodule, told in zip(chest.anatomy.nodules, chest.describe()["nodules"], strict=True):
        np.testing.assert_allclose(volume.to_patient_mm(*chest.to_voxel(nodule)), told["centre_mm_lps"], atol=1e-3)


def test_headers_say_protocol_and_that_nobody_was_scanned(folder: Path) -> None:
    for file in folder.iterdir():
        ds = pydicom.dcmread(file, stop_before_pixels=True)
        assert (float(ds.SliceThickness), float(ds.SpacingBetweenSlices)) == (4.0, 3.0)
        assert (ds.ConvolutionKernel, float(ds.KVP)) == ("STANDARD", 120)
        assert int(ds.Exposure) == 400  # four times a routine chest
        assert int(ds.XRayTubeCurrent) * int(ds.ExposureTime) == int(ds.Exposure) * 1000
        assert float(ds.ReconstructionDiameter) == pytest.approx(128 * 2.9)
        assert ds.ImageType[0] == "DERIVED"
        assert ds.QualityControlSubject == "YES"
        assert "simulated" in ds.DerivationDescription


def test_uids_follow_from_seed_and_settings(chest: SimulatedChest, folder: Path, tmp_path: Path) -> None:
    def uids(series: Path) -> set[str]:
        return {str(pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID) for f in series.iterdir()}

    write_chest(chest, tmp_path / "again", kernel_name="STANDARD")
    assert uids(tmp_path / "again") == uids(folder)
    assert len(uids(folder)) == SLICES
    one = replace(chest, hu=chest.hu[:2])
    write_chest(replace(one, seed=4), tmp_path / "seed", kernel_name="STANDARD")
    write_chest(one, tmp_path / "shape", kernel_name="STANDARD")
    assert not uids(folder) & (uids(tmp_path / "seed") | uids(tmp_path / "shape"))


def test_dciodvfy_finds_no_error(folder: Path, dcmtk) -> None:
    for file in sorted(folder.iterdir())[::13]:
        done = subprocess.run([dcmtk("dciodvfy"), file], capture_output=True, text=True, check=False)
        assert [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")] == []
        assert done.returncode == 0


def test_lungs_are_found(folder: Path) -> None:
    region = find_lungs(read_series(find_series(folder).series[0]))
    assert region.found.mean() > 0.9
    middle = region.mask[SLICES // 2]
    assert 0.1 < middle.mean() < 0.45
    assert middle[:, :64].any()
    assert middle[:, 64:].any()


def test_the_whole_chest_is_as_long_as_a_chest() -> None:
    assert count_slices(2.5) == 124
    assert count_slices(1.0) * 1.0 >= 300


def lung_spectrum(slices: np.ndarray) -> np.ndarray:
    """Median amplitude of each radial band over the 32-pixel windows that hold lung only."""
    taper = np.hanning(32)[:, None] * np.hanning(32)
    frequency = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32))
    found = []
    for hu in slices:
        smooth = ndimage.gaussian_filter(hu.astype(np.float32), 1.5)
        labels, _ = ndimage.label(smooth < -550)
        outside = np.unique(np.r_[labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        lung = ndimage.uniform_filter((~np.isin(labels, outside)).astype(np.float32), 32)
        for y, x in np.argwhere(lung[16:-16:16, 16:-16:16] > 0.9) * 16 + 16:
            patch = np.clip(hu[y - 16 : y + 16, x - 16 : x + 16], -1100, -500).astype(float)
            power = np.abs(np.fft.fft2((patch - patch.mean()) * taper)) ** 2
            found.append([power[(frequency >= a) & (frequency < b)].mean() for a, b in pairwise(BAND_EDGES)])
    assert len(found) > 20
    return np.sqrt(np.median(found, axis=0))


def test_lung_spectrum_lies_within_that_of_real_scanners(shared_data) -> None:
    """Amplitude of each band, relative to the first, between the softest and the sharpest real scan."""
    spectra = []
    for name in ("petctdx-philips-B", "fusedct-siemens-B31f", "lidc-0314-philips-D", "cmbcrc-ge-LUNG"):
        files = sorted((shared_data / "authentic" / name).glob("*.dcm"))
        datasets = [pydicom.dcmread(files[i]) for i in (len(files) * 2 // 5, len(files) // 2)]
        slices = [d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in datasets]
        spectra.append(lung_spectrum(np.array(slices)))
    simulated = lung_spectrum(simulate_chest(Protocol(), slices=2, seed=3).hu)
    for band in range(len(simulated)):
        real = [s[band] / s[0] for s in spectra]
        assert min(real) / 1.5 < simulated[band] / simulated[0] < max(real) * 1.5, f"band {band}"
