"""What is a series to examine, what is set aside with its reason, and what is a failure."""

import zipfile

import pydicom
import pytest
from builders import dataset_bytes, make_body_hu, make_series, make_slice_dataset, make_uid, write_dataset
from pydicom.uid import UID

from verict.ct.classify import Kind, classify
from verict.ct.discover import find_series
from verict.errors import InputError, NotDicomError

CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
SMALL = {"slices": 2, "rows": 32, "columns": 32}


def _hu(seed=0):
    return make_body_hu(1, 32, 32, seed=seed)[0]


def _codes(series):
    return [note.code for note in series.notes]


def test_one_series_from_file_folder_and_zip(tmp_path):
    files = make_series(tmp_path / "study" / "a", slices=3, rows=32, columns=32)
    archive = tmp_path / "study.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for file in files:
            opened.write(file, f"inner/{file.name}")
    for path, count, label in ((files[0], 1, "001.dcm"), (tmp_path / "study", 3, "a"), (archive, 3, "study.zip!inner")):
        found = find_series(path)
        assert [len(series.items) for series in found.series] == [count]
        assert found.series[0].label == label
        assert {classify(item)[0] for item in found.series[0].items} == {Kind.AXIAL_CT}
        assert not found.failures
        assert not found.not_examined
        assert found.series[0].notes == ()


@pytest.mark.parametrize(
    ("attributes", "kind", "reason"),
    [
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "scout", "LOCALIZER"),
        ({"image_type": ("DERIVED", "SECONDARY", "REFORMATTED")}, "reformatted image", "REFORMATTED"),
        ({"image_type": ("DERIVED", "SECONDARY", "MPR")}, "reformatted image", "MPR"),
        ({"image_type": ("DERIVED", "PRIMARY", "MIP")}, "reformatted image", "MIP"),
        ({"orientation": CORONAL}, "reformatted image", "coronal or sagittal"),
        ({"orientation": SAGITTAL}, "reformatted image", "coronal or sagittal"),
        ({"image_type": ("DERIVED", "SECONDARY", "SCREEN SAVE")}, "secondary capture", "screen save"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary capture", "picture of a screen"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.3"}, "secondary capture", "picture of a screen"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR"}, "MR object", "MR Image Storage"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.128", "Modality": "PT"}, "PT object", "Positron"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.3", "Modality": "RTSTRUCT"}, "RTSTRUCT object", "RT Structure"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4", "Modality": "SEG"}, "SEG object", "Segmentation"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67", "Modality": "SR"}, "SR object", "Dose SR"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.1", "Modality": "PR"}, "PR object", "Presentation State"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1", "Modality": "DOC"}, "DOC object", "PDF"),
        ({"SOPClassUID": "1.2.840.10008.1.3.10"}, "media directory", "DICOMDIR"),
        ({"SOPClassUID": "1.2.3.4", "Modality": "XX"}, "XX object", "unknown SOP class"),
        ({"Modality": "MR"}, "MR object", "Modality is MR"),
        ({"SOPClassUID": None, "Modality": None}, "image of another modality", "neither"),
    ],
)
def test_what_is_no_axial_ct_is_set_aside_with_the_reason(tmp_path, attributes, kind, reason):
    attributes = {k: (UID(v) if k == "SOPClassUID" and v else v) for k, v in attributes.items()}
    write_dataset(make_slice_dataset(_hu(), **attributes), tmp_path / "other.dcm")
    make_series(tmp_path / "ct", **SMALL, patient_id="OTHER")
    found = find_series(tmp_path)
    assert [series.label for series in found.series] == ["ct"]
    assert not found.failures
    (aside,) = found.not_examined
    assert aside.what == kind
    assert reason in aside.reason
    assert not aside.counts


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"Rows": None}, "a CT image without an image"),
        ({"Columns": 0}, "a CT image without an image"),
        ({"SOPClassUID": None, "Rows": None}, "a CT image without an image"),
        ({"SOPClassUID": None, "Modality": None, "Rows": None}, "does not say what the file is"),
    ],
)
def test_a_ct_header_without_an_image_is_damage_and_no_other_object(tmp_path, attributes, problem):
    write_dataset(make_slice_dataset(_hu(), **attributes), tmp_path / "half.dcm")
    make_series(tmp_path / "ct", **SMALL, patient_id="OTHER")
    found = find_series(tmp_path)
    assert [series.label for series in found.series] == ["ct"]
    assert not found.not_examined
    (failure,) = found.failures
    assert problem in str(failure)
    assert "half.dcm" in str(failure)
    assert "Rows (0028,0010)" in str(failure)


def test_a_media_directory_is_known_by_its_file_meta_information(tmp_path):
    content = dataset_bytes(make_slice_dataset(_hu(), SOPClassUID=UID("1.2.840.10008.1.3.10")))
    group_4 = b"\x04\0\x30\x11CS\4\0DISK" + b"\x04\0\x12\x12US\2\0\0\0"
    (tmp_path / "DICOMDIR").write_bytes(content[: content.index(b"\x08\0\x08\0CS")] + group_4)
    found = find_series(tmp_path)
    assert [skipped.what for skipped in found.not_examined] == ["media directory"]
    assert not found.failures


@pytest.mark.parametrize(
    "image_type",
    [None, ("ORIGINAL", "SECONDARY", "AXIAL"), ("ORIGINAL", "PRIMARY", "AXIAL", "HELIX"), ("DERIVED", "SECONDARY")],
)
def test_axial_slices_of_every_image_type_are_examined(tmp_path, image_type):
    make_series(tmp_path, **SMALL, image_type=image_type)
    found = find_series(tmp_path)
    assert len(found.series) == 1
    assert ("derived" in _codes(found.series[0])) == (image_type is not None and image_type[0] == "DERIVED")


@pytest.mark.parametrize(
    ("part", "chest"),
    [
        ("CHEST", True),
        ("LUNG", True),
        ("TH CT CHEST WO C", True),
        ("", True),
        ("CHESTABDPELVIS", True),
        ("HEAD", False),
        ("ABDOMEN", False),
    ],
)
def test_another_body_part_is_examined_and_marked(tmp_path, part, chest):
    make_series(tmp_path, **SMALL, BodyPartExamined=part)
    assert find_series(tmp_path).series[0].chest is chest


@pytest.mark.parametrize(
    ("second", "named"),
    [
        ({"patient_id": "SECOND"}, "PatientID"),
        ({"rows": 48}, "Rows or Columns"),
        ({"spacing_mm": (1.0, 0.8, 0.8)}, "PixelSpacing"),
        ({"orientation": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)}, "ImageOrientationPatient"),
        ({"Modality": None}, "Modality"),
    ],
)
def test_one_uid_with_contradicting_instances_is_split(tmp_path, second, named):
    uid = make_uid("mixed")
    make_series(tmp_path / "a", **SMALL, series_uid=uid)
    make_series(tmp_path / "b", **{**SMALL, **second}, series_uid=uid, first_position=(0, 0, 500.0))
    found = find_series(tmp_path)
    assert [len(series.items) for series in found.series] == [2, 2]
    assert all(named in note.message for series in found.series for note in series.notes if note.code == "mixed_series")
    assert all("mixed_series" in _codes(series) for series in found.series)


def test_rounding_of_orientation_and_spacing_does_not_split(tmp_path):
    uid = make_uid("rounded")
    make_series(tmp_path / "a", **SMALL, series_uid=uid)
    make_series(tmp_path / "b", **SMALL, series_uid=uid, first_position=(-100, -90, -100.0),
                orientation=(1.0, 0.00004, 0, 0, 1.0, 0), PixelSpacing=["0.70001", "0.7"])  # fmt: skip
    (series,) = find_series(tmp_path).series
    assert len(series.items) == 4


def test_one_uid_in_several_folders_is_one_series(tmp_path):
    files = make_series(tmp_path / "a", slices=4, rows=32, columns=32)
    (tmp_path / "b").mkdir()
    for file in files[2:]:
        file.rename(tmp_path / "b" / file.name)
    (series,) = find_series(tmp_path).series
    assert len(series.items) == 4
    assert _codes(series) == ["several_folders"]


def test_copies_with_the_same_pixels_are_dropped_and_noted(tmp_path):
    files = make_series(tmp_path / "a", slices=3, rows=32, columns=32)
    copy = tmp_path / "a" / "copy.dcm"
    copy.write_bytes(files[1].read_bytes())
    (series,) = find_series(tmp_path).series
    assert len(series.items) == 3
    (note,) = series.notes
    assert note.code == "duplicate_instance"
    assert len(note.sop_instance_uids) == 1


@pytest.mark.parametrize("changed", [3, 1])
def test_copies_with_other_pixels_are_series_of_their_own(tmp_path, changed):
    """The original and a forged copy side by side: both are examined, whichever comes first."""
    hu = make_body_hu(3, 32, 32)
    make_series(tmp_path / "original", hu=hu)
    forged = make_series(tmp_path / "forged", hu=hu + 1)
    for file in forged[changed:]:
        file.unlink()
    found = find_series(tmp_path)
    assert sorted(len(series.items) for series in found.series) == sorted([3, changed])
    assert {series.label for series in found.series} == {"forged", "original"}
    assert all("sop_instance_clash" in _codes(series) for series in found.series)


def test_a_clash_inside_one_folder_is_split_too(tmp_path):
    hu = make_body_hu(3, 32, 32)
    files = make_series(tmp_path, hu=hu)
    dataset = make_slice_dataset(hu[1] + 5, position_mm=(-100.0, -90.0, -199.0), instance_number=2,
                                 series_uid=make_uid("series", "TEST", 0))  # fmt: skip
    dataset.SOPInstanceUID = make_uid(make_uid("series", "TEST", 0), 2, (-100.0, -90.0, -199.0))
    write_dataset(dataset, tmp_path / "zz.dcm")
    found = find_series(tmp_path)
    assert sorted(len(series.items) for series in found.series) == [1, 3]
    assert len(files) == 3


def test_several_acquisitions_of_the_same_positions_are_split(tmp_path):
    uid = make_uid("phases")
    for number in (1, 2):
        make_series(tmp_path / str(number), **SMALL, seed=number, series_uid=uid, AcquisitionNumber=str(number))
    for file in (tmp_path / "2").iterdir():  # other SOP instances at the same places
        _replace_sop_uid(file)
    found = find_series(tmp_path)
    assert [len(series.items) for series in found.series] == [2, 2]
    assert all("several_acquisitions" in _codes(series) for series in found.series)


def _replace_sop_uid(file):
    dataset = pydicom.dcmread(file)
    dataset.SOPInstanceUID = make_uid("second", file.name)
    write_dataset(dataset, file)


def test_scouts_of_the_same_uid_are_noted_on_the_series(tmp_path):
    uid = make_uid("scouted")
    make_series(tmp_path / "a", **SMALL, series_uid=uid)
    scout = {"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER"), "orientation": CORONAL}
    make_series(tmp_path / "b", slices=1, rows=32, columns=32, series_uid=uid, **scout)
    found = find_series(tmp_path)
    assert _codes(found.series[0]) == ["set_aside"]
    assert found.not_examined[0].series_instance_uid == uid


def test_a_missing_series_uid_groups_by_folder(tmp_path):
    make_series(tmp_path / "a", **SMALL, SeriesInstanceUID=None)
    make_series(tmp_path / "b", **SMALL, SeriesInstanceUID=None, seed=1)
    found = find_series(tmp_path)
    assert sorted(series.label for series in found.series) == ["a", "b"]
    assert all("series_uid_missing" in _codes(series) for series in found.series)


def test_missing_sop_class_or_modality_is_noted(tmp_path):
    make_series(tmp_path / "a", **SMALL, SOPClassUID=None)
    make_series(tmp_path / "b", **SMALL, Modality=None, patient_id="B")
    assert [_codes(series) for series in find_series(tmp_path).series] == [["sop_class_missing"], ["modality_missing"]]


def test_other_files_are_set_aside_in_bulk(tmp_path):
    make_series(tmp_path, **SMALL)
    for name in ("README.txt", "Thumbs.db", "noextension", "inner.zip", "._001.dcm"):
        (tmp_path / name).write_bytes(b"PK\x03\x04" if name.endswith("zip") else b"not dicom at all")
    found = find_series(tmp_path)
    assert [(entry.what, entry.files, entry.counts) for entry in found.not_examined] == [
        ("1 zip inside", 1, False),
        ("4 other files", 4, False),
    ]
    assert not found.failures


@pytest.mark.parametrize("content", [b"", b"some text", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_calls_itself_dicom_and_is_not_is_a_failure(tmp_path, content):
    make_series(tmp_path, **SMALL)
    (tmp_path / "bad.DCM").write_bytes(content)
    found = find_series(tmp_path)
    assert [type(failure) for failure in found.failures] == [NotDicomError]
    assert found.failures[0].file == "bad.DCM"
    assert len(found.series) == 1


def test_a_named_file_that_is_not_dicom_is_a_failure(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("text")
    assert isinstance(find_series(path).failures[0], NotDicomError)


@pytest.mark.parametrize("make", ["empty", "missing", "text only"])
def test_nothing_to_examine_is_a_failure(tmp_path, make):
    path = tmp_path / "folder"
    if make != "missing":
        path.mkdir()
    if make == "text only":
        (path / "a.txt").write_text("text")
    found = find_series(path)
    assert not found.series
    assert len(found.failures) == 1
    assert isinstance(found.failures[0], InputError)
    assert found.failures[0].next_step


@pytest.mark.parametrize("kept", [140, 200, 500])
def test_a_truncated_header_is_a_failure_beside_a_healthy_series(tmp_path, kept):
    make_series(tmp_path, **SMALL)
    (tmp_path / "cut.dcm").write_bytes(dataset_bytes(make_slice_dataset(_hu()))[:kept])
    found = find_series(tmp_path)
    assert len(found.series) == 1
    assert [failure.file for failure in found.failures] == ["cut.dcm"]


def test_a_header_longer_than_the_first_read_is_found(tmp_path):
    make_series(tmp_path, **SMALL, DerivationDescription=None, ImageComments=None)
    dataset = make_slice_dataset(_hu(), patient_id="LONG")
    dataset.add_new(0x00091001, "OB", b"x" * 300_000)
    write_dataset(dataset, tmp_path / "long.dcm")
    assert len(find_series(tmp_path).series) == 2


def test_progress_counts_every_file(tmp_path):
    make_series(tmp_path, slices=3, rows=32, columns=32)
    seen = []
    find_series(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_patient_values_reach_no_message(tmp_path):
    make_series(tmp_path, **SMALL, patient_id="SECRET-ID", PatientName="Secret^Name", PatientBirthDate="19500101")
    found = find_series(tmp_path)
    shown = repr(found)
    assert "SECRET-ID" not in shown
    assert "Secret" not in shown
    assert "19500101" not in shown


def test_oblique_axial_stays_axial(tmp_path):
    make_series(tmp_path, **SMALL, orientation=(1.0, 0.0, 0.0, 0.0, 0.866, -0.5))
    assert len(find_series(tmp_path).series) == 1
