"""Limits fitted on traits made in code: what went in is fit, what is far is not, and what is left out is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from verict.datasets.splits import Scanner
from verict.detect.fitness import find_misfits, load_limits
from verict.detect.noise_traits import NoiseTraits
from verict.errors import DatasetError
from verict.evaluation.fitness_fit import Reference, fit_limits, judge_left_out, write_limits


def make_references(count: int = 30, seed: int = 0) -> list[Reference]:
    """Spectra that fall more or less steeply, each by a scanner of its own."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        power = 14 - rng.uniform(0.3, 1.5) * np.arange(7) + rng.normal(0, 0.1, 7)
        traits = NoiseTraits(
            rng.uniform(0.6, 0.9), power, rng.uniform(-0.3, 0), rng.normal(0, 0.02), rng.normal(0, 0.02), 1
        )
        found.append(Reference("made", f"patient {number}", Scanner("maker", f"model {number}"), traits))
    return found


def test_everything_that_limits_were_fitted_on_is_fit():
    references = make_references()
    limits = fit_limits(references)
    assert [find_misfits(r.traits, limits) for r in references] == [()] * len(references)
    assert limits.pixel_mm[0] < min(r.traits.pixel_mm for r in references)
    far = replace(references[0].traits, power=references[0].traits.power[::-1].copy())
    assert len(find_misfits(far, limits)) == 1


def test_a_series_that_stands_alone_is_unfit_when_left_out():
    references = make_references()
    odd = replace(references[3].traits, pixel_mm=1.5)
    references[3] = replace(references[3], traits=odd, collection="odd")
    left_out = judge_left_out(references)
    assert left_out.series == {"made": 29, "odd": 1}
    assert left_out.unfit["odd"] == 1
    twin = replace(references[3], patient="twin")  # by the same scanner: left out with it
    assert judge_left_out([*references, twin]).unfit["odd"] == 2
    other = replace(twin, scanner=Scanner("maker", "another"))
    assert judge_left_out([*references, other]).unfit["odd"] == 0


def test_limits_survive_being_written(tmp_path):
    references = make_references()
    limits = fit_limits(references)
    card = write_limits(tmp_path, limits, references, judge_left_out(references))
    read = load_limits(tmp_path)
    assert read.pixel_mm == pytest.approx(limits.pixel_mm, abs=1e-4)
    assert read.distance_most == pytest.approx(limits.distance_most, abs=1e-4)
    np.testing.assert_allclose(read.references, limits.references, atol=1e-4)
    assert card["data"] == {"series": {"made": 30}, "patients": 30}
    assert fit_limits(references).distance_most == limits.distance_most  # nothing is drawn


def test_too_few_scans_are_refused():
    with pytest.raises(DatasetError, match="too few"):
        fit_limits(make_references(5))
