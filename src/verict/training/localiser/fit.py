"""The training loop: seeded, streaming the bank while it is made, checkpointed, resumable to the same weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from verict.detect.localiser_features import DEPTH
from verict.detect.spectrum_features import STRIDE_PX
from verict.errors import UsageError
from verict.training.fitting import Fitting, falling_rate
from verict.training.localiser.bank import CROP_CELLS, UNTOLD, Tags
from verict.training.localiser.designs import Batch, MapNetwork, NetworkRecipe, PixelNetwork, make_network
from verict.training.localiser.shards import Bank, Shard

GROUPS = {"lab": 0.42, "repaint": 0.12, "blend": 0.16, "untouched": 0.30}
"""Share of each kind of example in a batch, of those there are; real fakes take `FitRecipe.real_share` first."""
STREAMED = 0.5  # of the steps, after which every shard is used
FEWEST_SHARDS = 6
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class FitRecipe:
    """How a network is fitted.

    Parameters
    ----------
    steps, batch
        Batches, and crops in each.
    crop_cells
        Side of the part of an example that is shown, drawn anew each time.
    learning_rate
        Highest rate; it rises over a twentieth of the steps and falls along a cosine.
    weight_decay, ema
        Of AdamW; decay of the averaged weights, which are those that are kept.
    paint_weight
        What a painted cell counts, against 1 of a clean one.
    real_share
        Of a batch, labelled slices of real fakes; 0 leaves them out.
    drop_depth
        How often an example with neighbours is shown without.
    save_every
        Steps between checkpoints.
    """

    steps: int = 4000
    batch: int = 16
    crop_cells: int = 24
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    ema: float = 0.997
    paint_weight: float = 3.0
    real_share: float = 0.06
    drop_depth: float = 0.3
    save_every: int = 250
    network: NetworkRecipe = field(default_factory=NetworkRecipe)


class Pool:
    """The examples a network may learn from, by kind, of the shards read so far."""

    def __init__(self, bank: Bank, keep: Callable[[Tags], bool]) -> None:
        self._bank, self._keep = bank, keep
        self._shards: list[Shard] = []
        self.members: dict[str, list[tuple[int, int]]] = {}
        self._read(-1)

    def grow(self, count: int) -> None:
        """Read shards until there are that many, beside the one of the real fakes."""
        while len(self._shards) - 1 < min(count, self._bank.count):
            self._read(len(self._shards) - 1)

    def _read(self, index: int) -> None:
        shard = self._bank.read(index)
        self._shards.append(shard)
        for i, tags in enumerate(shard.tags):
            if self._keep(tags):
                self.members.setdefault(tags.what, []).append((len(self._shards) - 1, i))

    def draw(self, rng: np.random.Generator, recipe: FitRecipe) -> Batch:
        """A batch; the same generator and shards give the same one."""
        real = min(len(self.members.get("real", ())), round(recipe.real_share * recipe.batch))
        groups = [g for g in GROUPS if self.members.get(g)]
        if not groups:
            raise UsageError("nothing to learn from", found="no example of scans that may be seen")
        share = np.array([GROUPS[g] for g in groups])
        drawn = ["real"] * real + rng.choice(groups, recipe.batch - real, p=share / share.sum()).tolist()
        picked = [self.members[g][rng.integers(len(self.members[g]))] for g in drawn]
        return to_batch([(self._shards[s], i) for s, i in picked], rng, recipe)

    def sample_values(self, count: int) -> np.ndarray:
        """(cells, channels) float32 of so many examples spread over those read: what standardises the channels."""
        flat = sorted(pair for group in self.members.values() for pair in group)
        chosen = [flat[i] for i in np.linspace(0, len(flat) - 1, min(count, len(flat))).astype(int)]
        return np.concatenate([
            self._shards[s].values[self._shards[s].first[i] : self._shards[s].first[i + 1]].astype(np.float32)
            for s, i in chosen
        ])


def to_batch(picked: Iterable[tuple[Shard, int]], rng: np.random.Generator, recipe: FitRecipe) -> Batch:
    """Parts of examples, each moved and mirrored at random."""
    size = recipe.crop_cells
    needs_pixels = recipe.network.design == "pixel"
    where, values, labels, pixels, noise = [], [], [], [], []
    for n, (shard, i) in enumerate(picked):
        cells = slice(int(shard.first[i]), int(shard.first[i + 1]))
        rows, columns = shard.rows[cells].astype(int), shard.columns[cells].astype(int)
        told = shard.labels[cells].astype(int)
        top, left = _place_crop(rows, columns, told, size, rng)
        rows, columns = rows - top, columns - left
        inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
        rows, columns, told = rows[inside], columns[inside], told[inside]
        flips = rng.random(2) < 0.5
        quarters = told.reshape(-1, 2, 2)
        if flips[0]:
            rows, quarters = size - 1 - rows, quarters[:, ::-1]
        if flips[1]:
            columns, quarters = size - 1 - columns, quarters[:, :, ::-1]
        own = shard.values[cells][inside].astype(np.float32)
        if rng.random() < recipe.drop_depth:
            own[:, DEPTH] = 0
        where.append(np.stack([np.full(len(rows), n), rows, columns], 1))
        values.append(own)
        labels.append(quarters.reshape(-1, 4))
        noise.append(shard.noise_hu[i])
        if needs_pixels:
            part = tuple(slice(at * STRIDE_PX, (at + size) * STRIDE_PX) for at in (top, left))
            crop = shard.pixels[i][part]
            crop = crop[::-1] if flips[0] else crop
            pixels.append((crop[:, ::-1] if flips[1] else crop).astype(np.float32))
    at = torch.from_numpy(np.concatenate(where))
    mask = torch.zeros(len(noise), 1, size, size)
    mask[at[:, 0], 0, at[:, 1], at[:, 2]] = 1
    shown = torch.from_numpy(np.stack(pixels))[:, None] if needs_pixels else torch.empty(0)
    return Batch(at, torch.from_numpy(np.concatenate(values)), torch.from_numpy(np.concatenate(labels)), mask, shown,
                 torch.from_numpy(np.array(noise, np.float32)))


def _place_crop(
    rows: np.ndarray, columns: np.ndarray, told: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Upper left cell: around a painted cell where there is one, else around any."""
    painted = np.flatnonzero((told > 0).any(axis=1))
    anchor = rng.choice(painted if len(painted) else len(rows))
    room = CROP_CELLS - size
    at = []
    for place in (rows[anchor], columns[anchor]):
        low, high = max(0, int(place) - size + 3), min(room, int(place) - 2)
        at.append(int(rng.integers(min(low, room), max(min(low, room), high) + 1)))
    return at[0], at[1]


def fit(
    bank: Bank, keep: Callable[[Tags], bool], file: Path, recipe: FitRecipe, seed: int, progress: Progress
) -> tuple[MapNetwork | PixelNetwork, dict[str, float]]:
    """Fit on the examples that may be seen, going on from the checkpoint where the file is there.

    What a step draws depends on the seed, the step's number and the bank alone; one thread computes it.

    Returns
    -------
    network
        With the averaged weights, ready to be exported.
    facts
        ``loss`` of the last steps, ``waited`` share of the time spent waiting for examples, ``examples`` there were.

    Raises
    ------
    ModelError
        If the checkpoint is of another recipe or cannot be read.
    UsageError
        If nothing may be learnt from.
    """
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    network = make_network(recipe.network)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    pool = Pool(bank, keep)
    pool.grow(FEWEST_SHARDS)
    if isinstance(network, MapNetwork):
        sample = pool.sample_values(300)
        network.encoder.mean.copy_(torch.from_numpy(sample.mean(0)))
        network.encoder.scale.copy_(torch.from_numpy(np.maximum(sample.std(0), 1e-3)))
    state = Fitting(network, optimiser)
    state.resume(file, _identify(recipe, seed))
    begun, waited = time.perf_counter(), bank.waited_s
    while state.step < recipe.steps:
        pool.grow(max(FEWEST_SHARDS, math.ceil(bank.count * state.step / (STREAMED * recipe.steps))))
        state.set_rate(falling_rate(state.step, recipe.steps, recipe.learning_rate, max(1, recipe.steps // 20)))
        batch = pool.draw(np.random.default_rng([seed, state.step]), recipe)
        state.losses.append(_fit_batch(network, optimiser, batch, recipe))
        state.average(recipe.ema)
        state.step += 1
        progress(f"fitting, loss {np.mean(state.losses[-100:]):.4f}", state.step, recipe.steps)
        if state.step % recipe.save_every == 0 or state.step == recipe.steps:
            state.save(file, _identify(recipe, seed))
    network.load_state_dict(state.averaged)
    spent = max(time.perf_counter() - begun, 1e-9)
    facts = {
        "loss": float(np.mean(state.losses[-200:])),
        "waited": (bank.waited_s - waited) / spent,
        "examples": float(sum(len(m) for m in pool.members.values())),
    }
    return network.eval(), facts


def _fit_batch(
    network: MapNetwork | PixelNetwork, optimiser: torch.optim.Optimizer, batch: Batch, recipe: FitRecipe
) -> float:
    logits = network.logits(batch)
    weight = logits.new_tensor([1.0, recipe.paint_weight, recipe.paint_weight])
    loss = functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), weight, ignore_index=UNTOLD)
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


def _identify(recipe: FitRecipe, seed: int) -> str:
    """All that decides the weights, as text."""
    return repr([seed, *sorted((name, value) for name, value in asdict(recipe).items() if name != "save_every")])
