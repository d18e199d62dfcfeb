from __future__ import annotations

from collections import Counter

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verict.datasets.splits import Scanner, group_of, grouped_folds, joined_groups, scanner_of, unseen_by
from verict.datasets.uci import read_collection
from verict.errors import UsageError

MODELS = st.builds(Scanner, st.sampled_from(["", "ge", "siemens"]), st.sampled_from(["", "a", "b"]))
SAMPLES = st.lists(st.tuples(st.integers(0, 8), MODELS), min_size=1, max_size=30)


@st.composite
def dealt(draw):
    groups = draw(st.lists(st.integers(0, 15), min_size=2, max_size=60).filter(lambda g: len(set(g)) > 1))
    classes = draw(st.lists(st.sampled_from("ab"), min_size=len(groups), max_size=len(groups)))
    return groups, classes, draw(st.integers(2, min(5, len(set(groups))))), draw(st.integers(0, 9))


@given(dealt(), st.booleans())
def test_folds_hold_each_sample_once_and_groups_whole(drawn, balanced):
    groups, classes, k, seed = drawn
    folds = grouped_folds(groups, k, seed, classes=classes if balanced else None)
    assert len(folds) == k
    assert all(len(fold) and (np.diff(fold) > 0).all() for fold in folds)
    assert sorted(np.concatenate(folds)) == list(range(len(groups)))
    seen = [{groups[i] for i in fold} for fold in folds]
    assert sum(map(len, seen)) == len(set(groups))
    again = grouped_folds(groups, k, seed, classes=classes if balanced else None)
    assert all((a == b).all() for a, b in zip(folds, again, strict=True))


@given(st.lists(st.integers(1, 6), min_size=5, max_size=30), st.integers(0, 5))
def test_folds_are_balanced(sizes, seed):
    groups = [g for g, size in enumerate(sizes) for _ in range(size)]
    lengths = [len(fold) for fold in grouped_folds(groups, 5, seed)]
    assert max(lengths) - min(lengths) <= max(sizes)


def test_seeds_deal_differently():
    groups = list(range(40))
    assert [f.tolist() for f in grouped_folds(groups, 5, 0)] != [f.tolist() for f in grouped_folds(groups, 5, 1)]


def test_classes_are_spread():
    groups = list(range(40))
    classes = ["FB"] * 30 + ["FM"] * 10
    for fold in grouped_folds(groups, 5, 3, classes=classes):
        assert Counter(classes[i] for i in fold) == {"FB": 6, "FM": 2}


def test_impossible_folds_are_refused():
    for k in (0, 1, 3):
        with pytest.raises(UsageError, match="folds cannot be dealt"):
            grouped_folds(["a", "a", "b"], k, 0)
    with pytest.raises(UsageError, match="one class a sample"):
        grouped_folds(["a", "b"], 2, 0, classes=["x"])
    with pytest.raises(UsageError, match="folds cannot be dealt"):
        grouped_folds([], 2, 0)


@pytest.mark.parametrize("seed", range(5))
def test_published_twins_stay_whole_when_experiments_are_pooled(shared_data, seed):
    rows = read_collection(shared_data / "labels").rows
    folds = grouped_folds([group_of(r.uuid) for r in rows], 5, seed, classes=[r.type for r in rows])
    uuids = [{rows[i].uuid for i in fold} for fold in folds]
    for twin in ("6031", "7507"):
        (fold,) = [f for f, found in zip(folds, uuids, strict=True) if twin in found]
        assert {rows[i].experiment for i in fold if rows[i].uuid == twin} == {1, 2}
    lengths = [len(fold) for fold in folds]
    assert max(lengths) - min(lengths) <= 6


def test_uuid_groups_do_not_depend_on_spelling():
    assert group_of(6031) == group_of(" 6031 ") != group_of("7507")


@pytest.mark.parametrize(
    ("manufacturer", "model", "kernel", "expected"),
    [
        ("Philips", "Brilliance 16P", "D", "philips:brilliance16"),
        ("Philips", "Brilliance16", "L", "philips:brilliance16"),
        ("Philips Medical Systems", "Brilliance 64", "L", "philips:brilliance64"),
        ("GE MEDICAL SYSTEMS", "LightSpeed Pro 16", "LUNG", "ge:lightspeedpro16"),
        ("GE MEDICAL SYSTEMS", "LightSpeed16", "LUNG", "ge:lightspeed16"),
        ("SIEMENS", "Volume Zoom", "B60f", "siemens:volumezoom"),
        (None, None, "B31f", "siemens:?"),
        (None, None, ["B31f", "2"], "siemens:?"),
        (None, None, "STANDARD", "?:?"),
        ("TOSHIBA", "Aquilion", "FC51", "canon:aquilion"),
        ("Acme, Inc.", "X 1", None, "acmeinc.:x1"),
    ],
)
def test_scanner_models(manufacturer, model, kernel, expected):
    header = pydicom.Dataset()
    for keyword, value in (("Manufacturer", manufacturer), ("ManufacturerModelName", model),
                           ("ConvolutionKernel", kernel)):
        if value is not None:
            setattr(header, keyword, value)
    assert str(scanner_of(header)) == expected


def test_an_untold_model_may_be_any():
    assert Scanner().may_be(Scanner("ge", "a"))
    assert Scanner("ge").may_be(Scanner("ge", "a"))
    assert not Scanner("ge").may_be(Scanner("siemens", "a"))
    assert not Scanner("ge", "b").may_be(Scanner("ge", "a"))


@given(SAMPLES)
def test_joined_groups_share_neither_patient_nor_scanner(samples):
    patients, scanners = zip(*samples, strict=True)
    groups = joined_groups(patients, scanners)
    for i, (patient, scanner) in enumerate(samples):
        for j, (other_patient, other) in enumerate(samples):
            if patient == other_patient or scanner.may_be(other):
                assert groups[i] == groups[j]
    assert list(dict.fromkeys(groups.tolist())) == list(range(groups.max() + 1))


def test_joined_groups_join_no_more_than_needed():
    scanners = [Scanner("ge", "a"), Scanner("ge", "b"), Scanner("siemens", "a"), Scanner("siemens", "c")]
    assert joined_groups("pqrr", scanners).tolist() == [0, 1, 2, 2]
    assert joined_groups("pqrs", [scanners[0], scanners[1], Scanner("ge"), scanners[3]]).tolist() == [0, 0, 0, 1]


@given(SAMPLES, st.data())
def test_unseen_is_exactly_what_shares_nothing(samples, data):
    patients, scanners = zip(*samples, strict=True)
    held = data.draw(st.sets(st.integers(0, len(samples) - 1), min_size=1, max_size=3))
    kept = set(unseen_by(patients, scanners, held).tolist())
    for i, (patient, scanner) in enumerate(samples):
        clash = any(patient == patients[h] or scanner.may_be(scanners[h]) for h in held)
        assert (i in kept) is not clash


def test_lengths_must_agree():
    with pytest.raises(UsageError, match="one scanner a sample"):
        joined_groups("ab", [Scanner()])
    with pytest.raises(UsageError, match="one scanner a sample"):
        unseen_by("a", [], [0])
