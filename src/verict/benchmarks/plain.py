"""The models of scikit-learn, and the normalisation all models share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from verict.errors import MissingExtraError


class Classifier(Protocol):
    """What a fitted model of scikit-learn offers here."""

    classes_: np.ndarray

    def fit(self, features: np.ndarray, kinds: np.ndarray) -> Classifier:
        """Fit on (n, features) and (n,) classes."""

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """(n, classes) probabilities."""


@dataclass(frozen=True, eq=False)
class Normalisation:
    """Mean and standard deviation, one pair for all pixels of an image, or one a feature: what is fitted first."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray, *, of_image: bool) -> Normalisation:
        """Of (n, ...) values; over everything for images, over rows alone for features."""
        axis = None if of_image else 0
        mean, scale = values.mean(axis=axis, dtype=np.float64), values.std(axis=axis, dtype=np.float64)
        return cls(np.asarray(mean), np.maximum(np.asarray(scale), 1e-6))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Float32 of the same shape."""
        return ((values - self.mean) / self.scale).astype(np.float32)


def make_classifier(name: str, seed: int) -> Classifier:
    """An unfitted model by the name its entry gives it.

    Raises
    ------
    MissingExtraError
        If scikit-learn is not installed.
    """
    try:
        return _makers()[name](seed)
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError:
    """What is said where a package of the extra is not installed."""
    return MissingExtraError("verict bench needs packages that are not installed", found=f"no {error.name}",
                             next_step="pip install 'verict[bench]'")  # fmt: skip


def _makers() -> dict[str, Callable[[int], Any]]:
    from sklearn.dummy import DummyClassifier
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.tree import DecisionTreeClassifier

    return {
        "majority": lambda seed: DummyClassifier(strategy="prior"),
        "normal": lambda seed: GaussianNB(),
        "svm": lambda seed: Margins(),
        "forest": lambda seed: RandomForestClassifier(300, random_state=seed),
        "tree": lambda seed: DecisionTreeClassifier(random_state=seed),
        "boosted": lambda seed: HistGradientBoostingClassifier(random_state=seed, min_samples_leaf=5),
        "logistic": lambda seed: LogisticRegression(max_iter=2000, C=0.01),
    }


class Margins:
    """A support vector machine with a Gaussian kernel; its margins, as shares that add up to 1."""

    def fit(self, features: np.ndarray, kinds: np.ndarray) -> Margins:
        """Fit on (n, features) and (n,) classes."""
        from sklearn.svm import SVC

        self._machine = SVC(decision_function_shape="ovr").fit(features, kinds)
        self.classes_ = self._machine.classes_
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """(n, classes): the higher the margin of a class the higher its share; they are no probabilities."""
        margins = self._machine.decision_function(features)
        if margins.ndim == 1:
            margins = np.stack([-margins, margins], axis=1)
        shares = np.exp(margins - margins.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)
