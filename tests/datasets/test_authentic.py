from __future__ import annotations

import pytest
from datasets.uci_folders import make_slice, write_slice

from verict.datasets.authentic import read_authentic, read_nodules
from verict.datasets.splits import joined_groups, unseen_by
from verict.datasets.uci import SiteType
from verict.errors import DatasetError, NotDicomError, UsageError


def test_real_folders(shared_data):
    series = read_authentic(shared_data / "authentic")
    whole = {
        s.folder: (str(s.scanner), s.kernel, s.slice_thickness_mm, len(s.files)) for s in series if s.is_contiguous
    }
    assert whole == {
        "cmbcrc-ge-LUNG": ("ge:lightspeedvct", "LUNG", 2.5, 100),
        "fusedct-siemens-B31f": ("siemens:?", "B31f", 2.0, 98),
        "lidc-0314-philips-D": ("philips:brilliance16", "D", 1.0, 275),
        "petctdx-philips-B": ("philips:brilliance16", "B", 5.0, 64),
        "petctdx-philips-L": ("philips:brilliance16", "L", 5.0, 64),
        "petctdx-siemens-B40f": ("siemens:sensation10", "B40f", 8.0, 30),
        "petctdx-siemens-B70f": ("siemens:sensation10", "B70f", 8.0, 30),
    }
    singles = [s for s in series if s.folder == "tcga-singles"]
    assert not any(s.is_contiguous for s in singles)
    assert sum(len(s.files) for s in singles) == 51
    assert len({s.patient for s in singles}) == 27


def test_leaving_a_real_series_out_leaves_its_patient_and_scanner_out(shared_data):
    series = read_authentic(shared_data / "authentic")
    patients, scanners = [s.patient for s in series], [s.scanner for s in series]
    groups = dict(zip([s.folder for s in series if s.is_contiguous],
                      [joined_groups(patients, scanners)[i] for i, s in enumerate(series) if s.is_contiguous],
                      strict=True))
    assert groups["petctdx-philips-L"] == groups["petctdx-philips-B"] == groups["lidc-0314-philips-D"]
    assert groups["cmbcrc-ge-LUNG"] != groups["petctdx-siemens-B40f"]
    for i, held in enumerate(series):
        for j in unseen_by(patients, scanners, [i]):
            assert series[j].patient != held.patient
            assert series[j].scanner != held.scanner


def test_real_nodules(shared_data):
    (nodule,) = read_nodules(shared_data / "nodules.csv")
    assert (nodule.folder, nodule.type, nodule.instance_number) == ("lidc-0314-philips-D", SiteType.TM, 115)
    assert (nodule.x, nodule.y, nodule.extent_px) == (184, 243, 28)
    assert nodule.z_min_mm < nodule.z_mm < nodule.z_max_mm


def test_files_are_ordered_along_the_normal(tmp_path):
    for name, number in (("a", 3), ("b", 1), ("c", 2), ("d", 4)):
        write_slice(tmp_path / "one" / f"{name}.dcm", make_slice("1", number))
    (series,) = read_authentic(tmp_path)
    assert [f.stem for f in series.files] == ["b", "c", "a", "d"]
    assert series.is_contiguous
    assert (series.folder, series.patient, series.slice_thickness_mm) == ("one", "1", 2.5)


@pytest.mark.parametrize("numbers", [[1], [1, 2], [1, 2, 4], [1, 10, 19, 28]])
def test_sampled_series_are_not_contiguous(tmp_path, numbers):
    for number in numbers:
        write_slice(tmp_path / "one" / f"{number}.dcm", make_slice("1", number))
    (series,) = read_authentic(tmp_path)
    assert not series.is_contiguous


def test_series_of_one_folder_are_told_apart(tmp_path):
    for uuid in ("1", "2"):
        write_slice(tmp_path / "mixed" / f"{uuid}.dcm", make_slice(uuid, 1))
    assert [s.patient for s in read_authentic(tmp_path)] == ["1", "2"]


def test_unusable_folders(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        read_authentic(tmp_path / "none")
    with pytest.raises(DatasetError, match="no authentic series"):
        read_authentic(tmp_path)
    file = tmp_path / "one" / "1.dcm"
    ds = make_slice("1", 1)
    del ds.ImagePositionPatient
    write_slice(file, ds)
    with pytest.raises(DatasetError, match="cannot be placed; tag ImagePositionPatient"):
        read_authentic(tmp_path)
    file.write_text("no DICOM", encoding="ascii")
    with pytest.raises(NotDicomError, match="cannot be read as DICOM"):
        read_authentic(tmp_path)


def test_unusable_nodules(tmp_path):
    file = tmp_path / "nodules.csv"
    head = "folder,type,instance_number,z_mm,x,y,extent_px,z_min_mm,z_max_mm,source\n"
    for row, words in (("f,QQ,1,0.5,1,1,1,0,1,s", "column type"), (",TM,1,0.5,1,1,1,0,1,s", "column folder"),
                       ("f,TM,1,high,1,1,1,0,1,s", "column z_mm")):
        file.write_text(f"{head}{row}\n", encoding="utf-8")
        with pytest.raises(DatasetError, match=words):
            read_nodules(file)
