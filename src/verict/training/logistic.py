"""Scikit-learn's logistic regression, or one line that says what is missing."""

from __future__ import annotations

from typing import Any

from verict.errors import MissingExtraError


def make_regression(softness: float) -> Any:
    """An unfitted one that counts every class alike; ``softness`` is the inverse of the weight decay.

    Raises
    ------
    MissingExtraError
        If scikit-learn is missing.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtraError(
            "training needs scikit-learn", next_step="install it with: pip install 'verict[train]'"
        ) from error
    return LogisticRegression(C=softness, class_weight="balanced", max_iter=2000)
