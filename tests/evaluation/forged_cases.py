"""Cases whose places were forged by two methods and two touch-ups, of which a detector finds the named methods."""

from __future__ import annotations

import numpy as np
from evaluation.cases import make_case, place

from verict.evaluation.case import Place

CELLS = 40
UNTOUCHED = range(2, 22)  # columns of cells
LOOK = (20.0, 10.0, -400.0)  # of injected places and of what looks like them


def forged(kind: str, column: int, method: str, touch_up: str) -> Place:
    where = place(kind, 4, column, look=LOOK if kind == "FM" else (-850.0, float("nan"), float("nan")))
    return Place(**{**vars(where), "method": method, "touch_up": touch_up})


def make_cases(found: set[str]):
    """Six patients, each with a removal and an injection by each of two methods; only the named methods score."""
    cases = []
    for number in range(6):
        values = np.zeros((1, 12, CELLS))
        values[0, :, :] = np.linspace(-1, 0, CELLS)
        places = []
        for i, (kind, method, touch_up) in enumerate(
            [("FB", "a", "x"), ("FB", "b", "y"), ("FM", "a", "y"), ("FM", "b", "x")]
        ):
            column = 26 + 3 * i
            places.append(forged(kind, column, method, touch_up))
            values[0, 4, column] = 9.0 if method in found else -5.0
            values[0, 3:6, column - 1 : column + 2] = values[0, 4, column]
        places += [place("parenchyma", 9, c, look=(-850.0, float("nan"), float("nan"))) for c in UNTOUCHED]
        places += [place("bright", 6, c, look=LOOK) for c in UNTOUCHED]
        cases.append(make_case(values, labels=[("FB", 0, 4, 26)], places=places, patient=f"p{number}"))
    return cases
