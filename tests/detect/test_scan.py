"""From a path to a result: one bad series never harms another, and nothing but the scan itself decides."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_body_hu, make_series
from detect.volumes import RUN_DECISIVE, make_evidence, make_map, make_volume
from pydicom.uid import ExplicitVRBigEndian, JPEGLSLossless
from report.results import make_failure, make_result
from report.results import make_series as make_series_result

from verict.ct.lungs import LungRegion, find_lungs
from verict.ct.volume import CTVolume, Note
from verict.detect import registry, scan, spectrum
from verict.detect.evidence import Confidence, Evidence, Finding, Needs
from verict.detect.fitness import Fitness, identify_limits
from verict.detect.model import Model, load_model
from verict.detect.nodule.reading import Nodule, NoduleReading, Shown
from verict.detect.result import NotExamined, Verdict
from verict.detect.scan import ScanOptions
from verict.detect.verdict import average_along_z
from verict.errors import InputError, ModelError, UsageError
from verict.provenance import sha256_of
from verict.report.json import to_json

SIZE, SPACING = 160, (3.0, 2.0, 2.0)
Detect = Callable[[CTVolume, "LungRegion | None"], Evidence]


def with_spectrum(**options: object) -> ScanOptions:
    """Headers and one detector that a test can stand in for, unless others are named."""
    return ScanOptions(**{"detectors": ("header", "spectrum"), **options})


def examine(path: Path, options: ScanOptions | None = None, *progress: object):
    return scan.examine(path, options or with_spectrum(), *progress)


class StandIn:
    """A pixel detector that does what a test wants, and remembers what it was given."""

    summary = "stand-in"
    needs = Needs(lungs=True)

    def __init__(self, detect: Detect, name: str = "spectrum") -> None:
        self.detect, self.name, self.seen = detect, name, []

    def examine(self, volume: CTVolume, lungs: LungRegion | None, *, workers: int | None = None) -> Evidence:
        self.seen.append((volume, lungs, workers))
        return self.detect(volume, lungs)


def hot_map(volume: CTVolume, lungs: LungRegion | None) -> Evidence:
    values = make_map(volume.slice_count, 17, 17)
    values[:, 8, 5] = RUN_DECISIVE
    return make_evidence(values)


def calm_map(volume: CTVolume, lungs: LungRegion | None) -> Evidence:
    return make_evidence(make_map(volume.slice_count, 17, 17))


def fail(error: Exception) -> Detect:
    def detect(volume: CTVolume, lungs: LungRegion | None) -> Evidence:
        raise error

    return detect


@pytest.fixture
def stand_in(monkeypatch) -> Callable[..., StandIn]:
    """Puts a stand-in in the place of the spectrum detector."""
    create = registry.create

    def put(detect: Detect) -> StandIn:
        detector = StandIn(detect)
        monkeypatch.setattr(registry, "create", lambda name: detector if name == "spectrum" else create(name))
        return detector

    return put


@pytest.fixture(autouse=True)
def noise_is_known(monkeypatch) -> None:
    """Bodies built in code have the noise of no scanner: whether thresholds hold for it is left out of most tests."""
    monkeypatch.setattr(scan, "examine_fitness", lambda volume, lungs: Fitness((), None))


@pytest.fixture(scope="module")
def usual_score() -> float:
    """A score that a tenth of the cells of `write`'s scan reach."""
    volume = make_volume(np.arange(5) * 3.0, hu=make_body_hu(5, SIZE, SIZE), pixel_mm=(2.0, 2.0), thickness_mm=3.0)
    values = spectrum.SpectrumDetector().examine(volume, find_lungs(volume)).score_map.values
    return float(np.nanquantile(average_along_z(values, volume), 0.9))


@pytest.fixture
def low_thresholds(monkeypatch, usual_score) -> None:
    """The shipped spectrum model with thresholds low enough to mark some places on any scan."""
    shipped = load_model("spectrum")
    low = Model(shipped.card | {"calibration": dict.fromkeys(shipped.calibration, usual_score)}, shipped.session)
    monkeypatch.setattr(spectrum, "load_model", lambda name: low)


def write(folder: Path, patient_id: str = "A", **settings) -> list[Path]:
    made = {"slices": 5, "rows": SIZE, "columns": SIZE, "spacing_mm": SPACING, "patient_id": patient_id}
    return make_series(folder, **(made | settings))


def essence(result) -> list[tuple]:
    """What a scan says of its series, without where it lay."""
    return [
        (
            s.series_instance_uid,
            s.verdict,
            s.reason,
            s.score,
            [(r.centre_voxel_zyx, r.centre_mm_lps, r.bounds, r.slices, r.sop_instance_uids, r.score, r.decisive)
             for r in s.regions],
            [(f.code, f.confidence, f.slices) for f in s.findings],
        )
        for s in result.series
    ]  # fmt: skip


# --- one series ---


def test_a_plain_series_is_judged(tmp_path):
    write(tmp_path)
    result = examine(tmp_path, with_spectrum(workers=1))
    (series,) = result.series
    assert (result.failures, result.not_examined) == ((), ())
    assert (series.slice_count, len(series.sop_instance_uids)) == (5, 5)
    assert series.score is not None
    assert len(series.input_sha256) == 64
    assert [e.detector for e in series.evidence] == ["header", "spectrum"]
    assert all(e.score_map is None for e in series.evidence)  # maps are let go
    assert series.pictures == ()
    assert not any(f.confidence is Confidence.CONTRADICTION for f in series.findings)


def test_pictures_are_kept_where_asked_for(tmp_path, stand_in):
    write(tmp_path)
    stand_in(hot_map)
    (series,) = examine(tmp_path, with_spectrum(workers=1, pictures=True)).series
    assert [p.region for p in series.pictures] == [0]
    np.testing.assert_array_equal(
        series.pictures[0].hu, make_body_hu(5, SIZE, SIZE)[series.regions[0].peak_slice].astype(np.float32)
    )


@pytest.mark.parametrize("detect", [hot_map, calm_map])
def test_a_nodule_is_told_with_its_slice_and_has_no_say_in_the_verdict(tmp_path, stand_in, detect):
    def show_nodule(volume: CTVolume, lungs: LungRegion | None) -> Evidence:
        nodule = Nodule((1.0, 79.0, 110.0), (0.0, 0.0, 0.0), 14.0, None, 3.0, 1, "", "left lung", True, False)
        return replace(detect(volume, lungs), reading=NoduleReading(Shown.CANCER, "shows a nodule", (nodule,), 3.0))

    write(tmp_path)
    stand_in(detect)
    (without,) = examine(tmp_path, with_spectrum(pictures=True)).series
    stand_in(show_nodule)
    (series,) = examine(tmp_path, with_spectrum(pictures=True)).series
    assert [n.sop_instance_uid for n in series.shows.nodules] == [series.sop_instance_uids[1]]
    assert (series.verdict, series.reason, series.score) == (without.verdict, without.reason, without.score)
    regions = range(len(series.regions))
    assert [(p.nodule, p.region) for p in series.places] == [(0, None), *((None, i) for i in regions)]
    assert [p.nodule for p in series.pictures] == [-1, 0]
    assert without.shows is None
    assert to_json(examine(tmp_path))["series"][0]["shows"]["shown"] == "cancer"


def test_pixel_detectors_are_given_no_headers(tmp_path, stand_in):
    write(tmp_path, PatientName="ZEBRA^QUAGGA")
    detector = stand_in(calm_map)
    examine(tmp_path, with_spectrum(workers=3))
    ((volume, lungs, workers),) = detector.seen
    assert workers == 3
    assert lungs is not None
    assert volume.headers == ()
    assert not any((volume.series_instance_uid, volume.study_instance_uid, *volume.sop_instance_uids))
    assert not any(volume.source_files)


def test_a_marked_place_is_named_in_voxels_and_patient_mm(tmp_path, stand_in):
    write(tmp_path)
    stand_in(hot_map)
    result = examine(tmp_path)
    (series,) = result.series
    (region,) = series.regions
    assert (series.verdict, result.exit_code) == (Verdict.SUSPICIOUS, 10)
    assert region.centre_voxel_zyx == (2, 79.5, 55.5)
    assert region.centre_mm_lps == pytest.approx((-100 + 2 * 55.5, -90 + 2 * 79.5, -200 + 3 * 2))
    assert region.sop_instance_uids == series.sop_instance_uids


def test_detectors_run_as_asked_for(tmp_path):
    write(tmp_path)
    (series,) = examine(tmp_path, with_spectrum(detectors=("header",))).series
    assert (series.score, series.verdict) == (None, Verdict.NO_EVIDENCE)
    assert "no pixel detector" in series.reason
    with pytest.raises(UsageError, match="did you mean header"):
        examine(tmp_path, with_spectrum(detectors=("haeder",)))


def test_lone_slices_are_said(tmp_path):
    write(tmp_path, slices=3, spacing_mm=(40.0, 2.0, 2.0), SliceThickness="5")
    (series,) = examine(tmp_path).series
    assert [n.message for n in series.notes if n.code == "isolated_slices"] == [
        "without neighbours: every slice; evidence along z is left out there"
    ]


# --- several series, some bad ---


def test_a_broken_series_beside_a_healthy_one(tmp_path):
    write(tmp_path / "alone")
    write(tmp_path / "both" / "healthy")
    for file in write(tmp_path / "both" / "broken", "B"):
        file.write_bytes(file.read_bytes()[:-20_000])
    alone, both = examine(tmp_path / "alone"), examine(tmp_path / "both")
    assert essence(both) == essence(alone)
    assert both.failures
    assert all("broken" in (f.details["file"] or "") for f in both.failures)
    assert both.exit_code == 1


def test_an_unforeseen_error_is_one_failure_without_patient_data(tmp_path, stand_in, caplog):
    write(tmp_path / "one", "PID4711", PatientName="ZEBRA^QUAGGA", PatientBirthDate="19330722")
    write(tmp_path / "two", "PID4712", seed=2)
    bad = ZeroDivisionError("ZEBRA^QUAGGA PID4711 19330722")

    def detect(volume: CTVolume, lungs: LungRegion | None) -> Evidence:
        if np.array_equal(volume.hu, make_body_hu(5, SIZE, SIZE)):
            raise bad
        return calm_map(volume, lungs)

    stand_in(detect)
    with caplog.at_level(logging.INFO):
        result = examine(tmp_path)
    (failure,) = result.failures
    assert "ZeroDivisionError" in failure.message
    assert failure.details["found"] == "ZeroDivisionError"
    assert "report" in failure.message
    assert "one" in failure.details["file"]
    said = json.dumps([failure.message, failure.details]) + caplog.text
    assert not any(secret in said for secret in ("ZEBRA", "PID4711", "19330722"))
    assert [s.verdict for s in result.series] == [Verdict.NO_EVIDENCE]
    assert result.exit_code == 1


def test_an_error_with_a_name_is_one_failure_with_its_parts(tmp_path, stand_in):
    write(tmp_path)
    stand_in(fail(InputError("cannot be judged", tag="PixelSpacing (0028,0030)", found="0", expected="above 0")))
    (failure,) = examine(tmp_path).failures
    assert failure.message == "cannot be judged; tag PixelSpacing (0028,0030); found 0; expected above 0"
    assert failure.details["error"] == "InputError"


def test_damaged_weights_are_no_fault_of_a_series(tmp_path, stand_in):
    write(tmp_path)
    stand_in(fail(ModelError("the weights are not the ones the card describes", file="spectrum.onnx")))
    with pytest.raises(ModelError, match=r"spectrum\.onnx"):
        examine(tmp_path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_no_failure_of_a_series(tmp_path, stand_in, error):
    write(tmp_path)
    stand_in(fail(error()))
    with pytest.raises(error):
        examine(tmp_path)


def test_one_series_of_several_may_be_chosen(tmp_path):
    write(tmp_path / "a", "A")
    write(tmp_path / "b", "B", seed=1, slices=3)
    both = examine(tmp_path)
    assert len(both.series) == 2
    for series in both.series:
        (chosen,) = essence(examine(tmp_path, with_spectrum(series=series.series_instance_uid)))
        assert chosen == essence(replace(both, series=(series,)))[0]


def test_an_unknown_series_is_refused_with_the_known_ones(tmp_path):
    write(tmp_path, series_uid="1.2.3.4")
    with pytest.raises(UsageError, match="no such series") as refused:
        examine(tmp_path, with_spectrum(series="1.2.3.5"))
    assert refused.value.found == "1.2.3.5"
    assert "1.2.3.4" in refused.value.expected


@pytest.mark.parametrize(("part", "counts", "code"), [("CHEST", True, 11), ("HEAD", False, 11)])
def test_a_series_without_lungs_is_not_examined(tmp_path, part, counts, code):
    hu = np.full((3, SIZE, SIZE), -1000, np.int16)
    hu[:, 30:130, 30:130] = 40
    write(tmp_path / "x", hu=hu, BodyPartExamined=part)
    result = examine(tmp_path)
    assert result.series == ()
    (left_out,) = result.not_examined
    assert "lung" in left_out.reason or "chest" in left_out.reason.lower()
    assert left_out.files == 3
    assert left_out.counts is counts
    assert result.exit_code == code


def test_no_lung_beside_a_judged_series_counts_only_where_it_is_called_chest(tmp_path):
    hu = np.full((3, SIZE, SIZE), -1000, np.int16)
    hu[:, 30:130, 30:130] = 40
    write(tmp_path / "a")
    write(tmp_path / "b", "B", hu=hu, BodyPartExamined="ABDOMEN")
    result = examine(tmp_path)
    assert len(result.series) == len(result.not_examined) == 1
    assert not result.not_examined[0].counts


def test_slices_left_out_count_as_not_examined(tmp_path, stand_in, monkeypatch):
    write(tmp_path)
    stand_in(calm_map)
    read = scan.read_series

    def with_note(*arguments, **options):
        return replace(read(*arguments, **options), notes=(Note("duplicate_position", "2 left out", ("1", "2")),))

    monkeypatch.setattr(scan, "read_series", with_note)
    result = examine(tmp_path)
    assert [(n.reason, n.files, n.counts) for n in result.not_examined] == [("2 left out", 2, True)]
    assert result.series[0].verdict is Verdict.NO_EVIDENCE
    assert result.exit_code == 11


def test_progress_names_what_is_done(tmp_path):
    write(tmp_path)
    told: list[tuple[str, int, int]] = []
    examine(tmp_path, with_spectrum(workers=1), lambda *step: told.append(step))
    assert all(0 <= done <= total for _, done, total in told)
    assert {"looking for series", "examining series", "reading slices", "finding the lungs"} <= {t[0] for t in told}


# --- between series ---


@pytest.mark.parametrize("confidence", list(Confidence))
@pytest.mark.parametrize(("detect", "before"), [(calm_map, Verdict.NO_EVIDENCE), (hot_map, Verdict.SUSPICIOUS)])
def test_findings_between_series_only_reach_indeterminate(tmp_path, stand_in, monkeypatch, confidence, detect, before):
    write(tmp_path, series_uid="1.2.3.4")
    stand_in(detect)
    cloned = Finding("cloned", "headers cloned across patients", "because", confidence)
    monkeypatch.setattr(scan, "examine_across", lambda fingerprints: {"1.2.3.4": (cloned,)})
    (series,) = examine(tmp_path).series
    raised = confidence is Confidence.CONTRADICTION and before is Verdict.NO_EVIDENCE
    assert series.verdict is (Verdict.INDETERMINATE if raised else before)
    assert ("headers cloned across patients" in series.reason) == raised
    assert series.findings[-1] == cloned


def test_series_are_not_compared_where_headers_are_not_asked_for(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr(scan, "examine_across", lambda fingerprints: pytest.fail("headers were not asked for"))
    examine(tmp_path, with_spectrum(detectors=("spectrum",)))


# --- whether thresholds hold ---


@pytest.mark.parametrize(
    ("detect", "verdict", "words"),
    [(hot_map, Verdict.INDETERMINATE, "look painted in one place, but"), (calm_map, Verdict.NO_EVIDENCE, "nothing")],
)
def test_unusual_noise_is_told_and_keeps_a_marked_series_from_being_suspicious(
    tmp_path, stand_in, monkeypatch, detect, verdict, words
):
    write(tmp_path)
    stand_in(detect)
    fit = examine(tmp_path).series[0]
    seen = []
    monkeypatch.setattr(
        scan, "examine_fitness", lambda volume, lungs: seen.append(volume) or Fitness(("it is odd", "and flat"), None)
    )
    result = examine(tmp_path)
    (series,) = result.series
    assert (series.verdict, result.exit_code) == (verdict, 11 if fit.regions else 0)
    assert words in series.reason
    assert "it is odd; and flat" in series.reason
    assert [n.message for n in series.notes if n.code == "unusual_noise"] == [
        "thresholds may not hold for the noise here: it is odd",
        "thresholds may not hold for the noise here: and flat",
    ]
    assert [(r.bounds, r.score, r.decisive) for r in series.regions] == [
        (r.bounds, r.score, r.decisive) for r in fit.regions
    ]
    assert all(volume.headers == () for volume in seen)  # what is judged are pixels
    document = to_json(result)
    assert document["series"][0]["reason"] == series.reason
    assert "unusual_noise" in [n["code"] for n in document["series"][0]["notes"]]


def test_fitness_is_asked_only_where_pixels_were_judged(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr(scan, "examine_fitness", lambda *_: pytest.fail("no pixel detector was run"))
    examine(tmp_path, with_spectrum(detectors=("header",)))


# --- provenance ---


def test_provenance_holds_options_and_the_models_that_were_run(tmp_path):
    write(tmp_path)
    options = with_spectrum(detectors=("spectrum", "header"), workers=2)
    provenance = examine(tmp_path, options).provenance
    card = load_model("spectrum").card
    assert provenance["models"] == {
        "spectrum": {key: card[key] for key in ("id", "version", "sha256")},
        "fitness": identify_limits(),
    }
    weights = Path(spectrum.__file__).parent / "weights" / "spectrum.onnx"
    assert provenance["models"]["spectrum"]["sha256"] == sha256_of(weights)
    assert provenance["options"] == {
        "detectors": ["spectrum", "header"], "series": None, "workers": 2, "pictures": False,
    }  # fmt: skip
    json.dumps(provenance)
    assert examine(tmp_path, with_spectrum(detectors=("header",))).provenance["models"] == {}


# --- the way a scan is handed over ---


def shuffle_names(folder: Path, source: Path) -> Path:
    folder.mkdir()
    files = sorted(source.iterdir())
    for number, index in enumerate(np.random.default_rng(0).permutation(len(files))):
        (folder / f"IM{number:05d}").write_bytes(files[index].read_bytes())
    return folder


def spread_over_folders(folder: Path, source: Path) -> Path:
    for number, file in enumerate(sorted(source.iterdir())):
        below = folder / f"part {number % 2}"
        below.mkdir(parents=True, exist_ok=True)
        (below / file.name).write_bytes(file.read_bytes())
    return folder


def zip_up(folder: Path, source: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(source.iterdir(), reverse=True):
            archive.write(file, f"study/{file.name}")
    return path


@pytest.mark.parametrize("hand_over", [shuffle_names, spread_over_folders, zip_up])
def test_names_order_and_packing_of_files_do_not_matter(tmp_path, low_thresholds, hand_over):
    write(tmp_path / "plain")
    plain = examine(tmp_path / "plain")
    assert plain.series[0].regions  # or nothing would be compared
    other = examine(hand_over(tmp_path / "other", tmp_path / "plain"))
    assert essence(other) == essence(plain)
    assert other.series[0].input_sha256 == plain.series[0].input_sha256


@pytest.mark.parametrize("syntax", [JPEGLSLossless, ExplicitVRBigEndian])
def test_reencoding_does_not_matter(tmp_path, low_thresholds, syntax):
    write(tmp_path / "plain")
    write(tmp_path / "again", transfer_syntax=syntax)
    plain, again = examine(tmp_path / "plain"), examine(tmp_path / "again")
    assert plain.series[0].regions
    assert [e[:5] for e in essence(again)] == [e[:5] for e in essence(plain)]
    assert again.series[0].input_sha256 != plain.series[0].input_sha256


@pytest.mark.parametrize("workers", [1, 4])
def test_workers_do_not_matter(tmp_path, low_thresholds, workers):
    write(tmp_path)
    assert essence(examine(tmp_path, with_spectrum(workers=workers))) == essence(examine(tmp_path))


# --- exit codes ---

CALM, UNSURE, BAD = Verdict.NO_EVIDENCE, Verdict.INDETERMINATE, Verdict.SUSPICIOUS
SCOUT, UNJUDGED = NotExamined("x", "a scout"), NotExamined("y", "no lung", counts=True)


@pytest.mark.parametrize(
    ("verdicts", "failed", "left_out", "code"),
    [
        ([CALM], False, [], 0),
        ([CALM], False, [SCOUT], 0),
        ([CALM, CALM], False, [SCOUT, SCOUT], 0),
        ([CALM], False, [UNJUDGED], 11),
        ([CALM, UNSURE], False, [], 11),
        ([UNSURE], False, [], 11),
        ([], False, [], 11),
        ([], False, [SCOUT], 11),
        ([], True, [], 1),
        ([CALM], True, [], 1),
        ([UNSURE], True, [UNJUDGED], 1),
        ([BAD], False, [], 10),
        ([BAD], True, [], 10),
        ([BAD, UNSURE, CALM], True, [UNJUDGED], 10),
    ],
)
def test_exit_code(verdicts, failed, left_out, code):
    result = replace(
        make_result(),
        series=tuple(replace(make_series_result(), verdict=v) for v in verdicts),
        failures=(make_failure(),) if failed else (),
        not_examined=tuple(left_out),
    )
    assert result.exit_code == code
