"""Everything that decides what is trained, and the recipes that have a name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from verict.errors import UsageError, did_you_mean

PUBLISHED_HU = (-700.0, 2000.0)  # arXiv 2407.15169: 83 % of the pixels around removals lie below (docs: back-in-time)
LUNG_HU = (-1050.0, 250.0)  # air to soft tissue with its noise


class Objective(StrEnum):
    """What is learnt of an untouched crop, and so what the residual of a crop is."""

    DIFFUSION = "diffusion"  # the noise at a random step of 1000: the residual is that of one reverse step
    DENOISER = "denoiser"  # the noise of one fixed level: the residual is what it would take away
    AUTOENCODER = "autoencoder"  # the crop itself, through a bottleneck: the residual is what is lost


@dataclass(frozen=True)
class NetworkRecipe:
    """The network.

    Parameters
    ----------
    design
        ``published`` (`verict.training.back_in_time.unet`), ``cells`` (a U-Net of MONAI's diffusion blocks on cells of
        2 x 2 pixels) or ``autoencoder`` (MONAI's).
    channels
        Of each level.
    """

    design: str = "cells"
    channels: tuple[int, ...] = (16, 32, 48)


@dataclass(frozen=True)
class FitRecipe:
    """How it is fitted.

    Parameters
    ----------
    steps, batch, accumulate
        Updates of the weights, crops in each batch, batches in each update.
    learning_rate
        Highest; reached after ``warm_up`` steps, and falling to 0 along a cosine unless ``constant_rate``.
    ema
        Decay of the averaged weights, which are the ones that are kept.
    highest_step
        Noise steps 0 to this are learnt; 999 is the whole schedule.
    save_every
        Steps between checkpoints; decides nothing else.
    """

    steps: int = 8000
    batch: int = 16
    accumulate: int = 1
    learning_rate: float = 1e-3
    warm_up: int = 100
    constant_rate: bool = False
    ema: float = 0.998
    highest_step: int = 999
    save_every: int = 500


@dataclass(frozen=True)
class BackInTimeRecipe:
    """What is learnt from, and how.

    Parameters
    ----------
    name
        Of the recipe.
    window_hu
        HU are clipped to it and shown as -1 to 1.
    crop_px
        Side of a crop, and of the tiles the detector shows the network.
    objective, network, fit
        See there.
    learnt_from
        Folders below ``authentic/`` that are learnt from; thresholds are fitted on the others.
    patients
        How many patients of these, drawn by the seed; all by default.
    chests
        Simulated chests that are learnt from too.
    real_share
        Of the crops that are of real scans.
    seed
        Of chests, weights, crops and noise.
    """

    name: str = "small"
    window_hu: tuple[float, float] = LUNG_HU
    crop_px: int = 64
    objective: Objective = Objective.DIFFUSION
    network: NetworkRecipe = field(default_factory=NetworkRecipe)
    fit: FitRecipe = field(default_factory=FitRecipe)
    learnt_from: tuple[str, ...] = ("tcga-singles",)
    patients: int | None = None
    chests: int = 16
    real_share: float = 0.7
    seed: int = 7


SMALL = BackInTimeRecipe()
PUBLISHED = BackInTimeRecipe(
    "published", PUBLISHED_HU, 96, Objective.DIFFUSION, NetworkRecipe("published", (32, 64, 128, 256)),
    FitRecipe(700_000, 64, 2, 8e-6, 0, constant_rate=True, ema=0.995, save_every=1000),
)
LARGE = replace(PUBLISHED, name="large", window_hu=LUNG_HU,
                fit=FitRecipe(1800, 64, 1, 2e-4, 500, ema=0.998, save_every=100))
RECIPES = {
    "published": PUBLISHED,
    "lung-window": replace(PUBLISHED, name="lung-window", window_hu=LUNG_HU),
    "large": LARGE,
    "large-published-window": replace(LARGE, name="large-published-window", window_hu=PUBLISHED_HU,
                                      fit=replace(LARGE.fit, steps=1900)),
    "medium": replace(SMALL, name="medium", network=NetworkRecipe("cells", (32, 64, 96)),
                      fit=FitRecipe(10_300, 64, 1, 5e-4, 200)),
    "small-long": replace(SMALL, name="small-long", fit=replace(SMALL.fit, steps=9500, batch=128)),
    "narrow": replace(SMALL, name="narrow", network=NetworkRecipe("cells", (8, 16, 24))),
    "small": SMALL,
    "small-published-window": replace(SMALL, name="small-published-window", window_hu=PUBLISHED_HU),
    "small-fine-steps": replace(SMALL, name="small-fine-steps", fit=replace(SMALL.fit, highest_step=99)),
    "denoiser": replace(SMALL, name="denoiser", objective=Objective.DENOISER, fit=replace(SMALL.fit, steps=2000)),
    "autoencoder": replace(SMALL, name="autoencoder", objective=Objective.AUTOENCODER,
                           network=NetworkRecipe("autoencoder", (8, 16, 32)), fit=replace(SMALL.fit, steps=2000)),
}
"""By name: the published configuration, also with a lung window; both for minutes of a graphics card; what two cores
can fit, larger, on more crops and smaller; and its rivals."""


def choose_recipe(name: str) -> BackInTimeRecipe:
    """A recipe by its name.

    Raises
    ------
    UsageError
        If no recipe has that name.
    """
    if name not in RECIPES:
        raise UsageError(f"no recipe named {name!r}", next_step=did_you_mean(name, RECIPES))
    return RECIPES[name]
