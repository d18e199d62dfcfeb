"""What a training leaves to look at: the curve of its loss as CSV, and crops sampled from noise beside real ones."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from monai.networks.schedulers import DDIMScheduler
from PIL import Image
from torch import nn

from verict.detect.back_in_time import TRAINING_STEPS
from verict.training.back_in_time.fit import SCHEDULE
from verict.training.back_in_time.networks import predict

EVERY = 50  # steps whose losses are averaged into one row
SAMPLED, CALLS = 8, 50  # crops, and calls of the network for them
GAP_PX = 4


def write_losses(losses: Sequence[float], file: Path) -> None:
    """One row for each `EVERY` steps: the last of them, and their mean loss."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(("step", "loss"))
        for start in range(0, len(losses), EVERY):
            part = losses[start : start + EVERY]
            rows.writerow((start + len(part), f"{np.mean(part):.5f}"))


def sample(network: nn.Module, crop_px: int, seed: int, count: int = SAMPLED) -> np.ndarray:
    """(count, crop, crop) float32 in [-1, 1] sampled from noise: DDIM (arXiv 2010.02502) without new noise."""
    scheduler = DDIMScheduler(TRAINING_STEPS, schedule=SCHEDULE, clip_sample=True)
    scheduler.set_timesteps(CALLS)
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.standard_normal((count, 1, crop_px, crop_px), np.float32))
    for step in scheduler.timesteps.tolist():
        noise = predict(network, image, torch.full((count,), float(step)))
        image, _ = scheduler.step(noise, int(step), image)
    found: np.ndarray = image[:, 0].clamp(-1, 1).numpy()
    return found


def write_pictures(rows: Sequence[np.ndarray], file: Path) -> None:
    """A PNG with a row for each (n, crop, crop) of images in [-1, 1]."""
    side, count = rows[0].shape[-1], max(len(row) for row in rows)
    sheet = np.full((len(rows) * (side + GAP_PX) - GAP_PX, count * (side + GAP_PX) - GAP_PX), 255, np.uint8)
    for down, row in enumerate(rows):
        for across, image in enumerate(row):
            top, left = down * (side + GAP_PX), across * (side + GAP_PX)
            grey = np.clip((image + 1) * 127.5, 0, 255).astype(np.uint8)
            sheet[top : top + side, left : left + side] = grey
    Image.fromarray(sheet).save(file)
