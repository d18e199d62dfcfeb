"""The header rules on real CT, on series written by verict itself, and on every encoding the reader takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders import TRANSFER_SYNTAXES, make_series
from header_series import honest_series

from verict.ct.discover import find_series
from verict.ct.phantom.chest import simulate_chest, write_chest
from verict.ct.phantom.scanner import Protocol
from verict.ct.read import read_series
from verict.ct.volume import CTVolume
from verict.detect.evidence import Confidence, Evidence
from verict.detect.header import HeaderDetector, examine_across, fingerprint
from verict.tamper.mark import mark_forged

AUTHENTIC = (
    "cmbcrc-ge-LUNG",
    "fusedct-siemens-B31f",
    "lidc-0314-philips-D",
    "petctdx-philips-B",
    "petctdx-philips-L",
    "petctdx-siemens-B40f",
    "petctdx-siemens-B70f",
    "tcga-singles",
)


def read_all(folder: Path) -> list[CTVolume]:
    return [read_series(series) for series in find_series(folder).series]


def examine(volume: CTVolume) -> Evidence:
    return HeaderDetector().examine(volume, None)


def codes(evidence: Evidence) -> set[str]:
    return {finding.code for finding in evidence.findings}


def test_authentic_series_are_notable_at_most_and_share_nothing(shared_data: Path) -> None:
    prints = []
    for name in AUTHENTIC:
        volumes = read_all(shared_data / "authentic" / name)
        assert volumes, name
        for volume in volumes:
            assert {f.confidence for f in examine(volume).findings} <= {Confidence.NOTABLE}, name
            prints.append(fingerprint(volume))
    assert len(prints) == 55
    assert examine_across(prints) == {}


def test_the_published_fakes_are_one_cloned_template_in_every_patient(shared_data: Path) -> None:
    volumes = read_all(shared_data / "ctgan")
    assert len(volumes) == 40
    found = examine_across(fingerprint(volume) for volume in volumes)
    assert set(found) == {volume.series_instance_uid for volume in volumes}
    cloned = {"cloned_file_header", "cloned_frame_of_reference", "cloned_acquisition"}
    for findings in found.values():
        assert {f.code for f in findings if f.confidence is Confidence.CONTRADICTION} == cloned
        assert all("39 other patients" in f.title for f in findings)
    assert all("meta_instance_uid_mismatch" in codes(examine(volume)) for volume in volumes)


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES, ids=lambda syntax: syntax.name)
def test_an_encoding_alone_raises_nothing(tmp_path: Path, syntax: str) -> None:
    make_series(tmp_path, slices=6, transfer_syntax=syntax)
    (volume,) = read_all(tmp_path)
    assert {f.confidence for f in examine(volume).findings} <= {Confidence.NOTABLE}


def test_a_simulated_series_is_no_contradiction_and_its_forged_copy_is_named(tmp_path: Path) -> None:
    write_chest(simulate_chest(Protocol(pixel_mm=5.6), slices=6, size=64), tmp_path / "s", kernel_name="STANDARD")
    (volume,) = read_all(tmp_path)
    assert "marked_as_forgery" not in codes(examine(volume))
    assert Confidence.CONTRADICTION not in {f.confidence for f in examine(volume).findings}
    for header in volume.headers:
        mark_forged(header, {"kind": "injection"})
    assert examine(volume).findings[0].code == "marked_as_forgery"
    assert examine(volume).findings[0].confidence is Confidence.CONTRADICTION


def test_a_mark_on_one_honest_slice_names_that_slice() -> None:
    series = honest_series(6)
    mark_forged(series.headers[4], {"kind": "removal"})
    finding = examine(series.volume()).findings[0]
    assert (finding.code, finding.slices) == ("marked_as_forgery", (4,))
    assert np.array_equal(series.hu, honest_series(6).hu)
