"""The lab's CT-GAN attack on a signed series: caught, with exactly the slices that it painted."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from builders import make_body_hu, make_series
from custody.sealed_series import sign_all
from custody.signers import make_identity

from verict.custody.keys import Signer
from verict.custody.seal import find_manifests, seal_study, verify_seals
from verict.custody.trust import TrustStore
from verict.custody.verify_object import ObjectState, verify_file
from verict.custody.wording import say_numbers
from verict.tamper import families, touch_ups
from verict.tamper.forgery import ForgeryKind
from verict.tamper.single import Order, Place, Result, carry_out, write_result

IDENTITY = make_identity()
SIGNER = Signer(IDENTITY.key, IDENTITY.certificate)
TRUST = TrustStore(roots=IDENTITY.issuers)
SLICES, SIDE, SPACING = 32, 128, (2.5, 2.5, 2.5)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "CHEST"
    make_series(folder, hu=make_body_hu(SLICES, SIDE, SIDE, seed=3), spacing_mm=SPACING)
    sign_all(folder, SIGNER)
    seal_study(folder, SIGNER)
    return folder


@pytest.fixture(scope="module")
def attack(study: Path) -> Result:
    order = Order(study, ForgeryKind.INJECT, families.create("ctgan"), touch_ups.create("copied"), seed=1,
                  at=Place((16, 64, 37)))  # fmt: skip
    return carry_out(order)


def painted(attack: Result) -> list[int]:
    return [z for z in range(SLICES) if (attack.forgery.hu[z] != attack.volume.hu[z]).any()]


def test_an_attacker_who_keeps_all_headers_is_caught(study: Path, attack: Result, tmp_path: Path) -> None:
    """Pixels replaced under the original's UIDs, signatures left where they are: what the paper's attacker does."""
    copy = Path(shutil.copytree(study, tmp_path / "CHEST"))
    slices = painted(attack)
    assert 5 < len(slices) < SLICES
    for z in slices:
        file = copy / f"{z + 1:03d}.dcm"
        data, was = file.read_bytes(), pydicom.dcmread(file).PixelData
        assert data.count(was) == 1
        file.write_bytes(data.replace(was, attack.forgery.hu[z].astype("<i2").tobytes()))
    (seal,) = verify_seals(copy, find_manifests(study), TRUST).seals
    assert seal.exit_code == 20
    assert seal.sentence.endswith(f"; changed since it was signed: pixels changed in slices {say_numbers(slices)}")
    states = [verify_file(copy / f"{z + 1:03d}.dcm", TRUST).state for z in range(SLICES)]
    assert [z for z, state in enumerate(states) if state is ObjectState.INVALID] == slices
    assert {state for z, state in enumerate(states) if z not in slices} == {ObjectState.VALID}


def test_the_labs_own_copy_is_known_and_caught(study: Path, attack: Result, tmp_path: Path) -> None:
    """`verict tamper` gives its copy UIDs of its own, takes the signatures out and marks it."""
    write_result(attack, tmp_path / "CHEST")
    (seal,) = verify_seals(tmp_path / "CHEST", find_manifests(study), TRUST).seals
    assert seal.exit_code == 20
    assert f"pixels changed in slices {say_numbers(painted(attack))};" in seal.sentence
    assert "signature removed from all 32 slices" in seal.sentence
    assert "SeriesInstanceUID (0020,000E)" in seal.sentence


def test_the_slice_numbers_are_those_of_the_scan(study: Path, attack: Result) -> None:
    assert attack.volume.sop_instance_uids == tuple(
        file.sop_instance_uid for file in verify_seals(study, find_manifests(study), TRUST).seals[0].changes.files  # type: ignore[union-attr]
    )
    assert np.array_equal(attack.volume.origins_mm[:, 2], np.sort(attack.volume.origins_mm[:, 2]))
