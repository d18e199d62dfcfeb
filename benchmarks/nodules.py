"""What the nodule detector is worth: on real slices against lookalikes, and on whole simulated chests by size.

Run from the project folder; every scan is judged by the network that never saw its patient.

    python benchmarks/nodules.py --data ../shared/data --phantoms PHANTOMS --write docs/nodule.md

PHANTOMS is a folder of chests as `benchmarks/campaign_sources.py` makes them. With published fakes in view, a line is
added to the ledger.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from verict.datasets.scans import Scan, read_authentic_scans, read_labelled_scans
from verict.datasets.sites import CLEAR_IN_PLANE_MM
from verict.detect.model import Model
from verict.detect.nodule.detector import read_nodules, score_sites
from verict.documents import replace_part
from verict.evaluation import ledger as ledgers
from verict.evaluation.case import Place, PlaceKind
from verict.evaluation.fair import choose_model, enter
from verict.evaluation.structures import blur_centre, measure_structure
from verict.evaluation.subjects import make_subject
from verict.statistics import Figure, area_over_patients, matched_area, share_over_patients
from verict.training.nodule.sources import read_annotations

SEED = 1
SIZE_RATIO = 1.25  # of two structures that count as of one size
FEWEST = 5  # lookalikes a nodule is compared with, at least
RESOLVED = 1.5  # slice distances a nodule measures at least
HIT_MM = 6.0  # from a nodule's middle, or half its diameter, a told one is it
BANDS_MM = ((4.0, 6.0), (6.0, 10.0), (10.0, 25.0))
QUIET = 0.99  # quantile of untouched lung that "within the untouched range" means
START, END = "<!-- nodules: start -->", "<!-- nodules: end -->"


@dataclass(frozen=True)
class Scored:
    """A place of a real slice with its score and what brightness and size tell of it."""

    kind: str
    patient: str
    score: float
    centre_hu: float
    diameter_mm: float


def score_real(data: Path) -> Iterator[Scored]:
    """Every place of the published fakes' slices and the authentic ones; annotated nodules are ``real``."""
    entrant = enter("nodule")
    rows = read_annotations()
    for scan in (*read_labelled_scans(data / "ctgan", _quiet), *read_authentic_scans(data / "authentic", _quiet)):
        model, _ = choose_model(entrant, scan)
        listed = list(_annotated(scan, rows.get(scan.folder, [])))
        places = [(p, str(p.kind)) for p in make_subject(scan, SEED).places if _is_clear(p, scan, listed)]
        places += [(place, "real") for place, kind in listed if kind != "uncertain"]
        if not places or not isinstance(model, Model):
            continue
        at = [(p.z, p.y, p.x) for p, _ in places]
        scores = score_sites(scan.volume.without_headers(), scan.lungs, at, model)
        for (place, kind), score in zip(places, scores, strict=True):
            yield Scored(kind, scan.patient, float(score), place.centre_hu, place.diameter_mm)


def _annotated(scan: Scan, rows: Sequence[dict[str, str]]) -> Iterator[tuple[Place, str]]:
    files = [Path(name).name for name in scan.volume.source_files]
    for row in rows:
        if Path(row["file"]).name in files:
            z, y, x = files.index(Path(row["file"]).name), round(float(row["y"])), round(float(row["x"]))
            size = measure_structure(scan.volume.hu[z], scan.volume.spacing_mm[1:], y, x).diameter_mm
            centre_hu = blur_centre(scan.volume.hu[z], y, x)
            size = size if np.isfinite(size) else float(row["long_mm"])
            yield Place(PlaceKind.NODULE, z, y, x, centre_hu, size), row["kind"]


def _is_clear(place: Place, scan: Scan, listed: Sequence[tuple[Place, str]]) -> bool:
    """Whether an untouched place is away from everything annotated; painted ones always count."""
    if place.kind in (PlaceKind.FM, PlaceKind.FB):
        return True
    at = np.array((place.z, place.y, place.x))
    gaps = [np.abs((at - (p.z, p.y, p.x)) * scan.volume.spacing_mm) for p, _ in listed]
    return all(np.linalg.norm(g) > CLEAR_IN_PLANE_MM / 2 for g in gaps)


def compare(scored: Sequence[Scored]) -> Iterator[str]:
    """Rows of the table: nodules against lookalikes of their size, and what stands where a cancer was removed."""
    pool = [s for s in scored if s.kind in (PlaceKind.BRIGHT, PlaceKind.NODULE) and np.isfinite(s.diameter_mm)]
    for words, kinds in (("injected cancers (FM) and real nodules and masses", ("FM", "real")),
                         ("injected cancers (FM)", ("FM",)), ("real nodules and masses", ("real",))):
        own = [s for s in scored if s.kind in kinds and np.isfinite(s.diameter_mm)]
        ratio = np.abs(np.log(np.array([s.diameter_mm for s in own]))[:, None]
                       - np.log(np.array([s.diameter_mm for s in pool]))[None])
        match = ratio <= np.log(SIZE_RATIO)
        match[match.sum(axis=1) < FEWEST] = False
        kept = match.any(axis=1)
        told = []
        for name in ("score", "centre_hu"):
            values = [np.array([getattr(s, name) for s in group]) for group in (own, pool)]
            patients = [np.array([s.patient for s in group]) for group in (own, pool)]
            told.append(matched_area((values[0][kept], values[1]), (patients[0][kept], patients[1]), match[kept]))
        words = f"{words} against vessels, pleura and scars of their size: AUC"
        yield f"| {words} | {_say(told[0])} | {_say(told[1])} | {kept.sum()} of {len(own)} |"
        values = np.array([s.score for s in (*own, *pool)])
        hu = np.array([s.centre_hu for s in (*own, *pool)])
        positive = np.arange(len(values)) < len(own)
        who = [s.patient for s in (*own, *pool)]
        everything = words.replace("of their size", "of any size")
        yield (f"| {everything} | {_say(area_over_patients(values, positive, who))} "
               f"| {_say(area_over_patients(hu, positive, who))} | {len(own)} |")
    lung = [s for s in scored if s.kind == PlaceKind.PARENCHYMA]
    removed = [s for s in scored if s.kind == PlaceKind.FB]
    limit = float(np.quantile([s.score for s in lung], QUIET))
    beyond = share_over_patients(np.array([s.score > limit for s in removed]), [s.patient for s in removed])
    yield f"| FB sites above {QUIET:.0%} of untouched lung ({limit:.1f}) | {_say(beyond)} | | {len(removed)} |"
    both = [*removed, *lung]
    values = np.array([s.score for s in both])
    area = area_over_patients(values, np.arange(len(both)) < len(removed), [s.patient for s in both])
    yield f"| FB sites against untouched lung: AUC (0.5: nothing is left) | {_say(area)} | | {len(removed)} |"


@dataclass(frozen=True)
class Chest:
    """One simulated chest as it was read: its true nodules (diameter, shape, score it was told with, size told).

    Scores are counted from the threshold of the network that read it: networks of other folds have other scales.
    """

    name: str
    found: tuple[tuple[float, str, float, float], ...]
    false_scores: tuple[float, ...]


def read_chests(folder: Path) -> Iterator[Chest]:
    """Every chest by the network that never saw it; scores down to 4 below its threshold."""
    entrant = enter("nodule")
    for scan in read_authentic_scans(folder, _quiet):
        truth = json.loads((folder / scan.folder / "phantom.json").read_text("utf-8"))["nodules"]
        model, _ = choose_model(entrant, scan)
        own = model.calibration["run_mark_threshold"]
        loose = dict(model.calibration) | {"run_mark_threshold": own - 4}
        loosened = Model(model.card | {"calibration": loose}, model.session)
        told = read_nodules(scan.volume.without_headers(), scan.lungs, loosened)
        hits: dict[int, tuple[float, float]] = {}
        false = []
        for nodule in told.nodules:
            gaps = [np.linalg.norm((np.array(nodule.centre_voxel_zyx) - t["centre_voxel_zyx"]) * scan.volume.spacing_mm)
                    for t in truth]
            near = [i for i, gap in enumerate(gaps) if gap <= max(HIT_MM, truth[i]["diameter_mm"] / 2)]
            if near:
                size = nodule.diameter_mm if nodule.diameter_mm is not None else float("nan")
                hits.setdefault(near[0], (nodule.score - own, size))
            else:
                false.append(nodule.score - own)
        yield Chest(scan.folder, tuple(
            (t["diameter_mm"], t["shape"], *hits.get(i, (-np.inf, float("nan")))) for i, t in enumerate(truth)
            if t["diameter_mm"] >= RESOLVED * scan.volume.spacing_mm[0]), tuple(false))


def tell_chests(chests: Sequence[Chest]) -> Iterator[str]:
    """Sensitivity by size where one false candidate a chest is told, and how far sizes are off."""
    false = sorted((s for c in chests for s in c.false_scores), reverse=True)
    limit = false[len(chests)] if len(false) > len(chests) else -np.inf
    every = [(c.name, *f) for c in chests for f in c.found]
    bands = [("all", 0.0, np.inf), *((f"{low:g} to {high:g} mm", low, high) for low, high in BANDS_MM)]
    for words, low, high in bands:
        own = [f for f in every if low <= f[1] < high]
        share = share_over_patients(np.array([f[3] > limit for f in own]), [f[0] for f in own])
        yield f"| simulated nodules, {words}: found at one false candidate a chest | {_say(share)} | | {len(own)} |"
    for shape in sorted({f[2] for f in every}):
        own = [f for f in every if f[2] == shape]
        share = share_over_patients(np.array([f[3] > limit for f in own]), [f[0] for f in own])
        yield f"| simulated nodules, {shape}: the same | {_say(share)} | | {len(own)} |"
    off = np.array([abs(f[4] - f[1]) for f in every if np.isfinite(f[4])])
    yield f"| diameter told less the true one, median of absolute values | {np.median(off):.1f} mm | | {len(off)} |"
    share = share_over_patients(np.array([f[3] >= 0 for f in every]), [f[0] for f in every])
    rate = np.mean([sum(s >= 0 for s in c.false_scores) for c in chests])
    words = f"at the thresholds fitted elsewhere, with {rate:.2f} false candidates a chest: found"
    yield f"| simulated nodules, all, {words} | {_say(share)} | | {len(every)} |"


def list_authentic(data: Path) -> Iterator[str]:
    """What is told of the authentic series, each by the network that never saw its patient: look at them."""
    entrant = enter("nodule")
    rows = read_annotations()
    for scan in read_authentic_scans(data / "authentic", _quiet):
        if scan.volume.slice_count < 2:
            continue
        model, _ = choose_model(entrant, scan)
        reading = read_nodules(scan.volume.without_headers(), scan.lungs, model)
        listed = list(_annotated(scan, rows.get(scan.folder, [])))
        for nodule in reading.nodules:
            size = "-" if nodule.long_axis_mm is None else f"{nodule.long_axis_mm:.1f}"
            at = np.array(nodule.centre_voxel_zyx)
            near = [kind for place, kind in listed
                    if np.linalg.norm((at - (place.z, place.y, place.x)) * scan.volume.spacing_mm) <= 20]
            z, y, x = (round(v) for v in nodule.centre_voxel_zyx)
            number = scan.numbers[z] if z < len(scan.numbers) else z
            yield (f"| {scan.folder} | {number} | {x}, {y} | {size} | {nodule.score:+.1f} "
                   f"| {'yes' if nodule.decisive else 'no'} | {near[0] if near else 'not annotated'} |")


def _say(figure: Figure) -> str:
    if figure.value is None:
        return "-"
    span = "" if figure.low is None else f" ({figure.low:.3f} to {figure.high:.3f})"
    return f"{figure.value:.3f}{span}"


def _quiet(what: str, done: int, total: int) -> None:
    """No progress: rows are printed as they come."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and put the tables between the marks of a document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with authentic/ and ctgan/")
    parser.add_argument("--phantoms", type=Path, required=True, help="folder of simulated chests")
    parser.add_argument("--ledger", type=Path, default=Path("docs/real_fakes_ledger.csv"))
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help=f"put the tables between {START} and {END}")
    options = parser.parse_args(arguments)
    ledgers.check_ledger(options.ledger)
    lines = ["| | verict | brightness alone | n |", "|---|---|---|---|", *compare(list(score_real(options.data)))]
    shipped = enter("nodule").shipped
    assert shipped is not None
    sha256 = shipped.card["sha256"]
    ledgers.append_figures(options.ledger, {}, weights_sha256=sha256, what="benchmarks/nodules.py: 55 sites")
    lines += tell_chests(list(read_chests(options.phantoms)))
    lines += ["", "| authentic series | slice | x, y | long axis, mm | score | decisive | annotated as |",
              "|---|---|---|---|---|---|---|", *list_authentic(options.data)]
    table = "\n".join(lines)
    print(table)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(replace_part(text, START, END, f"\n\n{table}\n\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
