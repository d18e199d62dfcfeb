"""One model on one fold: what is fitted, on which items, and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from verict.benchmarks.cost import CPU, Cost, Meter
from verict.benchmarks.entries import Entry, Learner
from verict.benchmarks.fit import Tuning, extract_features, fit_network, judge, start_network, to_probabilities
from verict.benchmarks.plain import Normalisation, make_classifier
from verict.benchmarks.protocols import Fold, Items, Protocol, make_items
from verict.benchmarks.samples import Samples, Sees, show
from verict.datasets.uci import SiteType
from verict.detect.four_classes import CLASSES

_IMAGES = (Sees.CUBOID, Sees.MIDDLE, Sees.WINDOW)
Features = Callable[[Items], np.ndarray]


@dataclass(frozen=True, eq=False)
class Fitted:
    """What was learnt on one fold: the normalisation, and what gives (n, 4) probabilities of normalised items."""

    normalisation: Normalisation
    tell: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Told:
    """What a model says of the test items of one fold, and what that cost.

    Parameters
    ----------
    rows, copies
        (n,) which items.
    probabilities
        (n, 4) in the order of `CLASSES`; NaN where a detector gives none.
    trained_on
        How many items were learnt from.
    cost
        Seconds of fitting; memory while fitting and judging.
    score
        (n,) "tampered?", higher = more suspicious, where it is not the sum of the probabilities of FB and FM.
    """

    rows: np.ndarray
    copies: np.ndarray
    probabilities: np.ndarray
    trained_on: int
    cost: Cost
    score: np.ndarray | None = None

    @property
    def tampered(self) -> np.ndarray:
        """(n,) how likely each item is tampered with; higher = more suspicious."""
        if self.score is not None:
            return self.score
        return self.probabilities[:, [kind.is_tampered for kind in CLASSES]].sum(axis=1)


def run_fold(
    entry: Entry, samples: Samples, fold: Fold, protocol: Protocol, tuning: Tuning, *, seed: int,
    features: Features | None = None,
) -> Told:
    """Fit a model on a fold's training items and judge its test items.

    Parameters
    ----------
    entry, protocol, tuning, seed
        What is fitted, and how.
    samples, fold
        The rows, and which of them are on which side.
    features
        For frozen networks: what they give of items, which no fold changes.

    Raises
    ------
    MissingExtraError
        If torch or scikit-learn is not installed.
    """
    show_items = features or (lambda items: see(entry, samples, items, protocol, tuning))
    meter = Meter(tuning.device if entry.learner is Learner.NETWORK else CPU)
    fitted = fit_fold(entry, samples, fold, protocol, tuning, seed=seed, show_items=show_items)
    spent = meter.stop()
    probabilities = fitted.tell(fitted.normalisation.apply(show_items(fold.test)))
    return Told(fold.test.row, fold.test.copy, probabilities, len(fold.train), meter.read(spent))


def see(entry: Entry, samples: Samples, items: Items, protocol: Protocol, tuning: Tuning) -> np.ndarray:
    """What a model is shown of some items, the label only where its protocol says so."""
    shows_label = protocol.shows_label and entry.needs_label and not entry.hides_label
    return show(samples, items, entry.sees, window_px=tuning.window_px, shows_label=shows_label)


def fit_fold(
    entry: Entry, samples: Samples, fold: Fold, protocol: Protocol, tuning: Tuning, *, seed: int,
    show_items: Features,
) -> Fitted:
    """Normalisation and model, from training items alone unless the protocol fits the first on all items."""
    known = show_items(fold.train)
    kinds = samples.kind[fold.train.row]
    base = np.concatenate([known, show_items(fold.test)]) if protocol.fits_on_all else known
    of_image = entry.sees in _IMAGES and entry.learner is not Learner.FROZEN
    normalisation = Normalisation.fit(base, of_image=of_image)
    learnt = normalisation.apply(known)
    fold_seed = seed + 1000 * fold.repeat + fold.number
    if entry.learner is Learner.NETWORK:
        return Fitted(normalisation, _fit_network(entry, learnt, kinds, tuning, fold_seed))
    name = "logistic" if entry.learner is Learner.FROZEN else entry.make
    return Fitted(normalisation, _fit_plain(name, learnt, kinds, fold_seed))


def _fit_plain(name: str, learnt: np.ndarray, kinds: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    model = make_classifier(name, seed).fit(learnt.reshape(len(learnt), -1), kinds)
    order = [CLASSES.index(SiteType(kind)) for kind in model.classes_]

    def tell(values: np.ndarray) -> np.ndarray:
        probabilities = np.zeros((len(values), len(CLASSES)))
        probabilities[:, order] = model.predict_proba(values.reshape(len(values), -1))
        return probabilities

    return tell


def _fit_network(
    entry: Entry, learnt: np.ndarray, kinds: np.ndarray, tuning: Tuning, seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    numbers = np.array([CLASSES.index(SiteType(kind)) for kind in kinds], np.int64)
    network = start_network(entry.make, learnt.shape[-1], tuning, seed)
    fit_network(network, _add_channels(entry, learnt), numbers, tuning, seed)
    return lambda values: to_probabilities(judge(network, _add_channels(entry, values), tuning.device))


def _add_channels(entry: Entry, images: np.ndarray) -> np.ndarray:
    """(n, channels, ...): published networks are shown a grey slice as all three of their channels."""
    channels = 3 if entry.needs_weights else 1
    return np.repeat(images[:, None], channels, axis=1)


def extract_all(
    entry: Entry, samples: Samples, copies: int, tuning: Tuning, *, seed: int
) -> tuple[np.ndarray, Cost]:
    """(rows x (copies + 1), features) float32 of a frozen network for every item, and what that cost."""
    meter = Meter(tuning.device)
    items = make_items(np.arange(len(samples)), copies)
    windows = show(samples, items, Sees.WINDOW, window_px=tuning.window_px, shows_label=False)
    values = extract_features(entry.make, windows, tuning, seed)
    return values, meter.read(meter.stop())
