"""The networks that scan is measured against are the published ones, and the sweep counts every crop."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from verict.ct.lungs import LungRegion

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def networks(require_extra, monkeypatch):
    require_extra("torch")
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module("networks")


@pytest.fixture
def against(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module("scan_against_networks")


def test_back_in_time_has_as_many_parameters_as_published(networks):
    """As denoising_diffusion_pytorch 1.8.3 counts for Unet(dim=32, dim_mults=(1, 2, 4, 8), channels=1)."""
    network = networks.BackInTimeUNet().eval()
    assert networks.count_parameters(network) == 9_190_977
    torch = import_module("torch")
    with torch.inference_mode():
        noise = network(torch.zeros(2, 1, 32, 32), torch.tensor([0.0, 999.0]))
    assert noise.shape == (2, 1, 32, 32)
    assert not torch.equal(noise[0], noise[1]), "the time step counts"


def test_the_lung_network_has_as_many_parameters_as_published(networks):
    """As lungmask 0.2.22 counts for R231, without its 2,100,736 of residual connections that are never used."""
    network = networks.LungUNet().eval()
    assert networks.count_parameters(network) == 31_054_275 - 2_100_736
    torch = import_module("torch")
    with torch.inference_mode():
        classes = network(torch.zeros(1, 1, 64, 64))
    assert classes.shape == (1, 3, 64, 64)
    assert classes.exp().sum(1).allclose(torch.ones(1, 64, 64))


def test_each_whole_batch_is_timed(networks):
    taken = networks.time_batches(networks.BackInTimeUNet(), np.zeros((5, 16, 16), np.float32), 2)
    assert len(taken) == 2


def test_a_crop_stands_every_24_pixels_of_the_lungs(against):
    mask = np.zeros((2, 60, 100), bool)
    mask[1, 10:40, 30:90] = True
    crops = against.list_crops(LungRegion(mask, mask.any((1, 2))))
    assert crops.tolist() == [[1, row, column] for row in (12, 36) for column in (36, 60, 84)]


def test_crops_keep_their_place_and_the_published_window(against):
    hu = np.full((1, 200, 200), -1000, np.int16)
    hu[0, 90, 100] = 2500
    inside, corner = against.cut_crops(SimpleNamespace(hu=hu), np.array([[0, 90, 100], [0, 0, 199]]))
    assert inside.shape == (96, 96)
    assert (inside.min(), inside.max()) == (-1, 1)
    assert inside[48, 48] == 1
    assert (corner == -1).all(), "beyond the edge of the image too"


def test_slices_are_shrunk_to_what_the_network_takes(against):
    hu = np.full((3, 512, 512), 600, np.int16)
    shrunk = against.shrink_slices(SimpleNamespace(hu=hu), np.array([0, 2]))
    assert shrunk.shape == (2, 256, 256)
    assert shrunk.dtype == np.float32
    assert (shrunk == 1).all()


def test_the_table_counts_the_fastest_batch_size(against, monkeypatch, tmp_path):
    monkeypatch.setattr(against, "read_alone_s", lambda _: 2.0)
    monkeypatch.setattr(against, "run_scan", lambda *_: {"wall_s": 8.0, "cpu_s": 10.0, "peak_mib": 400.0})
    times = {
        1: {"wall_s": 1200.0, "cpu_s": 1250.0, "each_ms": 60.0},
        4: {"wall_s": 800.0, "cpu_s": 900.0, "each_ms": 40.0},
    }
    monkeypatch.setattr(against, "run_network", lambda *_: (1000, times))
    samples = tuple(against.Sample(name, tmp_path, 20_000, (1, 4)) for name in ("back-in-time", "lungs"))
    found = against.measure(tmp_path, tmp_path, samples, repeats=2, threads=1)
    table = against.tabulate({
        "machine": {"cpu": "a processor", "cores": 2}, "torch": "2", "day": "2026-01-01", "load_before": 0.1,
        "repeats": 2, "crops_timed": 64, "slices_timed": 20, "crops": 20_000, "slices": 275,
        "by_threads": {"1": found, "2": found},
    })  # fmt: skip
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert rows[0] == "|  | 1 thread | 2 threads |"
    assert {row.count("|") for row in rows} == {4}
    assert "| sweep (goal 100) : scan, default detectors | 100 (CPU 90) | 100 |" in rows
    assert "| R231 on 275 slices, one by one | 1,200 s, 60 ms each (CPU 1,250 s) | 1,200 s, 60 ms each |" in rows
    assert "| scan, default detectors : reading | 4.0 | 4.0 |" in rows
