"""`verict tamper inject|remove`: what it writes and records, and every refusal, with the source left as it was."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from builders import make_body_hu, make_enhanced, make_series, make_slice_dataset, write_dataset
from typer.testing import CliRunner, Result

from verict.cli import tamper as command
from verict.cli.main import app
from verict.ct.discover import find_series
from verict.ct.read import read_series
from verict.ct.volume import CTVolume
from verict.tamper import families, single, touch_ups
from verict.tamper.forgery import Forgery
from verict.tamper.mark import MARK, is_marked

SLICES, SIDE, SPACING = 16, 96, (3.5, 3.3, 3.3)
IN_LUNG, NODULE = (8, 48, 28), (7, 45, 67)  # the lungs' middles lie at column 28 and 67
BLOCK = ["--method", "block", "--touchup", "as-it-is"]


def make_chest(folder: Path, **attributes: object) -> Path:
    """A small chest with a nodule of 20 mm."""
    hu = make_body_hu(SLICES, SIDE, SIDE, seed=3)
    z, y, x = np.ogrid[:SLICES, :SIDE, :SIDE]
    hu[sum((a - c) ** 2 for a, c in zip((z, y, x), NODULE, strict=True)) < 3**2] = 30
    make_series(folder, hu=hu, spacing_mm=SPACING, **{"patient_id": "GEHEIM", "PatientName": "Muster^M", **attributes})
    return folder


@pytest.fixture(autouse=True)
def _plain_forgers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(families._FAMILIES, "block", "tamper.forgers:Block")
    monkeypatch.setitem(families._FAMILIES, "only-injects", "tamper.forgers:OnlyInjects")
    monkeypatch.setitem(touch_ups._TOUCH_UPS, "as-it-is", "tamper.forgers:AsItIs")


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chest(tmp_path_factory.mktemp("source") / "chest")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["tamper", *map(str, arguments)])


def at(zyx: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in zyx)


def load(folder: Path) -> CTVolume:
    return read_series(find_series(folder).series[0])


def digest(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def read_record(tmp_path: Path, name: str = "out") -> dict:
    return json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", ["inject", "remove"])
def test_only_the_box_changes_and_the_record_says_all(tmp_path: Path, chest: Path, kind: str) -> None:
    before = digest(chest)
    place = IN_LUNG if kind == "inject" else NODULE
    done = run(kind, chest, tmp_path / "out", "--at", at(place), *BLOCK, "--seed", 5)
    assert done.exit_code == 0, done.output
    assert digest(chest) == before
    source, forged, record = load(chest), load(tmp_path / "out"), read_record(tmp_path)
    assert record["schema"] == "verict.tamper/1"
    assert record["mark"] == MARK
    forgery = record["forgery"]
    assert (forgery["kind"], forgery["method"], forgery["touch_up"]) == (kind, "block", "as-it-is")
    assert (forgery["seed"], forgery["centre_voxel_zyx"]) == (5, list(place))
    assert forgery["paint"]["value_hu"] == (40 if kind == "inject" else -850)
    box = tuple(slice(a, b + 1) for a, b in forgery["box"])
    changed = source.hu != forged.hu
    assert changed[box].sum() == changed.sum() == record["change"]["changed_voxels"] > 250
    assert record["change"]["footprint_voxels"] == 343
    np.testing.assert_allclose(record["site"]["centre_mm_lps"], source.to_patient_mm(*place), atol=1e-3)
    assert record["site"]["chosen_by_verict"] is False
    assert record["source"]["sha256"] == source.input_sha256
    assert record["source"]["series_instance_uid"] == source.series_instance_uid
    assert record["source"]["is_marked_as_forged"] is False
    assert [f["sha256"] for f in record["files"]] == list(digest(tmp_path / "out").values())
    assert record["provenance"]["options"]["seed"] == 5
    for word in (f"z {place[0]}, y {place[1]}, x {place[2]}", "16 slices written, all marked", "out.json\n"):
        assert word in done.stdout


def test_every_file_is_marked_and_names_stay_out_of_the_record(tmp_path: Path, chest: Path) -> None:
    assert run("inject", chest, tmp_path / "out", "--at", at(IN_LUNG), *BLOCK).exit_code == 0
    for file in (tmp_path / "out").iterdir():
        assert is_marked(pydicom.dcmread(file))
    text = (tmp_path / "out.json").read_text()
    assert not [word for word in ("GEHEIM", "Muster", str(tmp_path), str(chest)) if word in text]


def test_the_diameter_of_a_removed_nodule_is_measured_or_taken_as_given(tmp_path: Path, chest: Path) -> None:
    assert run("remove", chest, tmp_path / "out", "--at", at(NODULE), *BLOCK).exit_code == 0
    record = read_record(tmp_path)
    assert record["forgery"]["diameter_mm"] == pytest.approx(20, abs=3.3)  # a voxel
    assert "measured" in record["site"]["how"]
    assert run("remove", chest, tmp_path / "b", "--at", at(NODULE), "--diameter", 17, *BLOCK).exit_code == 0
    assert read_record(tmp_path, "b")["forgery"]["diameter_mm"] == 17


def test_without_a_place_one_is_chosen(tmp_path: Path, chest: Path) -> None:
    assert run("remove", chest, tmp_path / "r", *BLOCK).exit_code == 0
    record = read_record(tmp_path, "r")
    assert np.abs(np.subtract(record["forgery"]["centre_voxel_zyx"], NODULE)).max() <= 1
    assert record["site"]["chosen_by_verict"] is True
    assert record["site"]["how"].startswith("found:")
    places = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run("inject", chest, tmp_path / name, "--seed", seed, *BLOCK).exit_code == 0
        places.append(read_record(tmp_path, name)["forgery"]["centre_voxel_zyx"])
    assert places[0] == places[1] != places[2]


def test_the_same_seed_gives_the_same_pixels_and_new_uids(tmp_path: Path, chest: Path) -> None:
    for name in ("a", "b"):
        assert run("inject", chest, tmp_path / name, "--at", at(IN_LUNG), *BLOCK, "--seed", 9).exit_code == 0
    a, b = load(tmp_path / "a"), load(tmp_path / "b")
    np.testing.assert_array_equal(a.hu, b.hu)
    assert not set(a.sop_instance_uids) & set(b.sop_instance_uids)


def test_millimetres_are_patient_coordinates_in_the_order_z_y_x(tmp_path: Path, chest: Path) -> None:
    x_mm, y_mm, z_mm = load(chest).to_patient_mm(*IN_LUNG)
    done = run("inject", chest, tmp_path / "out", "--at", at((z_mm, y_mm, x_mm)), "--mm", *BLOCK)
    assert done.exit_code == 0, done.output
    assert read_record(tmp_path)["forgery"]["centre_voxel_zyx"] == list(IN_LUNG)


def test_x_first_in_millimetres_is_told_apart_where_it_can_be(tmp_path: Path, chest: Path) -> None:
    x_mm, y_mm, z_mm = load(chest).to_patient_mm(*IN_LUNG)
    done = run("inject", chest, tmp_path / "out", "--at", at((x_mm, y_mm, z_mm)), "--mm", *BLOCK)
    assert done.exit_code == 1
    assert f"did you mean {at((z_mm, y_mm, x_mm))}?" in done.stderr


def test_a_forged_series_can_be_forged_again_and_that_is_told(tmp_path: Path, chest: Path) -> None:
    assert run("inject", chest, tmp_path / "a", "--at", at(IN_LUNG), *BLOCK).exit_code == 0
    done = run("remove", tmp_path / "a", tmp_path / "b", "--at", at(NODULE), *BLOCK)
    assert done.exit_code == 0
    assert "is marked as a forgery already" in done.stderr
    assert read_record(tmp_path, "b")["source"]["is_marked_as_forged"] is True


def test_a_zip_will_do(tmp_path: Path, chest: Path) -> None:
    with zipfile.ZipFile(tmp_path / "chest.zip", "w") as archive:
        for file in chest.iterdir():
            archive.write(file, file.name)
    assert run("inject", tmp_path / "chest.zip", tmp_path / "out", "--at", at(IN_LUNG), *BLOCK).exit_code == 0


def test_the_record_goes_where_it_is_asked_for(tmp_path: Path, chest: Path) -> None:
    done = run("inject", chest, tmp_path / "new" / "out", "--at", at(IN_LUNG), *BLOCK, "--json", tmp_path / "r.txt")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "r.txt").read_text())["schema"] == "verict.tamper/1"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["out"]
    assert run("inject", chest, tmp_path / "deep" / "er" / "out", "--at", at(IN_LUNG), *BLOCK).exit_code == 0
    assert sorted(p.name for p in (tmp_path / "deep" / "er").iterdir()) == ["out", "out.json"]


WRONG_USAGE = [
    (["--method", "ctgam"], ("no such method", "found ctgam", "did you mean ctgan?")),
    (["--method", "block", "--touchup", "copyed"], ("no such touch-up", "did you mean copied?")),
    (["--method", "splice", "--touchup", "as-it-is"], ("splice needs a donor", "--donor")),
    ([*BLOCK, "--donor", "CHEST"], ("block takes no donor", "splice")),
    ([*BLOCK, "--donor-at", "1,2,3"], ("--donor-at names a place of no donor",)),
    ([*BLOCK, "--mm"], ("--mm says how places are given",)),
    ([*BLOCK, "--at", "1,2"], ("--at is no place", "found 1,2", "expected z,y,x from 0")),
    ([*BLOCK, "--at", "1,2,x"], ("--at is no place", "found 1,2,x")),
    ([*BLOCK, "--at", "1,2,nan"], ("--at is no place",)),
    ([*BLOCK, "--at", "1,2", "--mm"], ("expected z,y,x in mm",)),
    ([*BLOCK, "--at", at(IN_LUNG), "--diameter", "400"], ("a diameter no nodule of the lung has", "1 to 60 mm")),
    ([*BLOCK, "--json", "-"], ("--json needs a file",)),
]


@pytest.mark.parametrize(("options", "words"), WRONG_USAGE)
def test_wrong_usage_ends_with_two(tmp_path: Path, chest: Path, options: list[str], words: tuple[str, ...]) -> None:
    done = run("inject", chest, tmp_path / "out", *(str(chest) if o == "CHEST" else o for o in options))
    _check_refusal(done, 2, words)
    assert list(tmp_path.iterdir()) == []


def test_a_kind_the_method_cannot_do_is_refused(tmp_path: Path, chest: Path) -> None:
    done = run("remove", chest, tmp_path / "out", "--method", "only-injects", "--touchup", "as-it-is")
    _check_refusal(done, 2, ("the method only-injects cannot remove", "expected inject"))


def _check_refusal(done: Result, code: int, words: tuple[str, ...]) -> None:
    assert done.exit_code == code, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith("verict tamper: ")
    for word in words:
        assert word in line
    assert "Traceback" not in done.output
    assert done.stdout == ""


BAD_PLACES = [
    ((8, 8, 48), ("outside the lung", "found z, y, x = 8, 8, 48", "expected a voxel of the lung region")),
    ((8, 48, 48), ("outside the lung",)),
    ((16, 48, 28), ("outside the volume", "expected slices 0 to 15")),
    ((8, 96, 28), ("outside the volume", "expected rows 0 to 95")),
    ((8, 48, -1), ("outside the volume", "expected columns 0 to 95")),
]


@pytest.mark.parametrize("kind", ["inject", "remove"])
@pytest.mark.parametrize(("place", "words"), BAD_PLACES)
def test_a_bad_place_is_refused(tmp_path: Path, chest: Path, kind: str, place: tuple, words: tuple[str, ...]) -> None:
    before = digest(chest)
    done = run(kind, chest, tmp_path / "out", "--at", at(place), *BLOCK)
    words = tuple(w for w in words if kind == "inject" or "lung region" not in w)
    _check_refusal(done, 1, words)
    assert digest(chest) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("point_mm", "words"),
    [
        ((-500.0, 70.0, -5.0), ("outside the volume", "z -200 to -147.5 mm")),
        ((-170.0, 70.0, 900.0), ("outside the volume", "x -100 to 213.5")),
    ],
)
def test_a_point_outside_the_file_set_is_refused(
    tmp_path: Path, chest: Path, point_mm: tuple[float, ...], words: tuple[str, ...]
) -> None:
    _check_refusal(run("inject", chest, tmp_path / "out", "--at", at(point_mm), "--mm", *BLOCK), 1, words)


def _remove(*numbers: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for number in numbers:
            (folder / f"{number:03d}.dcm").unlink()

    return change


def _keep(first: int, last: int) -> Callable[[Path], None]:
    return _remove(*(n for n in range(1, SLICES + 1) if not first <= n <= last))


def _truncate(folder: Path) -> None:
    file = folder / "007.dcm"
    file.write_bytes(file.read_bytes()[:-5000])


def _truncate_header(folder: Path) -> None:
    file = folder / "007.dcm"
    file.write_bytes(file.read_bytes()[:400])


def _add_series(folder: Path) -> None:
    make_chest(folder / "other", patient_id="OTHER")


def _mix_series(folder: Path) -> None:
    make_chest(folder / "other", series_uid="1.2.3.4")
    for file in (folder / "other").iterdir():
        file.rename(folder / f"b{file.name}")
    (folder / "other").rmdir()


def _become_multi_frame(folder: Path) -> None:
    shutil.rmtree(folder)
    make_enhanced(folder / "e.dcm", hu=make_body_hu(SLICES, SIDE, SIDE, seed=3), spacing_mm=SPACING)


def _become_a_report(folder: Path) -> None:
    shutil.rmtree(folder)
    ds = make_slice_dataset(np.zeros((4, 4), np.int16), SOPClassUID="1.2.840.10008.5.1.4.1.1.88.22", Modality="SR")
    del ds.PixelData, ds.Rows, ds.Columns
    write_dataset(ds, folder / "r.dcm")


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _lose_lung(folder: Path) -> None:
    shutil.rmtree(folder)
    make_series(folder, hu=np.full((SLICES, 64, 64), 40, np.int16), spacing_mm=SPACING)


BAD_SERIES = {
    "a gap within the cuboid": (_remove(7), ("slices are missing within the cuboid", "before a gap", "15.5 mm")),
    "a gap at the target": (_remove(9), ("slices are missing within the cuboid",)),
    "too few slices for the cuboid": (_keep(7, 10), ("too few slices for the cuboid", "expected at least 15.5")),
    "a single slice": (_keep(9, 9), ("no neighbours", "a single slice", "choose a whole series")),
    "pixels cut off": (_truncate, ("1 file of the series cannot be read", "007.dcm", "copy or export it again")),
    "a header cut off": (_truncate_header, ("1 file of the series cannot be read", "007.dcm")),
    "two series in two folders": (_add_series, ("2 CT series here", "other (16 files)", "name the folder")),
    "two series in one folder": (_mix_series, ("2 CT series here", "1.2.3.4 (16 files)", "a folder of its own")),
    "multi-frame": (_become_multi_frame, ("multi-frame files cannot be copied", "NumberOfFrames", "one file a slice")),
    "no CT": (_become_a_report, ("no CT series here", "name the folder that holds the slices")),
    "nothing": (_empty, ("nothing to examine", "name a folder with DICOM files")),
    "no lung": (_lose_lung, ("no lung was found",)),
}


@pytest.mark.parametrize("name", BAD_SERIES)
def test_a_bad_series_is_refused(tmp_path: Path, name: str) -> None:
    change, words = BAD_SERIES[name]
    folder = make_chest(tmp_path / "chest")
    change(folder)
    before = digest(folder)
    place = IN_LUNG
    if name in ("a single slice", "too few slices for the cuboid"):
        place = (0 if name == "a single slice" else 2, *IN_LUNG[1:])
    if name == "no lung":
        place = (8, 32, 32)
    done = run("inject", folder, tmp_path / "out", "--at", at(place), *BLOCK)
    _check_refusal(done, 1, words)
    assert digest(folder) == before
    assert [p.name for p in tmp_path.iterdir()] == ["chest"]


@pytest.mark.parametrize("name", ["a single slice", "too few slices for the cuboid", "no lung"])
def test_no_place_is_chosen_where_none_fits(tmp_path: Path, name: str) -> None:
    folder = make_chest(tmp_path / "chest")
    BAD_SERIES[name][0](folder)
    for kind in ("inject", "remove"):
        _check_refusal(run(kind, folder, tmp_path / "out", *BLOCK), 1, (f"no place to {kind} a cancer was found",))


def test_no_such_series(tmp_path: Path) -> None:
    _check_refusal(run("inject", tmp_path / "nowhere", tmp_path / "out", *BLOCK), 1, ("nowhere",))


def test_outputs_that_are_taken_are_refused_before_any_work(
    tmp_path: Path, chest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single, "read_source", lambda *_, **__: pytest.fail("worked in vain"))
    full = tmp_path / "full"
    full.mkdir()
    (full / "a.txt").write_text("mine")
    (tmp_path / "out.json").write_text("mine")
    cases: list[tuple[list[object], tuple[str, ...]]] = [
        ([full], ("full", "not an empty folder", "name a new one")),
        ([full / "a.txt"], ("not an empty folder",)),
        ([chest / "forged"], ("lies in an input",)),
        ([tmp_path / "out"], ("out.json", "there is a file where the record goes", "--json")),
        ([tmp_path / "b", "--json", full / "a.txt"], ("a.txt", "there is a file where the record goes")),
        ([tmp_path / "b", "--json", tmp_path / "b" / "r.json"], ("among the slices",)),
        ([tmp_path / "b", "--json", tmp_path / "no" / "r.json"], ("r.json", "its folder does not exist")),
    ]
    for arguments, words in cases:
        _check_refusal(run("inject", chest, *arguments, "--at", at(IN_LUNG), *BLOCK), 2, words)
    assert (full / "a.txt").read_text() == (tmp_path / "out.json").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "out.json"]


def test_a_read_only_folder_is_refused_before_any_work(
    tmp_path: Path, chest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permission bits stop no administrator, so the refusal is simulated."""
    monkeypatch.setattr(single, "read_source", lambda *_, **__: pytest.fail("worked in vain"))
    before, opened = digest(chest), Path.open

    def refuse(self: Path, mode: str = "r", *rest: object, **named: object) -> object:
        if "x" in mode:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, mode, *rest, **named)

    monkeypatch.setattr(Path, "open", refuse)
    done = run("inject", chest, tmp_path / "read-only" / "out", "--at", at(IN_LUNG), *BLOCK)
    _check_refusal(done, 2, ("read-only", "cannot be written: Permission denied"))
    assert digest(chest) == before


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [(KeyboardInterrupt(), 130, "interrupted; nothing was written"), (OSError(28, "No space left"), 2, "No space left"),
     (MemoryError(), 1, "not enough memory")],
)
def test_nothing_half_written_stays(
    tmp_path: Path, chest: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, word: str
) -> None:
    def fail(*_: object, **__: object) -> Forgery:
        raise error

    if isinstance(error, MemoryError):
        monkeypatch.setattr(single, "forge", fail)
    else:
        monkeypatch.setattr("verict.ct.write._write_file", fail)
    done = run("inject", chest, tmp_path / "new" / "out", "--at", at(IN_LUNG), *BLOCK)
    assert done.exit_code == code
    assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_methods_lists_every_name_with_what_it_can_do() -> None:
    done = run("methods")
    assert done.exit_code == 0, done.output
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.strip()}
    assert {*families.names(), *touch_ups.names(), "--method", "--touchup"} <= listed
    assert "a block of one value" in done.stdout
    (row,) = [line for line in done.stdout.splitlines() if line.split()[:1] == ["only-injects"]]
    assert "inject" in row
    assert "remove" not in row


def test_the_usual_method_and_touch_up_exist() -> None:
    assert command.USUAL_METHOD in families.names()
    assert command.USUAL_TOUCH_UP in touch_ups.names()
