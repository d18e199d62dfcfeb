from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from verict.errors import UsageError
from verict.tamper.ctgan_cuboid import HOLE, Equaliser
from verict.training.ctgan.data import ROOM, Bank
from verict.training.ctgan.fit import FitRecipe, fit_generator
from verict.training.ctgan.networks import Generator

SMALL = FitRecipe(filters=2, steps=4, batch=2)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def bank() -> Bank:
    """Cuboids that are dark in one half of them and bright in the other."""
    rng = np.random.default_rng(0)
    levels = rng.choice([-900.0, -700.0], (8, 1, 1, 1))
    return Bank.of(list(rng.normal(levels, 15, (8, 32, ROOM, ROOM)).astype(np.float32)), ["made"] * 8)


@pytest.fixture(scope="module")
def equaliser(bank: Bank) -> Equaliser:
    return Equaliser.fit(bank.middles())


class Killed(Exception):  # noqa: N818
    pass


def fit(bank: Bank, equaliser: Equaliser, recipe: FitRecipe, checkpoint: Path, kill_at: int | None = None) -> Generator:
    def report(step: int, losses: dict[str, float]) -> None:
        if step == kill_at:
            raise Killed

    return fit_generator(bank, equaliser, recipe, checkpoint, report, checkpoint_every=2)


def weights(generator: Generator) -> list[torch.Tensor]:
    return list(generator.state_dict().values())


def test_a_killed_training_resumes_to_the_same_weights(tmp_path: Path, bank: Bank, equaliser: Equaliser) -> None:
    whole = fit(bank, equaliser, SMALL, tmp_path / "whole.pt")
    with pytest.raises(Killed):
        fit(bank, equaliser, SMALL, tmp_path / "killed.pt", kill_at=3)
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["killed.pt", "whole.pt"]
    resumed = fit(bank, equaliser, SMALL, tmp_path / "killed.pt")
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))


def test_another_seed_gives_other_weights(tmp_path: Path, bank: Bank, equaliser: Equaliser) -> None:
    one = fit(bank, equaliser, replace(SMALL, steps=2), tmp_path / "a.pt")
    other = fit(bank, equaliser, replace(SMALL, steps=2, seed=8), tmp_path / "b.pt")
    assert not torch.equal(weights(one)[0], weights(other)[0])


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path, bank: Bank, equaliser: Equaliser) -> None:
    fit(bank, equaliser, replace(SMALL, steps=2), tmp_path / "a.pt")
    with pytest.raises(UsageError, match="other settings") as error:
        fit(bank, equaliser, replace(SMALL, steps=2, batch=3), tmp_path / "a.pt")
    assert "checkpoint" in str(error.value.next_step)


def test_the_hole_is_learnt_from_its_rim(tmp_path: Path, bank: Bank, equaliser: Equaliser) -> None:
    recipe = FitRecipe(filters=4, steps=30, batch=4, learning_rate=4e-3)
    errors: list[float] = []
    generator = fit_generator(
        bank, equaliser, recipe, tmp_path / "a.pt", lambda _, losses: errors.append(losses["error_in_hole"])
    )
    # each half of the cuboids spans half of the equalised range: the best constant is off by 0.25, a seen half by 0.125
    assert np.mean(errors[-5:]) < min(0.22, 0.8 * np.mean(errors[:5]))
    masked = equaliser.normalise(bank.middles())
    masked[:, *HOLE] = 0
    with torch.no_grad():
        painted = generator(torch.from_numpy(masked)[:, None])[:, 0].numpy()[:, *HOLE].mean(axis=(1, 2, 3))
    truth = bank.middles()[:, *HOLE].mean(axis=(1, 2, 3))
    assert painted[truth > -800].min() > painted[truth < -800].max()
