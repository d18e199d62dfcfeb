"""A whole campaign of small chests: its bytes, what stands in it, and that a kill at any moment changes nothing."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from report.schema_check import find_violations
from tamper.campaign.sources import METHODS, TOUCH_UPS, make_chest, register_forgers

from verict.ct.discover import find_series
from verict.ct.read import read_series
from verict.datasets.campaigns import CAMPAIGN_FILE, CASES_FOLDER, LABEL_FILE, SCANS_FOLDER, read_campaign
from verict.datasets.check import check_collection
from verict.datasets.scans import identify_patient, read_labelled_scans
from verict.datasets.uci import SiteType, read_labels
from verict.errors import DatasetError, InputError, MissingExtraError, OutputError, UsageError
from verict.tamper.campaign import run as campaign_run
from verict.tamper.campaign import store as campaign_store
from verict.tamper.campaign.run import CampaignConfig, make_campaign, make_wish
from verict.tamper.campaign.store import WORK_FOLDER, hash_document, hash_slices
from verict.tamper.campaign.survey import Survey
from verict.tamper.forgery import Donor
from verict.tamper.mark import is_marked

ROWS, SEED = 8, 7
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True, scope="module")
def _plain_forgers():
    """And every source is surveyed once for all tests."""
    known: dict[tuple[str, int], tuple[Survey, list[Donor]]] = {}
    survey_source = campaign_run.survey_source

    def survey_once(source, seed, keep, disk) -> Survey:
        key = source.files.series_instance_uid, seed
        if key not in known:
            donors: list[Donor] = []
            known[key] = survey_source(source, seed, lambda d: (donors.append(d), keep(d))[1], disk), donors
            return known[key][0]
        survey, donors = known[key]
        numbers = [(donor.kind, keep(donor)) for donor in donors]
        renumbered = {kind: tuple(n for of, n in numbers if of is kind) for kind in survey.donors}
        return replace(survey, source=source, donors=renumbered)

    with pytest.MonkeyPatch.context() as patch:
        register_forgers(patch)
        patch.setattr(campaign_run, "survey_source", survey_once)
        yield


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    for seed in (1, 2):
        make_chest(folder / f"p{seed}", seed=seed)
    make_chest(folder / "single", seed=3)
    for file in sorted((folder / "single").iterdir())[1:]:
        file.unlink()
    return folder


@pytest.fixture(scope="module")
def made(scans, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("campaign") / "whole"
    make(scans, out)
    return out


def make(scans: Path, out: Path, n: int = ROWS, seed: int = SEED, workers: int = 1, progress=lambda *_: None):
    return make_campaign(CampaignConfig((scans,), out, n, seed, workers=workers), progress)


def hash_all(folder: Path) -> dict[str, str]:
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    return {f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def document_of(out: Path) -> dict:
    return json.loads((out / CAMPAIGN_FILE).read_text(encoding="ascii"))


def rows_of(out: Path):
    return [(scan, row) for scan in document_of(out)["scans"] for row in scan["rows"]]


def test_its_description_follows_the_schema_and_its_own_hash(made):
    document = document_of(made)
    schema = json.loads((ROOT / "docs" / "campaign.schema.json").read_text(encoding="utf-8"))
    assert find_violations(document, schema) == []
    assert document["sha256"] == hash_document({k: v for k, v in document.items() if k != "sha256"})
    assert document["config"] | {"methods": [*METHODS], "touch_ups": [*TOUCH_UPS]} == document["config"]
    assert document["counts"]["rows"] == dict.fromkeys(("TB", "TM", "FB", "FM"), 2)
    assert [item["name"] for item in document["unusable"]] == ["single"]
    assert "no neighbours" in document["unusable"][0]["reason"]


def test_it_names_no_patient_no_path_and_no_time(made, scans):
    text = (made / CAMPAIGN_FILE).read_text(encoding="ascii")
    assert "PATIENT" not in text
    assert str(scans) not in text
    assert str(made) not in text
    patients = {source["patient"] for source in document_of(made)["sources"]}
    assert patients == {identify_patient("PATIENT-1"), identify_patient("PATIENT-2")}


def test_the_label_table_names_each_row_and_the_collection_is_sound(made):
    table = Counter((r.type, r.uuid, r.slice, r.x, r.y) for r in read_labels(made / LABEL_FILE, 1))
    told = Counter((SiteType(row["type"]), scan["uuid"], row["slice"], row["x"], row["y"])
                   for scan, row in rows_of(made))
    assert table == told
    assert check_collection(made).is_sound
    assert not (made / WORK_FOLDER).exists()


def test_every_slice_is_marked_named_by_its_number_and_its_sources_own_otherwise(made, scans):
    for scan in document_of(made)["scans"]:
        folder = made / SCANS_FOLDER / scan["uuid"]
        name = document_of(made)["sources"][scan["source"]]["name"]
        files = sorted(folder.iterdir(), key=lambda f: int(f.stem))
        assert [f.name for f in files] == [f"{n}.dcm" for n in range(1, 29)]
        for file in files:
            ds = pydicom.dcmread(file, stop_before_pixels=True)
            assert is_marked(ds)
            assert int(ds.InstanceNumber) == int(file.stem)
            assert ds.PatientID == f"PATIENT-{name[1:]}"
            assert "ContributionDateTime" not in ds.ContributingEquipmentSequence[-1]
            assert ("control" in ds.DerivationDescription) == scan["control"]
        assert hash_slices(folder) == scan["slices_sha256"]
        assert read_series(find_series(folder).series[0]).input_sha256 == scan["slices_sha256"]


def test_cases_hold_what_files_and_source_differ_in(made, scans):
    seen = 0
    for scan in document_of(made)["scans"]:
        source = read_series(find_series(scans / document_of(made)["sources"][scan["source"]]["name"]).series[0])
        hu = read_series(find_series(made / SCANS_FOLDER / scan["uuid"]).series[0]).hu
        differs = hu != source.hu
        for row in scan["rows"]:
            if row["method"] is None:
                assert row["files"] is None
                continue
            seen += 1
            name = f"{scan['uuid']}-{row['row']}"
            with np.load(made / CASES_FOLDER / f"{name}.npz") as case:
                box = tuple(slice(a, b) for a, b in case["box"])
                assert [[s.start, s.stop - 1] for s in box] == row["box"]
                assert case["footprint"].dtype == bool
                assert case["before"].dtype == case["after"].dtype == np.int16
                assert (case["before"] == source.hu[box]).all()
                assert (case["after"] == hu[box]).all()
                assert not ((case["before"] != case["after"]) & ~case["footprint"]).any()
                assert differs[box].any()
                differs[box] = False
            record = json.loads((made / CASES_FOLDER / f"{name}.json").read_text(encoding="ascii"))
            assert record["forgery"]["method"] == row["method"]
            assert record["forgery"]["centre_voxel_zyx"] == row["voxel_zyx"]
            assert record["forgery"]["seed"] == row["seed"]
            assert set(row["files"]) == {f"{CASES_FOLDER}/{name}.npz", f"{CASES_FOLDER}/{name}.json"}
        assert not differs.any(), "outside of the cases nothing differs"
    assert seen == 4


def test_it_is_read_with_its_sources_patients_and_how_rows_were_forged(made):
    campaign = read_campaign(made)
    scans = list(read_labelled_scans(made, lambda *_: None))
    labels = [label for scan in scans for of_slice in scan.labels.values() for label in of_slice]
    assert {scan.patient for scan in scans} == {"PATIENT-1", "PATIENT-2"}
    assert Counter((n.method, n.touch_up) for n in labels if n.kind.is_tampered) == Counter(
        (row.method, row.touch_up) for row in campaign.rows.values()
    )
    assert {n.method for n in labels if not n.kind.is_tampered} == {""}


def test_sources_are_left_as_they_are_and_nothing_is_left_to_do(made, scans):
    before, whole = hash_all(scans), hash_all(made)
    outcome = make(scans, made)
    assert (outcome.made_scans, outcome.made_rows) == (0, 0)
    assert hash_all(made) == whole
    assert hash_all(scans) == before


def test_the_same_bytes_come_from_any_number_of_workers_and_from_anywhere(made, scans, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for folder in scans.iterdir():
        (moved / folder.name).symlink_to(folder, target_is_directory=True)
    make(moved, tmp_path / "out", workers=3)
    assert hash_all(tmp_path / "out") == hash_all(made)


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def test_broken_off_again_and_again_it_comes_to_the_same_bytes(made, scans, tmp_path, monkeypatch):
    """Run after run breaks off one write or rename later than the one before, and goes on where that stopped."""
    out, last, count, is_done = tmp_path / "out", 0, 0, False
    write, rename = campaign_store._write, Path.rename

    def tick() -> None:
        nonlocal count
        count += 1
        if count == last:
            raise Killed

    def killed_write(file: Path, content: bytes) -> None:
        tick()
        write(file, content)

    def killed_rename(self: Path, target: Path) -> Path:
        if campaign_store.PARTS in self.parts and self.suffix != ".dcm":
            tick()
        return rename(self, target)

    monkeypatch.setattr(campaign_store, "_write", killed_write)
    monkeypatch.setattr(Path, "rename", killed_rename)
    while not is_done:
        last, count = last + 1, 0
        try:
            make(scans, out)
            is_done = True
        except Killed:
            assert read_campaign(out) is None or not (out / WORK_FOLDER / campaign_store.PARTS).exists()
            for folder in (out / SCANS_FOLDER).glob("*"):
                assert len(list(folder.iterdir())) == 28, "a scan is there whole or not at all"
    assert last > 5, "it was broken off several times"
    assert hash_all(out) == hash_all(made)


SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = {tests!r}
import pytest
from tamper.campaign.sources import register_forgers
from verict.tamper.campaign.run import CampaignConfig, make_campaign
register_forgers(pytest.MonkeyPatch())
def tell(stage, done, total):
    print(stage, done, flush=True)
make_campaign(CampaignConfig((Path({scans!r}),), Path({out!r}), {n}, {seed}, workers=2), tell)
"""


def test_killed_by_the_system_half_way_it_goes_on_to_the_same_bytes(made, scans, tmp_path):
    out = tmp_path / "out"
    code = SCRIPT.format(tests=[str(ROOT / "tests")], scans=str(scans), out=str(out), n=ROWS, seed=SEED)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if line.startswith("forging scans 2"):
                process.kill()
    assert process.returncode not in (0, 1)
    assert read_campaign(out) is None
    finished = [f.stem for f in (out / WORK_FOLDER / campaign_store.RECEIPTS).glob("*.json")]
    assert len(finished) >= 2
    outcome = make(scans, out)
    assert outcome.made_scans <= len(document_of(made)["scans"]) - 2
    assert hash_all(out) == hash_all(made)


def test_an_altered_scan_is_made_again(made, scans, tmp_path):
    out = tmp_path / "out"
    make(scans, out)
    scan = next(s for s in document_of(out)["scans"] if not s["control"])
    (out / SCANS_FOLDER / scan["uuid"] / "5.dcm").write_bytes(b"altered")
    assert make(scans, out).made_scans == 1
    assert hash_all(out) == hash_all(made)


def test_a_folder_of_anything_else_is_refused_and_kept(made, scans, tmp_path):
    with pytest.raises(OutputError, match="another campaign: its config"):
        make(scans, made, n=ROWS + 4)
    with pytest.raises(OutputError, match="another campaign: its sources"):
        make(scans / "p1", made)
    (tmp_path / "diary.txt").write_text("dear diary", encoding="ascii")
    with pytest.raises(OutputError, match="something else"):
        make(scans, tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["diary.txt"]
    with pytest.raises(OutputError, match="cannot be used"):
        make(scans, tmp_path / "diary.txt")


def test_a_disk_that_cannot_be_written_is_told(scans, tmp_path, monkeypatch):
    def refuse(self: Path, *_, **__) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        make(scans, tmp_path / "out")


def test_a_source_that_changes_meanwhile_stops_the_work(scans, tmp_path, monkeypatch):
    read = campaign_run.read_source

    def read_changed(*given):
        volume, lungs = read(*given)
        return replace(volume, input_sha256="0" * 64), lungs

    monkeypatch.setattr(campaign_run, "read_source", read_changed)
    with pytest.raises(InputError, match="changed while"):
        make(scans, tmp_path / "out")
    assert read_campaign(tmp_path / "out") is None


def test_where_no_source_can_be_used_the_first_reason_is_told(scans, tmp_path):
    with pytest.raises(InputError, match=r"no source can be used.*no neighbours"):
        make(scans / "single", tmp_path / "out")
    with pytest.raises(DatasetError, match="no CT series"):
        make(tmp_path, tmp_path / "out2")


@pytest.mark.parametrize(("change", "problem"), [
    ({"n": 3}, "too few rows"), ({"methods": ("blok",)}, "did you mean block"),
    ({"touch_ups": ("nothing",)}, "no such touch-up"), ({"methods": ("block", "block")}, "named twice"),
])  # fmt: skip
def test_wishes_that_make_no_sense_are_refused(tmp_path, change, problem):
    asked = {"scans": (tmp_path,), "out": tmp_path / "out", "n": 8, "seed": 0} | change
    with pytest.raises(UsageError, match=problem):
        make_wish(CampaignConfig(**asked))


def test_a_package_that_a_method_needs_is_missed_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setitem(campaign_run.EXTRAS, "block", "no_such_package")
    with pytest.raises(MissingExtraError, match=r"method block needs no_such_package.*leave the method out"):
        make_wish(CampaignConfig((tmp_path,), tmp_path / "out", 8, 0))
    assert make_wish(CampaignConfig((tmp_path,), tmp_path / "out", 8, 0, methods=("only-injects",)))


def test_progress_counts_to_the_end(scans, tmp_path):
    told: list[tuple[str, int, int]] = []
    make(scans, tmp_path / "out", workers=2, progress=lambda *args: told.append(args))
    scans_made = len(document_of(tmp_path / "out")["scans"])
    assert [t for t in told if t[0] == "looking at sources"] == [("looking at sources", i, 3) for i in range(4)]
    assert [t for t in told if t[0] == "forging scans"] == [
        ("forging scans", i, scans_made) for i in range(scans_made + 1)
    ]


def test_the_same_series_twice_counts_once(scans, tmp_path):
    config = CampaignConfig((scans / "p1", scans / "p1"), tmp_path / "out", ROWS, SEED)
    assert [u["reason"] for u in make_campaign(config).document["unusable"]] == ["the same files as another source"]


