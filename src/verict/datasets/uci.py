"""UCI data set 520, "Deepfakes: Medical Image Tamper Detection", in both layouts it circulates in.

Mirsky, Mahler, Shelef, Elovici: CT-GAN, USENIX Security 2019 (https://doi.org/10.24432/C5JC89).
The layouts::

    Tampered Scans/Experiment 1 - Blind/<uuid>/<slice>.dcm     CT_Scans/EXP1_blind/<uuid>/<slice>.dcm
    Tampered Scans/Experiment 2 - Open/<uuid>/<slice>.dcm      CT_Scans/EXP2_open/<uuid>/<slice>.dcm
    Tampered Scans/labels_exp1.csv, labels_exp2.csv            labels_exp1.csv, labels_exp2.csv

A slice's file name is its InstanceNumber and the ``slice`` of its label rows; x is the column, y the row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from verict.datasets.tables import TableRow, read_table
from verict.errors import DatasetError, UsageError

COLUMNS = ("type", "uuid", "slice", "x", "y")
_DIGITS = re.compile(r"[0-9]{1,9}")
_SLICE_FILE = re.compile(r"([0-9]{1,9})\.dcm", re.IGNORECASE)
_IGNORED = ("thumbs.db", "desktop.ini")  # left by file managers; names starting with a dot too


class SiteType(StrEnum):
    """What a label says of its place: whether a cancer is visible, and whether that is the truth."""

    TB = "TB"  # true benign: no cancer, nothing done
    TM = "TM"  # true malicious: a real cancer, nothing done
    FB = "FB"  # false benign: a real cancer was removed
    FM = "FM"  # false malicious: a fake cancer was injected

    @property
    def is_tampered(self) -> bool:
        """Whether pixels were painted there."""
        return self in (SiteType.FB, SiteType.FM)


class Layout(StrEnum):
    """How the files of a collection are arranged."""

    TAMPERED_SCANS = "Tampered Scans"
    CT_SCANS = "CT_Scans"
    LABELS_ONLY = "labels only"


EXPERIMENT_FOLDERS = {
    Layout.TAMPERED_SCANS: {1: "Experiment 1 - Blind", 2: "Experiment 2 - Open"},
    Layout.CT_SCANS: {1: "EXP1_blind", 2: "EXP2_open"},
}


@dataclass(frozen=True)
class LabelRow:
    """One row of a label table.

    ``slice`` is the InstanceNumber, ``x`` the column and ``y`` the row of the place in pixels;
    ``experiment`` is 1 (blind) or 2 (open). ``uuid`` is text of digits, as the folder is named.
    """

    experiment: int
    type: SiteType
    uuid: str
    slice: int
    x: int
    y: int

    @property
    def is_placed(self) -> bool:
        """False at slice, x, y = 0,0,0: no place is given, one has to be chosen (all published TB rows)."""
        return (self.slice, self.x, self.y) != (0, 0, 0)


@dataclass(frozen=True)
class ScanFolder:
    """The slices of one scan on disk.

    ``slices`` maps slice number to file; ``repeats`` are files whose number another file already
    has; ``strays`` are entries that are no file ``<number>.dcm``.
    """

    experiment: int
    uuid: str
    folder: Path
    slices: dict[int, Path] = field(repr=False)
    repeats: tuple[Path, ...] = ()
    strays: tuple[Path, ...] = ()


@dataclass(frozen=True)
class UciCollection:
    """Label rows and the scans they speak of.

    ``scans`` is keyed by (experiment, uuid); empty where only the tables are there. ``strays`` are
    entries of the experiment folders that are no scan. ``experiments_on_disk`` are those whose
    folder is there.
    """

    root: Path
    layout: Layout
    rows: tuple[LabelRow, ...]
    label_files: dict[int, Path]
    scans: dict[tuple[int, str], ScanFolder] = field(repr=False)
    experiments_on_disk: tuple[int, ...] = ()
    strays: tuple[Path, ...] = ()

    @cached_property
    def uuids(self) -> tuple[str, ...]:
        """Each uuid of the label tables once, in the order of the tables."""
        return tuple(dict.fromkeys(row.uuid for row in self.rows))

    def scan_of(self, row: LabelRow) -> ScanFolder | None:
        """The scan a row speaks of, or None where it is not on disk."""
        return self.scans.get((row.experiment, row.uuid))

    def file_of(self, row: LabelRow) -> Path | None:
        """The labelled slice of a row, or None where it has no place or is not on disk."""
        scan = self.scan_of(row)
        return scan.slices.get(row.slice) if scan and row.is_placed else None

    def rows_of(self, experiment: int, uuid: str) -> tuple[LabelRow, ...]:
        """Every row of one scan."""
        return tuple(row for row in self.rows if (row.experiment, row.uuid) == (experiment, uuid))


def read_labels(file: Path, experiment: int) -> tuple[LabelRow, ...]:
    """Read one label table.

    Parameters
    ----------
    file
        ``labels_exp1.csv`` or ``labels_exp2.csv``: columns type, uuid, slice, x, y.
    experiment
        Which experiment its rows belong to, 1 or 2.

    Raises
    ------
    DatasetError
        Naming file, line, column, found and expected (see `verict.datasets.tables.read_table`).
    """
    return tuple(_parse_row(row, experiment) for row in read_table(Path(file), COLUMNS))


def read_collection(root: str | Path) -> UciCollection:
    """Read the label tables and list the scans of a collection.

    Parameters
    ----------
    root
        The folder above the layout (it holds ``Tampered Scans`` or ``CT_Scans``), the layout folder
        itself, or a folder with nothing but label tables. Tables are looked for in the layout folder
        and beside it. Names are matched whatever their case.

    Raises
    ------
    UsageError
        If root is not a folder, or nothing in it is a collection.
    DatasetError
        If it holds scans without tables, two layouts or two different tables of one experiment, or a
        table cannot be used.
    """
    try:
        return _read(Path(root))
    except OSError as error:
        raise DatasetError("the collection cannot be read", file=error.filename or root,
                           found=error.strerror, next_step="check the rights of files and folders") from error


def _read(root: Path) -> UciCollection:
    if not root.is_dir():
        raise UsageError("no such folder", file=root, next_step="name the folder that holds the collection")
    layout, home = _find_layout(root)
    label_files = _find_labels(root, layout, home)
    rows = tuple(row for number, file in sorted(label_files.items()) for row in read_labels(file, number))
    scans: dict[tuple[int, str], ScanFolder] = {}
    strays: list[Path] = []
    folders = _experiment_folders(layout, home)
    for number, folder in folders.items():
        for entry in _list_folder(folder):
            if _DIGITS.fullmatch(entry.name) and entry.is_dir():
                scans[number, entry.name] = _list_scan(number, entry)
            else:
                strays.append(entry)
    return UciCollection(root, layout, rows, label_files, scans, tuple(folders), tuple(strays))


def _parse_row(row: TableRow, experiment: int) -> LabelRow:
    name = row.fields["type"].upper()
    if name not in SiteType.__members__:
        raise row.refuse("type", "TB, TM, FB or FM")
    row.whole("uuid")
    return LabelRow(experiment, SiteType(name), row.fields["uuid"], row.whole("slice"), row.whole("x"), row.whole("y"))


def _list_folder(folder: Path) -> list[Path]:
    """The entries of a folder by name, without what file managers leave behind."""
    return [e for e in sorted(folder.iterdir()) if not e.name.startswith(".") and e.name.casefold() not in _IGNORED]


def _list_scan(experiment: int, folder: Path) -> ScanFolder:
    slices: dict[int, Path] = {}
    repeats, strays = [], []
    for entry in _list_folder(folder):
        match = _SLICE_FILE.fullmatch(entry.name)
        if match is None or not entry.is_file():
            strays.append(entry)
        elif (number := int(match[1])) in slices:
            repeats.append(entry)
        else:
            slices[number] = entry
    return ScanFolder(experiment, folder.name, folder, dict(sorted(slices.items())), tuple(repeats), tuple(strays))


def _subfolder(folder: Path, name: str) -> Path | None:
    return next((p for p in _list_folder(folder) if p.name.casefold() == name.casefold() and p.is_dir()), None)


def _experiment_folders(layout: Layout, home: Path) -> dict[int, Path]:
    found = {number: _subfolder(home, name) for number, name in EXPERIMENT_FOLDERS.get(layout, {}).items()}
    return {number: folder for number, folder in found.items() if folder is not None}


def _find_layout(root: Path) -> tuple[Layout, Path]:
    """The layout and the folder that holds (or would hold) its experiment folders."""
    homes: dict[Layout, Path] = {}
    for layout in EXPERIMENT_FOLDERS:
        for home in (root, _subfolder(root, layout.value)):
            if home is not None and _experiment_folders(layout, home):
                homes[layout] = home
    if len(homes) > 1:
        raise DatasetError("two layouts of the collection side by side", file=root,
                           found=" and ".join(homes), next_step="name the folder of one of them")
    return homes.popitem() if homes else (Layout.LABELS_ONLY, root)


def _find_labels(root: Path, layout: Layout, home: Path) -> dict[int, Path]:
    """The label table of each experiment: in the layout folder, or beside it."""
    places = [home, root] if home != root else [home]
    if home == root and root.resolve().name.casefold() == layout.value.casefold():
        places.append(root.resolve().parent)
    if layout is Layout.LABELS_ONLY:
        places += [p for p in (_subfolder(root, name.value) for name in EXPERIMENT_FOLDERS) if p]
    found: dict[int, Path] = {}
    for place in places:
        for number in (1, 2):
            name = f"labels_exp{number}.csv"
            file = next((p for p in _list_folder(place) if p.name.casefold() == name), None)
            if file is None or not file.is_file():
                continue
            if number in found and found[number].read_bytes() != file.read_bytes():
                raise DatasetError(f"two different label tables of experiment {number}", file=file,
                                   found=f"another at {found[number]}", next_step="keep the one that belongs to it")
            found.setdefault(number, file)
    if not found and layout is Layout.LABELS_ONLY:
        raise UsageError(
            "no labelled collection here",
            file=root,
            expected="Tampered Scans or CT_Scans, and labels_exp1.csv or labels_exp2.csv",
            next_step="name the folder that holds them",
        )
    if not found:
        raise DatasetError("the scans come without label tables", file=root,
                           expected="labels_exp1.csv or labels_exp2.csv in the layout folder or beside it")
    return found
