"""From folders on disk to an evaluation: everything in it, one scan in memory at a time, failures on record."""

from __future__ import annotations

import gc
import weakref

import pytest
from builders import make_series
from evaluation.cheats import Honest, make_authentic, make_labelled, make_scan, write_betraying_collection

from verict.datasets.uci import SiteType
from verict.errors import InputError, UsageError
from verict.evaluation.fair import Entrant
from verict.evaluation.published_fakes import PUBLISHED_FAKES
from verict.evaluation.run import NODULES_FILE, count_real_fakes, evaluate_detector, evaluate_entrant

HONEST = Entrant("honest", lambda _: Honest())


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three labelled scans of a slice, one of them damaged, and two authentic series."""
    root = tmp_path_factory.mktemp("run")
    scans = [make_scan(seed, [kind]) for seed, kind in enumerate([SiteType.FB, SiteType.FM, SiteType.FB], start=1)]
    write_betraying_collection(root / "labelled", scans)
    for seed, scan in enumerate(make_authentic(2)):
        make_series(root / "authentic" / f"series{seed}", hu=scan.volume.hu, patient_id=f"A{seed}", seed=seed)
    (root / "authentic" / NODULES_FILE).write_text(
        "folder,type,instance_number,z_mm,x,y,extent_px,z_min_mm,z_max_mm,source\n"
        "series0,TM,1,-200,62,62,12,-210,-190,made\n",
        encoding="utf-8",
    )
    return root


@pytest.fixture(scope="module")
def evaluation(folders):
    return evaluate_detector(folders / "labelled", folders / "authentic", "spectrum", workers=1)


def test_both_collections_are_judged(evaluation):
    assert evaluation.detector == "spectrum"
    assert evaluation.data["labelled"]["series"] == 3
    assert evaluation.data["labelled"]["labels"] == {"FB": 2, "FM": 1}
    assert evaluation.data["authentic"]["series"] == 2


def test_data_tells_which_model_and_that_it_had_not_seen_these(evaluation):
    assert evaluation.data["model"]["id"] == "spectrum"
    assert len(evaluation.data["model"]["sha256"]) == 64
    assert evaluation.data["labelled"]["seen"] == {"unseen": 3}
    assert evaluation.data["real_fakes"] == 0


def test_probes_and_conclusions_are_there(evaluation):
    assert evaluation.probes["mirrored"]["auc_lost"].figure.n == 3
    assert "too_few" in {c.code for c in evaluation.conclusions}
    assert "in_sample" not in {c.code for c in evaluation.conclusions}


def test_documented_nodules_are_places(folders, evaluation):
    beside = evaluation.data["authentic"]["places"]["nodule"]
    (folders / "authentic" / NODULES_FILE).rename(folders / NODULES_FILE)
    again = evaluate_detector(folders / "labelled", folders / "authentic", "spectrum", workers=1, probe=False)
    assert again.data["authentic"]["places"]["nodule"] == beside, "also found beside the collection"
    (folders / NODULES_FILE).unlink()
    without = evaluate_detector(folders / "labelled", folders / "authentic", "spectrum", workers=1, probe=False)
    assert without.data["authentic"]["places"].get("nodule", 0) == beside - 1


def test_without_probes_nothing_is_shown_again(folders):
    evaluation = evaluate_detector(folders / "labelled", None, "spectrum", workers=1, probe=False)
    assert evaluation.probes == {}
    assert evaluation.data["authentic"]["series"] == 0


def test_a_damaged_series_is_on_record_and_the_others_are_judged(folders, tmp_path):
    broken = tmp_path / "authentic" / "series"
    make_series(broken, slices=1, rows=64, columns=64)
    (broken / "002.dcm").write_bytes((broken / "001.dcm").read_bytes()[:700])
    failures: list[InputError] = []
    evaluation = evaluate_detector(
        folders / "labelled", broken.parent, "spectrum", workers=1, probe=False, failures=failures
    )
    assert evaluation.data["labelled"]["series"] == 3
    assert [f.file.endswith("002.dcm") for f in failures] == [True]
    with pytest.raises(InputError):
        evaluate_detector(folders / "labelled", broken.parent, "spectrum", workers=1, probe=False)


@pytest.mark.parametrize("missing", ["labelled", "authentic"])
def test_a_folder_that_is_not_there_is_told_before_anything_is_read(folders, missing):
    named = {name: folders / name for name in ("labelled", "authentic")} | {missing: folders / "nowhere"}
    with pytest.raises(UsageError, match="no such folder"):
        evaluate_detector(*named.values(), "spectrum", progress=lambda *_: pytest.fail("something was read"))


def test_a_detector_of_headers_alone_cannot_be_measured_at_places(folders):
    with pytest.raises(UsageError, match="no score map"):
        evaluate_detector(folders / "labelled", None, "header")


def test_one_scans_pixels_are_in_memory_at_a_time():
    held: list[weakref.ref] = []

    def one_by_one():
        for seed in range(1, 7):
            gc.collect()
            assert sum(ref() is not None for ref in held) <= 1, "only the last one may still be held"
            scan = make_scan(seed, (SiteType.FB,))
            held.append(weakref.ref(scan.volume.hu))
            yield scan
            del scan

    evaluation = evaluate_entrant(HONEST, one_by_one())
    gc.collect()
    assert [ref() for ref in held] == [None] * 6
    assert evaluation.data["labelled"]["series"] == 6


def test_the_same_seed_gives_the_same_evaluation():
    scans = [*make_labelled(3), *make_authentic(2)]
    first, second = (evaluate_entrant(HONEST, iter(scans), seed=3) for _ in range(2))
    assert first == second
    assert first.data["model"] is None


def test_published_fakes_are_recognised_by_their_place_whatever_the_folder_is_called():
    scan = make_scan(1, (SiteType.FB, SiteType.FM))
    assert count_real_fakes(scan) == 0
    label = scan.labels[0][0]
    number, x, y = next(iter(sorted(PUBLISHED_FAKES)))
    scan.labels[0] = (type(label)(SiteType.FM, y, x), type(label)(SiteType.TM, y, x))
    object.__setattr__(scan, "numbers", (number, 200))
    assert count_real_fakes(scan) == 1
