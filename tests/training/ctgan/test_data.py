from __future__ import annotations

import numpy as np
import pytest
import torch
from tamper.places import LUNG, TISSUE, make_block

from verict.datasets.scans import Scan, Source
from verict.datasets.splits import Scanner
from verict.training.ctgan.data import ROOM, VARIANTS, Bank, augment, cut_with_room, find_healthy_sites


def make_scan() -> Scan:
    """A block of lung of 80 mm a side, 40 mm of wall beside it, noise over both."""
    volume, lungs = make_block()
    noise = np.random.default_rng(0).normal(0, 20, volume.hu.shape)
    volume.hu[:] = volume.hu + noise
    return Scan(Source.AUTHENTIC, "block", "patient", Scanner("made", "up"), volume, lungs)


@pytest.fixture
def cuboids() -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(-800, 100, (VARIANTS, 4, ROOM, ROOM)).astype(np.float32))


def test_there_are_67_variants_itself_flips_and_shifts(cuboids: torch.Tensor) -> None:
    assert VARIANTS == 67
    middle = cuboids[:, :, 8:40, 8:40]
    varied = augment(cuboids, torch.arange(VARIANTS))
    wanted = {0: middle[0], 1: middle[1].flip(1), 2: middle[2].flip(2), 3: middle[3].flip(1, 2)}
    for variant, (dy, dx) in enumerate([(4, 4), (4, -4), (-4, 4), (-4, -4)], start=4):
        wanted[variant] = cuboids[variant, :, 8 + dy : 40 + dy, 8 + dx : 40 + dx]
    for variant, values in wanted.items():
        assert torch.allclose(varied[variant], values, atol=0.01), variant


def test_turns_are_steps_of_six_degrees_about_the_middle(cuboids: torch.Tensor) -> None:
    middle = cuboids[:, :, 8:40, 8:40]
    varied = augment(cuboids, torch.arange(VARIANTS))
    for quarter, variant in enumerate((22, 37, 52), start=1):  # 90, 180 and 270 degrees
        assert torch.allclose(varied[variant], middle[variant].rot90(quarter, (1, 2)), atol=0.01)
    assert torch.isfinite(varied).all()


def test_a_turn_leaves_what_is_round_as_it_is() -> None:
    offset = np.arange(ROOM) - (ROOM - 1) / 2
    ball = 400 * np.exp(-(offset[:, None] ** 2 + offset**2) / 72) - 800
    cuboids = torch.from_numpy(np.broadcast_to(ball, (VARIANTS, 1, ROOM, ROOM)).astype(np.float32).copy())
    turned = augment(cuboids, torch.arange(VARIANTS))[8:]
    assert (turned - torch.from_numpy(ball[8:40, 8:40].astype(np.float32))).abs().max() < 3


def test_a_bank_keeps_eighths_of_a_hu() -> None:
    hu = np.random.default_rng(0).uniform(-1024, 3071, (3, 32, ROOM, ROOM)).astype(np.float32)
    bank = Bank.of(list(hu), ["a", "b", "b"])
    assert len(bank) == 3
    assert np.abs(bank.hu(np.array([2, 0])) - hu[[2, 0]]).max() <= 1 / 16 + 1e-3
    assert np.abs(bank.middles() - hu[:, :, 8:40, 8:40]).max() <= 1 / 16 + 1e-3


def test_healthy_sites_are_lung_for_the_most_part_and_clear_of_nodules() -> None:
    scan = make_scan()
    avoid = [((40, 20, 20), 6.0)]
    sites = np.array(find_healthy_sites(scan, 60, avoid, np.random.default_rng(1)))
    assert len(sites) == 60
    assert (np.abs(sites - avoid[0][0]).max(axis=1) > 16 + 6).all()
    for z, y, x in sites:
        assert scan.volume.hu[z, y, x] < -600
        hole = scan.volume.hu[max(z - 10, 0) : z + 11, max(y - 10, 0) : y + 11, max(x - 10, 0) : x + 11]
        assert (hole < -600).mean() > 0.45
    assert sites[:, 2].max() > 72, "cuboids may hold wall"


def test_where_there_is_no_lung_or_only_a_nodule_no_site_is_found() -> None:
    scan = make_scan()
    assert find_healthy_sites(scan, 5, [((40, 40, 40), 60.0)], np.random.default_rng(1)) == []
    scan.volume.hu[:] = TISSUE
    assert find_healthy_sites(scan, 5, [], np.random.default_rng(1)) == []


def test_cuboids_have_room_in_plane_and_end_where_the_scan_ends() -> None:
    scan = make_scan()
    cuboid = cut_with_room(scan, (2, 40, 40))
    assert cuboid.shape == (32, ROOM, ROOM)
    assert abs(cuboid.mean() - LUNG) < 5
    assert np.ptp(cuboid[:12], axis=0).max() < 1, "the first slice is repeated below it"
