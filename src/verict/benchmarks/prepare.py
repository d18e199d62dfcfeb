"""From a labelled collection to `Samples`, one scan in memory at a time; what was cut is kept, with hashes.

Each scan is read once, and once more where its rows name no place: their sites are chosen in its lungs, like the places
where cancers were removed in other patients. Cuts lie in ``cache/``: one NPZ a scan, named in ``cache/index.json`` with
the SHA-256 of the scan's files and of the NPZ itself. A cut of other files, or one that was changed, is made anew.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from verict.benchmarks.protocols import Protocol
from verict.benchmarks.samples import WINDOW_PX, Samples
from verict.ct.volume import CTVolume
from verict.datasets.campaigns import Campaign, read_campaign
from verict.datasets.cuboids import SIDE_MM, Voxel, cut_cuboid
from verict.datasets.scans import Progress, Scan, identify_patient, read_labelled_scan
from verict.datasets.sites import LungPlace, choose_benign_sites, describe_place, site_rng
from verict.datasets.uci import LabelRow, ScanFolder, SiteType, UciCollection, read_collection
from verict.errors import DatasetError, InputError, OutputError, UsageError
from verict.evaluation.structures import blur_centre, measure_structure
from verict.provenance import sha256_of
from verict.report.output import write_bytes, write_text

INDEX = "index.json"
CUTS_VERSION = 1  # of what a cut holds; another one is made anew
COLUMNS = ("kind", "patient", "uuid", "experiment", "z", "y", "x", "number", "is_placed", "at_corner", "centre_hu",
           "diameter_mm", "cuboid", "window")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a collection gave.

    Parameters
    ----------
    placed
        Every row at its site, chosen in the lungs where it names none.
    cornered
        The same rows; those that name no place cut around voxel (0, 0, 0).
    sha256
        Over the label rows and the files of every scan.
    left_out
        Rows that could not be cut, each with its reason.
    counts
        ``scans``, ``slices`` and ``rows``.
    """

    placed: Samples
    cornered: Samples
    sha256: str
    left_out: tuple[DatasetError, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)

    def under(self, protocol: Protocol) -> Samples:
        """The samples a protocol judges."""
        return self.cornered if protocol.cuts_at_corner else self.placed


class _Cache:
    """The cuts of scans, told apart by what they were made from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the folder: {error.strerror}", file=folder) from error
        self._index: dict[str, dict[str, str]] = _read_index(folder / INDEX)

    def find(self, name: str, made_from: str) -> dict[str, np.ndarray] | None:
        """The arrays of a cut; None where there is none, it is of something else, or it was changed."""
        entry, file = self._index.get(name), self.folder / f"{name}.npz"
        if entry is None or entry.get("made_from") != made_from or not file.is_file():
            return None
        if sha256_of(file) != entry.get("sha256"):
            return None
        try:
            with np.load(file, allow_pickle=False) as arrays:
                return {key: arrays[key] for key in arrays.files}
        except (ValueError, OSError, zipfile.BadZipFile):
            return None

    def keep(self, name: str, made_from: str, arrays: dict[str, np.ndarray]) -> None:
        """Write a cut and its line in the index."""
        stream = io.BytesIO()
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        write_bytes(self.folder / f"{name}.npz", stream.getvalue())
        digest = hashlib.sha256(stream.getvalue()).hexdigest()
        self._index[name] = {"made_from": made_from, "sha256": digest}
        write_text(self.folder / INDEX, json.dumps(self._index, indent=1, sort_keys=True) + "\n")


def _read_index(file: Path) -> dict[str, dict[str, str]]:
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return index if isinstance(index, dict) else {}


def prepare(
    data: Path, cache: Path, *, seed: int = 0, progress: Progress = lambda *_: None,
    failures: list[InputError] | None = None,
) -> Prepared:
    """Cut what models see around every label row of a collection.

    Parameters
    ----------
    data
        A collection in the UCI layout, see `verict.datasets.uci.read_collection`.
    cache
        Folder that keeps the cuts.
    seed
        Of the sites of rows that name none.
    progress
        See `verict.datasets.scans.Progress`.
    failures
        Gets an error for each file that cannot be read; without it the first one is raised.

    Raises
    ------
    UsageError
        If the folder is not there or holds no collection.
    DatasetError
        If there is no scan, or no row could be cut.
    InputError
        If a file cannot be read and ``failures`` is None.
    """
    collection, campaign = read_collection(data), read_campaign(data)
    if not collection.scans:
        raise DatasetError("no scans beside the label tables", file=data, next_step="verict data check tells more")
    store = _Cache(cache)
    reader = _Reader(collection, campaign, progress, failures)
    hashes: dict[Key, str] = {}
    for key, scan in collection.scans.items():
        progress("hashing scans", len(hashes), len(collection.scans))
        hashes[key] = _hash_scan(scan)
    cuts = reader.go_through(store, hashes, "at", lambda key: "", lambda key, scan: _cut_labelled(reader, key, scan))
    like = _describe_removals(cuts)
    without = [key for key in cuts if not np.asarray(cuts[key]["is_placed"], bool).all()]
    chosen = reader.go_through(
        store, {key: hashes[key] for key in without}, "chosen",
        lambda key: _identify(_like_of_others(like, cuts[key]), seed),
        lambda key, scan: _cut_chosen(reader, key, scan, _like_of_others(like, cuts[key]), seed),
    )  # fmt: skip
    digest = hashlib.sha256(repr([(asdict(row), hashes.get((row.experiment, row.uuid))) for row in collection.rows])
                            .encode()).hexdigest()  # fmt: skip
    return _join(data, cuts, chosen, tuple(reader.left_out), digest, collection)


Key = tuple[int, str]
Cuts = dict[str, np.ndarray]


@dataclass(eq=False)
class _Reader:
    """Reads scans whose cuts are not there yet."""

    collection: UciCollection
    campaign: Campaign | None
    progress: Progress
    failures: list[InputError] | None
    left_out: list[DatasetError] = field(default_factory=list)

    def go_through(
        self, store: _Cache, hashes: dict[Key, str], what: str, state: Callable[[Key], str],
        cut: Callable[[Key, Scan], Cuts],
    ) -> dict[Key, Cuts]:
        """The cuts of some scans, kept ones where they are of the same files and rows."""
        cuts: dict[Key, Cuts] = {}
        for done, (key, own) in enumerate(hashes.items()):
            self.progress(f"cutting places ({what})", done, len(hashes))
            rows = repr(self.collection.rows_of(*key))
            made_from = hashlib.sha256(repr([CUTS_VERSION, own, rows, state(key)]).encode()).hexdigest()
            name = f"{key[0]}-{key[1]}-{what}"
            found = store.find(name, made_from)
            if found is None:
                found = self._cut(key, cut)
                if found is None:
                    continue
                store.keep(name, made_from, found)
            self.left_out += [DatasetError(str(text)) for text in found["left_out"].tolist()]
            cuts[key] = found
        return cuts

    def _cut(self, key: Key, cut: Callable[[Key, Scan], Cuts]) -> Cuts | None:
        scans = read_labelled_scan(self.collection, self.campaign, self.collection.scans[key], self.failures)
        scan = next(iter(scans), None)
        return None if scan is None else cut(key, scan)


def _hash_scan(scan: ScanFolder) -> str:
    """SHA-256 over the names and SHA-256 of a scan's files."""
    lines = [f"{number} {sha256_of(file)}" for number, file in scan.slices.items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _identify(like: Sequence[LungPlace], seed: int) -> str:
    return repr([seed, *like])


def _cut_labelled(reader: _Reader, key: Key, scan: Scan) -> Cuts:
    """Every row of a scan where its label says: at its place, or at the corner. With where its removals lie."""
    cut: list[dict[str, Any]] = []
    refused: list[str] = []
    removals: list[tuple[float, ...]] = []
    for row in reader.collection.rows_of(*key):
        try:
            site = _locate(scan, row) if row.is_placed else None
            cut.append(_cut_row(scan, row, site))
        except DatasetError as error:
            refused.append(f"{row.type} of scan {row.uuid}, slice {row.slice}: {error.one_line()}")
            continue
        if site is not None and row.type is SiteType.FB and scan.lungs.mask[site.z].any():
            place = describe_place(scan.lungs.mask, scan.volume.spacing_mm[1:], (site.z, site.y, site.x),
                                   whole_scan=scan.volume.slice_count > 1)  # fmt: skip
            height = np.nan if place.height is None else place.height
            removals.append((place.on_left, place.depth_mm, place.front_to_back, height))
    return _pack(cut, refused) | {"removals": np.array(removals, np.float64).reshape(-1, 4)}


def _cut_chosen(reader: _Reader, key: Key, scan: Scan, like: Sequence[LungPlace], seed: int) -> Cuts:
    """The rows of a scan that name no place, each at a site chosen in the lungs."""
    rows = [row for row in reader.collection.rows_of(*key) if not row.is_placed]
    cut: list[dict[str, Any]] = []
    refused: list[str] = []
    try:
        sites = choose_benign_sites(scan.lungs.mask, scan.volume.spacing_mm, like, len(rows),
                                    site_rng(seed, scan.folder, 0))  # fmt: skip
    except UsageError as error:
        return _pack([], [f"{len(rows)} rows of scan {key[1]}: {error.one_line()}"])
    for row, place in zip(rows, sites, strict=True):
        try:
            cut.append(_cut_row(scan, row, Voxel(*place)))
        except DatasetError as error:
            refused.append(f"{row.type} of scan {row.uuid}: {error.one_line()}")
    return _pack(cut, refused)


def _locate(scan: Scan, row: LabelRow) -> Voxel:
    if scan.numbers.count(row.slice) != 1:
        raise DatasetError("the labelled slice is missing or there twice", expected=f"one slice {row.slice}")
    return Voxel(scan.numbers.index(row.slice), row.y, row.x)


def _cut_row(scan: Scan, row: LabelRow, site: Voxel | None) -> dict[str, Any]:
    """One row; without a site around voxel (0, 0, 0), where the published tables put all TB rows."""
    volume, at = scan.volume, site or Voxel(0, 0, 0)
    cuboid = cut_corner(volume) if site is None else cut_cuboid(volume, site)
    hu = volume.hu[at.z]
    return {
        "kind": str(row.type), "patient": identify_patient(scan.patient), "uuid": row.uuid,
        "experiment": row.experiment, "z": at.z, "y": at.y, "x": at.x, "number": scan.numbers[at.z],
        "is_placed": row.is_placed, "at_corner": site is None, "centre_hu": blur_centre(hu, at.y, at.x),
        "diameter_mm": measure_structure(hu, volume.spacing_mm[1:], at.y, at.x).diameter_mm,
        "cuboid": np.rint(cuboid).astype(np.int16), "window": cut_pixels(hu, at.y, at.x),
    }  # fmt: skip


def cut_corner(volume: CTVolume) -> np.ndarray:
    """The cuboid around voxel (0, 0, 0): the published mistake, which `verict.datasets.cuboids.cut_cuboid` refuses.

    Returns
    -------
    numpy.ndarray
        (32, 32, 32) float32 HU at 1 mm, seven of its eight parts the first slice, row or column repeated.
    """
    steps = [(np.arange(SIDE_MM) - (SIDE_MM - 1) / 2) / max(step, 1e-3) for step in volume.spacing_mm]
    grid = np.stack(np.meshgrid(*steps, indexing="ij"))
    reach = [min(int(np.ceil(s[-1])) + 2, n) for s, n in zip(steps, volume.hu.shape, strict=True)]
    corner = volume.hu[: reach[0], : reach[1], : reach[2]].astype(np.float32)
    return ndimage.map_coordinates(corner, grid, order=1, mode="nearest", output=np.float32)


def cut_pixels(hu: np.ndarray, y: int, x: int) -> np.ndarray:
    """(`WINDOW_PX`, `WINDOW_PX`) int16 pixels of a (y, x) slice, (y, x) at index side // 2; borders are repeated."""
    offsets = np.arange(WINDOW_PX) - WINDOW_PX // 2
    rows, columns = (np.clip(offsets + at, 0, n - 1) for at, n in zip((y, x), hu.shape, strict=True))
    return np.rint(hu[np.ix_(rows, columns)]).astype(np.int16)


def _pack(cut: Sequence[dict[str, Any]], refused: Sequence[str]) -> Cuts:
    arrays = {name: np.array([row[name] for row in cut]) for name in COLUMNS}
    return arrays | {"left_out": np.array(refused, dtype=np.str_)}


def _describe_removals(cuts: dict[Key, Cuts]) -> list[tuple[str, LungPlace]]:
    """Patient and place of every FB row."""
    found = []
    for own in cuts.values():
        for left, depth_mm, front_to_back, height in own["removals"].tolist():
            place = LungPlace(bool(left), depth_mm, front_to_back, None if np.isnan(height) else height)
            found.append((str(own["patient"][0]), place))
    return found


def _like_of_others(like: Sequence[tuple[str, LungPlace]], own: Cuts) -> list[LungPlace]:
    patient = str(own["patient"][0])
    return [place for other, place in like if other != patient]


def _join(
    data: Path, cuts: dict[Key, Cuts], chosen: dict[Key, Cuts], left_out: tuple[DatasetError, ...], sha256: str,
    collection: UciCollection,
) -> Prepared:
    """Rows in the order of the tables' scans; both variants hold the same ones."""
    cornered, placed = [], []
    for key, own in cuts.items():
        named = np.asarray(own["is_placed"], bool)
        other = chosen.get(key)
        usable = len(own["kind"]) > 0 and (named.all() or (other is not None and len(other["kind"]) == (~named).sum()))
        order = np.argsort(~named, kind="stable") if usable else np.flatnonzero(named)
        if len(order):
            cornered.append({name: own[name][order] for name in COLUMNS})
            placed.append({name: own[name][named] for name in COLUMNS})
        if usable and other is not None:
            placed.append({name: other[name] for name in COLUMNS})
    if not cornered:
        raise DatasetError("no place could be cut", file=data, found=left_out[0].problem if left_out else "no row",
                           expected="label rows whose scans are there, with neighbouring slices")  # fmt: skip
    counts = {"scans": len(cuts), "rows": sum(len(own["kind"]) for own in cornered),
              "slices": sum(len(scan.slices) for scan in collection.scans.values())}  # fmt: skip
    return Prepared(_concatenate(placed), _concatenate(cornered), sha256, left_out, counts)


def _concatenate(parts: Iterable[Cuts]) -> Samples:
    own = list(parts)
    return Samples(**{name: np.concatenate([part[name] for part in own]) for name in COLUMNS})
