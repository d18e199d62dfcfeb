"""Drawn texture that goes on from the real slices around it, however thick they are.

Where real texture x and drawn texture n change over from slice to slice by weights cos(a) and sin(a), neighbours lose
1 - cos(a_i - a_j) of their correlation r_ij if the two are independent. Thin slices lose next to nothing. Of thick ones
a cuboid has four, and the change-over is one step. Nothing is lost, of the variance neither, if the drawn texture is
correlated with the real one by

    c_ij = r_ij tan((a_i - a_j) / 2)        n of slice i with x of slice j

for then cos a_i sin a_j c_ji + sin a_i cos a_j c_ij = r_ij (1 - cos(a_i - a_j)), and c_ii is 0. So the drawn texture is
given that correlation: a part of it is predicted from the real slices, the rest keeps what variance is left (as in
conditional simulation, Journel and Huijbregts, Mining Geostatistics, 1978). All of it ring by ring of in-plane
frequency, since coarse texture goes on further than fine. Where slices are nearly equal no texture has all that
correlation; there each pattern along z gets as much of it as it can have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from verict.tamper.touch_ups.scan_texture import ring_radius

NEAR, TURNS = 2, 12  # lags that are kept as they were found, and how often, where no sequence has them all
MOST_LIKE = 0.95  # correlation of a pattern along z of drawn slices with one of real slices; 1 leaves nothing to draw
LEAST_POWER = 0.02  # of a slice's, taken as its own alone: predictions from nearly equal slices stay small


@dataclass(frozen=True, eq=False)
class ChangeOver:
    """How drawn slices take over from real ones.

    Parameters
    ----------
    drawn
        (n, rings) angle of each slice that is drawn, 0 where all is real, pi / 2 where nothing is.
    known, known_at
        (m, rings) angles of the slices of which real texture is left, and (m,) their places, those drawn being 0 to
        n - 1.
    """

    drawn: np.ndarray
    known: np.ndarray
    known_at: np.ndarray

    def continue_from(
        self, texture: np.ndarray, real: np.ndarray, correlation: np.ndarray, share: np.ndarray, side: int
    ) -> np.ndarray:
        """Correlate drawn texture with real texture.

        Parameters
        ----------
        texture
            (n, y, x) drawn, stationary.
        real
            (m, y, x) real texture, mean 0.
        correlation
            (lags, rings) along z, of either.
        share
            (rings,) power of the real texture in that of the drawn one, at most 1.
        side
            Of the windows the rings belong to.
        """
        if not len(self.known) or not np.ptp(np.r_[self.drawn, self.known]):
            return texture
        rings = correlation.shape[1]
        circle = len(texture) + 2 * len(correlation) + len(self.known)
        likeness = np.fft.ifft(power_along_z(correlation, circle), axis=0).real
        at = np.arange(len(texture))
        among_drawn, among_known, across = (
            likeness[np.abs(a[:, None] - b)].transpose(2, 0, 1)
            for a, b in ((at, at), (self.known_at, self.known_at), (at, self.known_at))
        )  # (rings, ., .)
        wanted = across * np.tan((self.drawn[:, None] - self.known) / 2).transpose(2, 0, 1)
        of_drawn = _root(among_drawn + LEAST_POWER * np.eye(len(at)), 0.5)
        whiten_drawn = np.linalg.inv(of_drawn)
        whiten_known = _root(among_known + LEAST_POWER * np.eye(len(self.known)), -0.5)
        left, likeness_of_pairs, right = np.linalg.svd(whiten_drawn @ wanted @ whiten_known, full_matrices=False)
        possible = np.minimum(likeness_of_pairs, MOST_LIKE)[:, None, :]
        shared = left * possible
        predict = of_drawn @ (shared @ right) @ whiten_known
        own = np.eye(len(at)) - share[:, None, None] * (shared @ shared.transpose(0, 2, 1))
        keep = of_drawn @ _root(own, 0.5) @ whiten_drawn
        ring = np.minimum(np.rint(ring_radius(texture.shape[1], texture.shape[2], side)).astype(int), rings - 1)
        drawn_spectra, real_spectra = fft.fft2(texture), fft.fft2(real)
        continued = np.empty_like(drawn_spectra)
        for number in range(rings):
            own = ring == number
            continued[:, own] = keep[number] @ drawn_spectra[:, own] + predict[number] @ real_spectra[:, own]
        result: np.ndarray = fft.ifft2(continued).real
        return result


def power_along_z(correlation: np.ndarray, slices: int) -> np.ndarray:
    """(slices, rings) power along z, mean 1, of a sequence with that correlation; its far half is faded out."""
    lags = len(correlation)
    fade = np.ones(lags)
    if lags > 2:
        half = lags // 2
        fade[half:] = np.cos(np.linspace(0, np.pi / 2, lags - half + 1)[:-1]) ** 2
    away = np.minimum(np.arange(slices), slices - np.arange(slices))
    wanted = np.where(away[:, None] < lags, (correlation * fade[:, None])[np.minimum(away, lags - 1)], 0)
    near = away <= NEAR
    sequence = wanted
    for _ in range(TURNS):
        power = np.maximum(np.fft.fft(sequence, axis=0).real, 0)
        sequence = np.where(near[:, None], wanted, np.fft.ifft(power, axis=0).real)
    power = np.maximum(np.fft.fft(sequence, axis=0).real, 0)
    spread: np.ndarray = power / np.maximum(power.mean(axis=0), 1e-9)
    return spread


def _root(matrices: np.ndarray, power: float) -> np.ndarray:
    """Symmetric matrices (n, k, k) to a power, eigenvalues below 0 taken as next to 0."""
    values, vectors = np.linalg.eigh((matrices + matrices.transpose(0, 2, 1)) / 2)
    raised = np.maximum(values, 1e-9) ** power
    root: np.ndarray = (vectors * raised[:, None, :]) @ vectors.transpose(0, 2, 1)
    return root
