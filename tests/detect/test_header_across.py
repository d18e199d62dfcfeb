"""Headers compared across series: templates cloned over patients come out, honest neighbours do not."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import fields

import pytest
from header_series import ROOT, Series, honest_series

from verict.detect.evidence import Confidence
from verict.detect.header import examine_across, fingerprint
from verict.detect.header_rules.across import RULES

CONTRADICTION, UNUSUAL = Confidence.CONTRADICTION, Confidence.UNUSUAL


def honest_crowd(count: int = 4) -> list[Series]:
    """Series of different patients, each with a table height of its own."""
    crowd = [honest_series(5, series=str(n), patient=f"PATIENT-{n:04}", seed=n) for n in range(1, count + 1)]
    for n, series in enumerate(crowd):
        series.set("TableHeight", f"{150.5 + n}")
    return crowd


def found_in(crowd: list[Series]) -> dict[str, dict[str, Confidence]]:
    """Code and confidence of what was found, by series."""
    found = examine_across([fingerprint(series.volume()) for series in crowd])
    return {uid: {f.code: f.confidence for f in findings} for uid, findings in found.items()}


def uids(*numbers: int) -> set[str]:
    return {f"{ROOT}.{n}.2" for n in numbers}


def test_honest_series_of_different_patients_share_nothing() -> None:
    assert found_in(honest_crowd()) == {}


def test_two_reconstructions_of_one_patient_are_honest() -> None:
    first, second = honest_crowd(2)
    second.set("PatientID", "PATIENT-0001")
    second.set("FrameOfReferenceUID", f"{ROOT}.1.4")
    second.set("TableHeight", "150.5")
    second.set("PixelSpacing", ["0.6", "0.6"])
    second.set("ConvolutionKernel", "B70f")
    assert found_in([first, second]) == {}


def test_one_template_over_many_patients_is_named_in_each_of_them() -> None:
    crowd = honest_crowd(4)
    template = crowd[0].headers[0].file_meta.MediaStorageSOPInstanceUID
    for n, series in enumerate(crowd):
        series.set("MediaStorageSOPInstanceUID", template)
        series.set("FrameOfReferenceUID", f"{ROOT}.1.4")
        series.set("TableHeight", "150.5")
        series.set("PixelSpacing", [f"{0.6 + 0.05 * n:g}"] * 2)
    found = found_in(crowd)
    assert set(found) == uids(1, 2, 3, 4)
    expected = dict.fromkeys(("cloned_file_header", "cloned_frame_of_reference", "cloned_acquisition"), CONTRADICTION)
    assert all(each == expected for each in found.values())


def share_frame(*numbers: int) -> Callable[[list[Series]], None]:
    return lambda crowd: [crowd[n].set("FrameOfReferenceUID", f"{ROOT}.1.4") for n in numbers]


def share_instances(crowd: list[Series]) -> None:
    for source, target in zip(crowd[0].headers, crowd[1].headers, strict=True):
        target.SOPInstanceUID = target.file_meta.MediaStorageSOPInstanceUID = source.SOPInstanceUID


def share_instances_of_one_patient(crowd: list[Series]) -> None:
    share_instances(crowd)
    crowd[1].set("PatientID", "PATIENT-0001")


def share_table(*numbers: int, resized: bool = False) -> Callable[[list[Series]], None]:
    def apply(crowd: list[Series]) -> None:
        for n in numbers:
            crowd[n].set("TableHeight", "150.5")
        if resized:
            crowd[numbers[-1]].set("PixelSpacing", ["0.6", "0.6"])

    return apply


def share_file_header(crowd: list[Series]) -> None:
    for source, target in zip(crowd[0].headers, crowd[1].headers, strict=True):
        target.file_meta.MediaStorageSOPInstanceUID = source.SOPInstanceUID


def unname(crowd: list[Series]) -> None:
    share_frame(0, 1, 2, 3)(crowd)
    for series in crowd:
        series.set("PatientID", "")


def name_all_alike(crowd: list[Series]) -> None:
    share_frame(0, 1, 2, 3)(crowd)
    for series in crowd:
        series.set("PatientID", "ANONYMOUS")


CASES = [
    ("one file header in two series", share_file_header, "cloned_file_header", CONTRADICTION, uids(1, 2)),
    ("one frame of reference in two patients", share_frame(0, 1), "cloned_frame_of_reference", UNUSUAL, uids(1, 2)),
    ("and in three", share_frame(0, 1, 2), "cloned_frame_of_reference", CONTRADICTION, uids(1, 2, 3)),
    ("images of another patient", share_instances, "shared_instance_uid", CONTRADICTION, uids(1, 2)),
    ("images stored twice", share_instances_of_one_patient, "shared_instance_uid", UNUSUAL, uids(1, 2)),
    ("one acquisition, two sizes", share_table(0, 1, resized=True), "cloned_acquisition", CONTRADICTION, uids(1, 2)),
    ("one acquisition, three patients", share_table(0, 1, 2), "cloned_acquisition", UNUSUAL, uids(1, 2, 3)),
    ("one acquisition by chance in two", share_table(0, 1), "cloned_acquisition", None, set()),
    ("patients without a number", unname, "cloned_frame_of_reference", None, set()),
    ("one pseudonym for all", name_all_alike, "cloned_frame_of_reference", None, set()),
]


@pytest.mark.parametrize(("apply", "code", "confidence", "where"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_is_shared(
    apply: Callable[[list[Series]], None], code: str, confidence: Confidence | None, where: set[str]
) -> None:
    crowd = honest_crowd()
    apply(crowd)
    found = found_in(crowd)
    assert set(found) == where
    assert all(each == {code: confidence} for each in found.values())


def test_every_rule_and_every_degree_of_it_has_a_case() -> None:
    known = {(rule.code, confidence) for rule in RULES for confidence in rule.confidences}
    assert known == {(code, confidence) for _, _, code, confidence, _ in CASES if confidence}


def test_a_fingerprint_is_small_and_keeps_no_value_of_the_patient() -> None:
    kept = fingerprint(honest_series(300, patient="PATIENT-4711").volume())
    text = repr(kept)
    assert "4711" not in text and "Doubtfire" not in text and "1950" not in text
    assert len(pickle.dumps(kept)) < 20_000
    assert hash(kept) == hash(pickle.loads(pickle.dumps(kept)))
    assert all(isinstance(getattr(kept, f.name), str | int | float | frozenset) for f in fields(kept))


def test_a_series_met_twice_is_not_compared_with_itself() -> None:
    one = fingerprint(honest_crowd(1)[0].volume())
    assert examine_across([one, one]) == {}


def test_findings_across_are_the_same_whatever_the_order() -> None:
    crowd = honest_crowd()
    share_frame(0, 1, 2)(crowd)
    prints = [fingerprint(series.volume()) for series in crowd]
    assert examine_across(prints) == examine_across(prints[::-1])
