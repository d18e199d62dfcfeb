"""A collection of the published set's size, of simulated chests, through every command that has to take it.

``make`` writes 100 scans, 169 rows and over 20,000 slices in the published layout, with the published counts of rows
and scans, all TB rows at 0, 0, 0 and two uuids in both experiments. Every scan is one of a few simulated chests,
mirrored along z until it is long enough, with noise of its own. Its forgeries are crude: it measures time and memory
and nothing else. JPEG-LS, about 5 GB. ``measure`` runs each command in a process of its own and puts the table into a
document.

    python benchmarks/full_size.py make OUT --phantoms PHANTOMS
    python benchmarks/full_size.py measure OUT --scratch DIR --write docs/bench.md

PHANTOMS is what `benchmarks/campaign_sources.py` makes.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from measuring import describe_machine, keep_result, run_python
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, generate_uid
from scipy import ndimage

from verict.ct.discover import find_series
from verict.ct.lungs import find_lungs
from verict.ct.read import read_series
from verict.datasets.uci import COLUMNS, EXPERIMENT_FOLDERS, Layout, SiteType, read_collection
from verict.documents import replace_part

START, END = "<!-- full size: start -->", "<!-- full size: end -->"
RUN = ["-c", "from verict.cli.main import app; app()"]
COUNTS = {  # rows, scans: counted from the published label tables
    1: {SiteType.FM: (34, 30), SiteType.FB: (61, 30), SiteType.TM: (23, 10), SiteType.TB: (15, 10)},
    2: {SiteType.FM: (7, 5), SiteType.FB: (11, 5), SiteType.TM: (12, 5), SiteType.TB: (6, 5)},
}
TWINS = {  # TM in experiment 1, FB in experiment 2, at the same places: the scans of as many rows
    (1, SiteType.TM): {0: "6031", 3: "7507"},
    (2, SiteType.FB): {0: "6031", 1: "7507"},
}
SLICES = 202
NOISE_HU = 4.0  # of its own, so that no two scans are the same
DEEP_MM = 15.0  # places lie this far inside the lungs
SPOT_MM = 6.0  # radius of what is painted


@dataclass(frozen=True)
class Chest:
    """A simulated chest as it is repeated: headers, (z, y, x) HU, and places deep in its lungs."""

    headers: tuple[pydicom.Dataset, ...]
    hu: np.ndarray
    spacing_mm: tuple[float, float, float]
    places: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Wanted:
    """One scan to be written, with the classes of its rows."""

    experiment: int
    uuid: str
    kinds: tuple[SiteType, ...]
    chest: int
    seed: int


def plan_scans(chests: int) -> list[Wanted]:
    """All 100 scans; the twins take one of the TM scans of experiment 1 and of the FB scans of experiment 2 each."""
    wanted: list[Wanted] = []
    free = iter(range(1000, 1200))
    for experiment, counts in COUNTS.items():
        for kind, (rows, scans) in counts.items():
            for index in range(scans):
                own = rows // scans + (index < rows % scans)
                uuid = TWINS.get((experiment, kind), {}).get(index) or str(next(free))
                number = int(uuid)
                wanted.append(Wanted(experiment, uuid, (kind,) * own, number % chests, number))
    return wanted


def read_chest(folder: Path) -> Chest:
    """Read a phantom and choose places."""
    volume = read_series(find_series(folder).series[0])
    lungs = find_lungs(volume)
    rng = np.random.default_rng(int(folder.name))
    places = []
    for z in rng.permutation(np.flatnonzero(lungs.found))[:12].tolist():
        deep = ndimage.distance_transform_edt(lungs.mask[z], volume.spacing_mm[1:]) > DEEP_MM
        points = np.argwhere(deep)
        if len(points):
            places.append((z, *map(int, points[rng.integers(len(points))])))
    headers = tuple(pydicom.dcmread(folder / file) for file in volume.source_files)
    return Chest(headers, volume.hu, volume.spacing_mm, tuple(places))


def write_scan(out: Path, wanted: Wanted, chest: Chest) -> list[tuple[SiteType, str, int, int, int]]:
    """Write one scan; gives its label rows."""
    folder = out / Layout.TAMPERED_SCANS / EXPERIMENT_FOLDERS[Layout.TAMPERED_SCANS][wanted.experiment] / wanted.uuid
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(wanted.seed)
    noise = np.rint(rng.normal(0, NOISE_HU, (8, *chest.hu.shape[1:]))).astype(np.int16)
    order = np.concatenate([np.arange(len(chest.hu)), np.arange(len(chest.hu))[::-1]])[:SLICES]
    places = [chest.places[i] for i in rng.permutation(len(chest.places))[: len(wanted.kinds)]]
    painted = [(place, kind) for place, kind in zip(places, wanted.kinds, strict=True) if kind is not SiteType.TB]
    study, series = (generate_uid(entropy_srcs=[what, str(wanted)]) for what in ("study", "series"))
    for number, z in enumerate(order.tolist(), start=1):
        hu = chest.hu[z] + noise[number % len(noise)]
        for (at, y, x), kind in painted:
            if abs(z - at) * chest.spacing_mm[0] <= SPOT_MM:
                _paint(hu, y, x, chest.spacing_mm[1], kind, rng)
        dataset = copy.deepcopy(chest.headers[z])
        dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = wanted.uuid, study, series
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[series, str(number)])
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.InstanceNumber = number
        first = chest.headers[0].ImagePositionPatient
        dataset.ImagePositionPatient = [first[0], first[1], number * chest.spacing_mm[0]]
        if "SliceLocation" in dataset:
            dataset.SliceLocation = number * chest.spacing_mm[0]
        stored = (hu - float(dataset.RescaleIntercept)) / float(dataset.RescaleSlope)
        kind_of_pixel = np.int16 if dataset.PixelRepresentation else np.uint16
        limits = np.iinfo(kind_of_pixel)
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.PixelData = np.clip(np.rint(stored), limits.min, limits.max).astype(kind_of_pixel).tobytes()
        dataset.compress(JPEGLSLossless, generate_instance_uid=False)
        dataset.save_as(folder / f"{number}.dcm")
    return [(kind, wanted.uuid, *((0, 0, 0) if kind is SiteType.TB else (z + 1, x, y)))
            for (z, y, x), kind in zip(places, wanted.kinds, strict=True)]


def _paint(hu: np.ndarray, y: int, x: int, pixel_mm: float, kind: SiteType, rng: np.random.Generator) -> None:
    """A disc of soft tissue (TM, FM) or of white noise (FB), in place."""
    reach = int(SPOT_MM / pixel_mm)
    part = hu[y - reach : y + reach + 1, x - reach : x + reach + 1]
    inside = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]) <= reach
    level, spread = (-850, 60) if kind is SiteType.FB else (20, 15)
    part[inside] = rng.normal(level, spread, int(inside.sum())).astype(np.int16)


def make(out: Path, phantoms: Path, progress: bool) -> None:
    """Write scans and label tables."""
    folders = sorted(path for path in phantoms.iterdir() if path.is_dir())
    rows: dict[int, list[tuple[SiteType, str, int, int, int]]] = {1: [], 2: []}
    wanted = plan_scans(len(folders))
    for index, folder in enumerate(folders):
        own = [one for one in wanted if one.chest == index]
        chest = read_chest(folder) if own else None
        for one in own:
            if chest is not None:
                rows[one.experiment] += write_scan(out, one, chest)
                if progress:
                    print(one.uuid, flush=True)
    for experiment, table in rows.items():
        lines = [",".join(COLUMNS), *(",".join(map(str, row)) for row in sorted(table, key=lambda r: (r[1], r[2])))]
        file = out / Layout.TAMPERED_SCANS / f"labels_exp{experiment}.csv"
        file.write_text("\n".join([*lines, ""]), encoding="utf-8")


def take_sample(collection: Path, out: Path, count: int) -> Path:
    """So many scans spread over the collection, with their label rows, as hard links."""
    own = read_collection(collection)
    scans = list(own.scans.values())
    chosen = [scans[i] for i in np.linspace(0, len(scans) - 1, count).astype(int)]
    shutil.rmtree(out, ignore_errors=True)
    for scan in chosen:
        target = out / scan.folder.relative_to(collection)
        target.mkdir(parents=True)
        for file in scan.slices.values():
            os.link(file, target / file.name)
    for experiment, file in own.label_files.items():
        kept = {scan.uuid for scan in chosen if scan.experiment == experiment}
        first, *lines = file.read_text(encoding="utf-8").splitlines()
        lines = [line for line in lines if line.split(",")[1] in kept]
        (out / file.relative_to(collection)).write_text("\n".join([first, *lines, ""]), encoding="utf-8")
    return out


def measure(collection: Path, scratch: Path, sample: int | None) -> Iterator[tuple[str, str, str, str, str]]:
    """Each command in its own process: what it is, wall and CPU seconds, peak MiB, what came of it."""
    scratch.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(scratch / "bench", ignore_errors=True)
    judged = take_sample(collection, scratch / "sample", sample) if sample else collection
    of = f", {sample} scans of the 100" if sample else ""
    prepare = ["bench", "student", "--data", str(collection), "--protocol", "clean", "--models", "majority,content",
               "--repeats", "1", "--out", str(scratch / "bench")]
    files = {name: scratch / f"{name}.json" for name in ("check", "classify", "scan")}
    commands = {
        "check": ("data check", ["data", "check", str(collection), "--json", str(files["check"])], (0,)),
        "prepare": ("bench, cuboids cut", prepare, (0,)),
        "again": ("bench again, cuboids kept", prepare, (0,)),
        "classify": (f"classify{of}", ["classify", str(judged), "--json", str(files["classify"])], (0,)),
        "scan": (f"scan{of}", ["scan", str(judged), "--json", str(files["scan"]), "--quiet"], (0, 10, 11)),
    }
    for name, (words, arguments, accepted) in commands.items():
        done = run_python([*RUN, *arguments], accepted=accepted)
        yield (words, f"{done.wall_s:.0f}", f"{done.cpu_s:.0f}", f"{done.peak_mib:.0f}", _say(name, scratch, files))


def _say(name: str, scratch: Path, files: dict[str, Path]) -> str:
    """What a command left, in a few words."""
    if name in ("prepare", "again"):
        index = json.loads((scratch / "bench" / "cache" / "index.json").read_text(encoding="utf-8"))
        size = sum(file.stat().st_size for file in (scratch / "bench" / "cache").iterdir())
        return f"{len(index)} files of cuboids with hashes, {size / 2**20:.0f} MiB"
    document = json.loads(files[name].read_text(encoding="utf-8"))
    if name == "check":
        rows, slices = (sum(one[what] for one in document[where])
                        for what, where in (("rows", "classes"), ("slices", "disk")))
        return f"{'sound' if document['sound'] else 'damaged'}: {rows} rows, {slices} slices"
    if name == "classify":
        return f"{len(document['sites'])} sites"
    return f"{len(document['series'])} series"


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the collection, or measure it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    maker = verbs.add_parser("make")
    maker.add_argument("out", type=Path)
    maker.add_argument("--phantoms", type=Path, required=True)
    maker.add_argument("--progress", action="store_true")
    meter = verbs.add_parser("measure")
    meter.add_argument("collection", type=Path)
    meter.add_argument("--scratch", type=Path, required=True)
    meter.add_argument("--sample", type=int, metavar="N", help="classify and scan so many scans only")
    meter.add_argument("--write", type=Path, metavar="DOCUMENT", help=f"put the table between {START} and {END}")
    options = parser.parse_args(arguments)
    if options.verb == "make":
        make(options.out, options.phantoms, options.progress)
        return
    lines = ["| command | wall s | CPU s | peak MiB | what came of it |", "|---|---|---|---|---|"]
    rows = []
    for row in measure(options.collection, options.scratch, options.sample):
        rows.append(row)
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], flush=True)
    keep_result("full_size", {"sample": options.sample}, [list(row) for row in rows])
    machine = describe_machine()
    table = "\n".join([*lines, "", f"{machine['cores']} cores, {machine['memory_gib']} GiB."])
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(replace_part(text, START, END, f"\n\n{table}\n\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
