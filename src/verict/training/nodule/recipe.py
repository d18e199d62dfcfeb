"""How the network that scores places is fitted; without torch, so that it can be told without it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkRecipe:
    """How each member is fitted.

    ``hidden`` units in both layers, ``members`` whose log odds are averaged, ``steps`` of ``batch`` places of which
    ``positive_share`` are nodules, ``drop_out`` of hidden units, ``noise`` in standard deviations of each feature,
    ``learning_rate`` and ``weight_decay`` of AdamW.
    """

    hidden: int = 128
    members: int = 3
    steps: int = 2500
    batch: int = 512
    positive_share: float = 0.25
    drop_out: float = 0.2
    noise: float = 0.05
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
