"""The JSON document keeps its schema, whatever is in the result."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from report.results import (
    SERIES_UID,
    SOP_ROOT,
    make_failure,
    make_p_value,
    make_ratio,
    make_reading,
    make_region,
    make_result,
    make_series,
    make_shown_series,
)
from report.schema_check import find_violations

from verict.detect.evidence import Evidence
from verict.detect.nodule.reading import Shown
from verict.detect.result import ScanResult, Verdict
from verict.report.json import figures_of, make_plain, to_json, to_text
from verict.report.words import SHOWN_MEANING

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "scan-result.schema.json").read_text(encoding="utf-8"))

RESULTS = {
    "suspicious": make_result(make_series()),
    "no_evidence": make_result(make_series(Verdict.NO_EVIDENCE)),
    "indeterminate": make_result(make_series(Verdict.INDETERMINATE, score=None, evidence=(), description={})),
    "two series": make_result(make_series(), make_series(Verdict.NO_EVIDENCE), failures=(make_failure(),)),
    "weighed": make_result(
        make_series(
            regions=(make_region(likelihood_ratio=make_ratio(13.6), ratio_reason=""),),
            p_value=make_p_value(),
            p_value_reason="",
        )
    ),
    "shown": make_result(make_shown_series()),
    "nothing shown": make_result(make_series(shows=make_reading(Shown.INDETERMINATE, highest=None))),
    "nothing": make_result(not_examined=()),
}


@pytest.mark.parametrize("anonymous", [False, True])
@pytest.mark.parametrize("name", RESULTS)
def test_document_keeps_the_schema(name: str, anonymous: bool) -> None:
    assert find_violations(json.loads(to_text(RESULTS[name], anonymous=anonymous)), SCHEMA) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "verict.scan/2"),
        (("exit_code",), 3),
        (("extra",), 1),
        (("series", 0, "verdict"), "authentic"),
        (("series", 0, "slice_count"), True),
        (("series", 0, "regions", 0, "centre_voxel_zyx"), [1.0, 2.0]),
        (("series", 0, "input_sha256"), "ab"),
        (("series", 0, "findings", 0, "tags", 0, "found"), None),
    ],
)
def test_the_check_of_the_schema_can_fail(path: tuple, value: object) -> None:
    document = json.loads(to_text(RESULTS["suspicious"]))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert find_violations(document, SCHEMA)


def test_missing_key_breaks_the_schema() -> None:
    document = to_json(RESULTS["suspicious"])
    del document["series"][0]["regions"][0]["decisive"]
    assert find_violations(document, SCHEMA) == ["$.series[0].regions[0]: decisive is missing"]


def test_values_are_the_results_own() -> None:
    document = to_json(make_result(make_series(), failures=(make_failure(),)))
    series = document["series"][0]
    assert document["schema"] == "verict.scan/1"
    assert (document["exit_code"], series["verdict"], series["score"]) == (10, "suspicious", 8.0)
    assert series["series_instance_uid"] == SERIES_UID
    region = series["regions"][1]
    assert region["centre_voxel_zyx"] == [12.0, 63.5, 39.5]
    assert region["centre_mm_lps"] == [-62.4, 18.2, -241.5]
    assert region["bounds_voxel"] == {"z": [10, 14], "y": [56, 71], "x": [32, 47]}
    assert region["sop_instance_uids"][0] == f"{SOP_ROOT}.10"
    assert [r["decisive"] for r in series["regions"]] == [False, True]
    assert series["findings"][0]["tags"][0]["keyword"] == "MediaStorageSOPInstanceUID"
    assert series["detectors"][1]["figures"][0]["interval"] == [0.847, 0.999]
    assert document["failures"][0]["details"]["problem"] == "pixel data is truncated"
    assert document["not_examined"][0]["counts"] is False


def test_numbers_that_are_not_finite_become_null() -> None:
    region = make_region(score=math.nan, centre_mm_lps=(math.inf, np.float32("nan"), -math.inf))
    document = json.loads(to_text(make_result(make_series(regions=(region,), score=math.inf))))
    assert document["series"][0]["score"] is None
    assert document["series"][0]["regions"][0]["centre_mm_lps"] == [None, None, None]
    assert find_violations(document, SCHEMA) == []


def test_numpy_values_become_plain() -> None:
    region = make_region(score=np.float32(2.5), slices=tuple(np.arange(2)), bounds=tuple(np.arange(6, dtype=np.int16)))
    document = json.loads(to_text(make_result(make_series(regions=(region,)))))
    assert document["series"][0]["regions"][0]["score"] == 2.5
    assert document["series"][0]["regions"][0]["slices"] == [0, 1]
    assert find_violations(document, SCHEMA) == []


def test_odd_text_survives() -> None:
    text = to_text(make_result(make_series(reason="a\udce9b\x00\u202e</script>\n")))
    assert text.isascii()
    assert json.loads(text)["series"][0]["reason"] == "a\\udce9b\x00\u202e</script>\n"


def test_one_line_is_one_line() -> None:
    text = to_text(make_result(make_series(reason="two\nlines")), one_line=True)
    assert text.endswith("\n")
    assert text.count("\n") == 1


def test_plain_values() -> None:
    assert make_plain({1: (Verdict.SUSPICIOUS, Path("a/b"), np.array([[1.0, np.nan]]), {3}, True, None)}) == {
        "1": ["suspicious", str(Path("a/b")), [[1.0, None]], [3], True, None]
    }


@pytest.mark.parametrize("figures", [None, "0.97", 3, {"name": "x"}, [None, "x", 7]])
def test_figures_of_another_shape_are_left_out(figures: object) -> None:
    assert figures_of(Evidence("spectrum", card={"figures": figures})) == []


def test_figures_with_parts_missing() -> None:
    card = {"figures": [{"name": "found", "value": 0.9}, {"interval": "0.8 to 1.0"}]}
    assert figures_of(Evidence("spectrum", card=card)) == [
        {"name": "found", "value": 0.9, "interval": None, "n": None, "text": ""},
        {"name": "", "value": None, "interval": None, "n": None, "text": ""},
    ]


def test_exit_code_of_nothing_is_eleven() -> None:
    assert to_json(ScanResult("x", (), (), (), {}))["exit_code"] == 11


def test_the_weight_is_written_with_its_alternatives() -> None:
    series = to_json(RESULTS["weighed"])["series"][0]
    assert series["p_value"] == {"value": 0.077, "smallest": 1 / 26, "patients": 25, "parts": 1}
    ratio = series["regions"][0]["likelihood_ratio"]
    assert (ratio["value"], ratio["at_bound"], ratio["words"]) == (13.6, True, "moderate support for repainting")
    assert (ratio["h1"], ratio["h2"]) == ("lung was repainted here", "untouched lung")


def test_a_missing_weight_is_null_with_the_reason() -> None:
    series = to_json(RESULTS["suspicious"])["series"][0]
    assert series["p_value"] is None
    assert series["regions"][0]["likelihood_ratio"] is None
    assert "model card" in series["p_value_reason"]
    assert "model card" in series["regions"][0]["likelihood_ratio_reason"]


def test_what_is_shown_stands_apart_from_the_verdict() -> None:
    document = to_json(RESULTS["shown"])
    series = document["series"][0]
    shows = series["shows"]
    assert (shows["shown"], shows["meaning"]) == ("cancer", SHOWN_MEANING[Shown.CANCER])
    assert (shows["reason"], shows["highest_score"]) == ("shows a 14 mm nodule in the left lung, upper third", 4.2)
    first, second = shows["nodules"]
    assert (first["long_axis_mm"], first["sop_instance_uid"]) == (14.2, f"{SOP_ROOT}.20")
    assert (second["long_axis_mm"], second["diameter_mm"], second["alone"]) == (None, None, True)
    painted, unjudged, removed = series["places"]
    assert (painted["nodule"], painted["region"], painted["most_likely"]) == (0, 1, "FM")
    assert painted["probabilities"] == {"TB": 0.004, "FB": 0.05, "TM": 0.076, "FM": 0.87}
    assert (unjudged["tamper_score"], unjudged["probabilities"], unjudged["most_likely"]) == (None, None, None)
    assert (removed["nodule"], removed["region"], removed["most_likely"]) == (None, 0, "FB")


def test_nobody_looked_for_nodules() -> None:
    series = to_json(RESULTS["suspicious"])["series"][0]
    assert (series["shows"], series["places"]) == (None, [])


@pytest.mark.parametrize("shown", Shown)
@pytest.mark.parametrize(("verdict", "code"), [(Verdict.SUSPICIOUS, 10), (Verdict.NO_EVIDENCE, 0)])
def test_what_is_shown_does_not_change_the_exit_code(shown: Shown, verdict: Verdict, code: int) -> None:
    assert to_json(make_result(make_series(verdict, shows=make_reading(shown))))["exit_code"] == code


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("shows", "shown"), "healthy"),
        (("shows", "nodules", 0, "slice_index"), -1),
        (("places", 0, "most_likely"), "XX"),
        (("places", 0, "probabilities", "TB"), None),
    ],
)
def test_the_schema_refuses_other_readings(path: tuple, value: object) -> None:
    document = json.loads(to_text(RESULTS["shown"]))
    place = document["series"][0]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert find_violations(document, SCHEMA)
