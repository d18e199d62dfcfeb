"""Where a campaign lies on disk: each scan appears whole or not at all, and a killed run can be taken up again.

While a campaign is being made, its folder holds a hidden working folder with the plan, a receipt for each finished scan
and what is half-written; label table and description come last, then the working folder goes. So a folder with a
description is whole, and one without is not read as a collection.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from verict.ct.volume import CTVolume
from verict.datasets.campaigns import CAMPAIGN_FILE, CASES_FOLDER, LABEL_FILE, SCANS_FOLDER, read_document
from verict.errors import InputError, OutputError
from verict.provenance import sha256_of
from verict.tamper.campaign.forge import Made
from verict.tamper.forgery import Donor, ForgeryKind
from verict.tamper.mark import write_control, write_forgery

WORK_FOLDER = ".unfinished-campaign"
PLAN_FILE, RECEIPTS, PARTS, DONORS = "plan.json", "finished", "parts", "donors"
CASE_SCHEMA = "verict.campaign-case/1"


def to_bytes(document: Mapping[str, Any]) -> bytes:
    """A document as the same bytes each time: ASCII, keys in their order, a final newline."""
    return (json.dumps(document, indent=1, allow_nan=False, default=_plain) + "\n").encode("ascii")


def hash_document(document: Mapping[str, Any]) -> str:
    """SHA-256 of a document's values, whatever the order of its keys."""
    text = json.dumps(document, sort_keys=True, allow_nan=False, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class Store:
    """The folder of one campaign.

    Parameters
    ----------
    root
        May be new, empty, or hold the campaign whole or in part.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._work = root / WORK_FOLDER

    def check(self, asked: Mapping[str, Any]) -> None:
        """Refuse a folder of anything else, before the long work.

        Parameters
        ----------
        asked
            Parts of the plan that are known before any source is read.

        Raises
        ------
        OutputError
            If it cannot be read, is not empty and no campaign, or one of another plan.
        """
        known = self._read_known()
        for key in asked if known else ():
            if known.get(key) != asked[key]:
                raise self._other_plan(key, known.get(key), asked[key])

    def start(self) -> None:
        """Make the folder and its working folder, and throw away what was half-written.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        with _told(self.root):
            for name in (PARTS, DONORS):
                shutil.rmtree(self._work / name, ignore_errors=True)
            for folder in (RECEIPTS, PARTS, DONORS):
                (self._work / folder).mkdir(parents=True, exist_ok=True)

    def open(self, plan: Mapping[str, Any]) -> None:
        """Take the folder for a plan, or take up what was begun by the same one.

        Raises
        ------
        OutputError
            If it holds another plan's campaign, or cannot be written.
        """
        known = self._read_known()
        if known and known.get("plan_sha256") != plan["plan_sha256"]:
            raise self._other_plan("sources", known.get("plan_sha256"), plan["plan_sha256"])
        with _told(self.root):
            _write(self._work / PLAN_FILE, to_bytes(plan))  # first: it tells whose folder this is
            for folder in (SCANS_FOLDER, CASES_FOLDER):
                (self.root / folder).mkdir(parents=True, exist_ok=True)

    def tidy(self) -> None:
        """Leave nothing behind where the work ended before there was a plan."""
        if self._work.is_dir() and not (self._work / PLAN_FILE).is_file():
            with _told(self.root):
                shutil.rmtree(self._work)
                if not any(self.root.iterdir()):
                    self.root.rmdir()

    def keep_donor(self, number: int, donor: Donor) -> None:
        """Put tissue aside until a row needs it."""
        about = {"kind": str(donor.kind), "diameter_mm": donor.diameter_mm, "source": donor.source}
        with _told(self.root):
            np.save(self._work / DONORS / f"{number}.npy", donor.hu)
            (self._work / DONORS / f"{number}.json").write_bytes(to_bytes(about))

    def donor(self, number: int) -> Donor:
        """Tissue that was put aside."""
        with _told(self.root):
            about = json.loads((self._work / DONORS / f"{number}.json").read_text("ascii"))
            hu = np.load(self._work / DONORS / f"{number}.npy")
        return Donor(hu, ForgeryKind(about["kind"]), about["diameter_mm"], about["source"])

    def find_scan(self, uuid: str) -> dict[str, Any] | None:
        """The description of a finished scan whose files are still those that were written; else None."""
        receipt, whole = self._work / RECEIPTS / f"{uuid}.json", self.root / CAMPAIGN_FILE
        scans: list[dict[str, Any]] = []
        if receipt.is_file():
            scans = [json.loads(receipt.read_text("ascii"))]
        elif whole.is_file():
            scans = [scan for scan in read_document(whole)["scans"] if scan["uuid"] == uuid]
        return next((scan for scan in scans if self._is_intact(scan)), None)

    def write_scan(
        self, volume: CTVolume, hu: np.ndarray, made: Sequence[Made], scan: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Write the slices and cases of a scan beside their places, then put all there, slices last.

        Parameters
        ----------
        volume
            The source, numbered.
        hu
            As `verict.tamper.campaign.forge.Forger.forge_scan` gives it.
        made
            Its rows.
        scan
            Its description so far, one entry a row, and ``plan_sha256``, from which with the uuid its UIDs follow.

        Returns
        -------
        dict
            The whole description, hashes added; it is kept as the receipt.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        uuid = scan["uuid"]
        part, final = self._work / PARTS / uuid, self.root / SCANS_FOLDER / uuid
        receipt = self._work / RECEIPTS / f"{uuid}.json"
        with _told(self.root):
            shutil.rmtree(part, ignore_errors=True)
            (part / CASES_FOLDER).mkdir(parents=True)
            _write_slices(volume, hu, part, scan)
            rows = [
                {**row, "files": _write_case(part, uuid, row, of_row)}
                for row, of_row in zip(scan["rows"], made, strict=True)
            ]
            whole = {key: value for key, value in scan.items() if key not in ("rows", "plan_sha256")}
            content = to_bytes({**whole, "rows": rows, "slices_sha256": hash_slices(part / uuid)})
            receipt.unlink(missing_ok=True)
            for file in sorted((part / CASES_FOLDER).iterdir()):
                file.replace(self.root / CASES_FOLDER / file.name)
            shutil.rmtree(final, ignore_errors=True)  # of a run that was killed before it wrote the receipt
            (part / uuid).rename(final)
            _write(receipt, content)
            shutil.rmtree(part)
        return dict(json.loads(content))

    def finish(self, document: Mapping[str, Any], labels: str) -> None:
        """Write label table and description, and throw away the working folder.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        with _told(self.root):
            _write(self.root / LABEL_FILE, labels.encode("ascii"))
            _write(self.root / CAMPAIGN_FILE, to_bytes(document))
            shutil.rmtree(self._work)

    def _is_intact(self, scan: Mapping[str, Any]) -> bool:
        """Whether every file of a scan has the hash its description tells."""
        folder = self.root / SCANS_FOLDER / scan["uuid"]
        cases = {name: digest for row in scan["rows"] for name, digest in (row["files"] or {}).items()}
        try:
            return hash_slices(folder) == scan["slices_sha256"] and all(
                sha256_of(self.root / name) == digest for name, digest in cases.items()
            )
        except (OSError, InputError):
            return False

    def _read_known(self) -> dict[str, Any]:
        """The plan or description in the folder; nothing where it is new, empty or was killed before there was one."""
        with _told(self.root):
            if not self.root.exists():
                return {}
            entries = {entry.name for entry in self.root.iterdir()}
            for file in (self.root / CAMPAIGN_FILE, self._work / PLAN_FILE):
                if file.is_file():
                    return read_document(file)
        if entries - {WORK_FOLDER}:
            raise OutputError("the output place holds something else than a campaign", file=self.root,
                              next_step="name a new folder")
        return {}

    def _other_plan(self, what: str, found: object, expected: object) -> OutputError:
        return OutputError(f"the folder holds another campaign: its {what} differ", file=self.root, found=found,
                           expected=str(expected), next_step="name a new folder, or ask for that campaign again")


def hash_slices(folder: Path) -> str:
    """SHA-256 over the sorted SHA-256 of a folder's files: the ``input_sha256`` of whoever reads the scan."""
    return hashlib.sha256("".join(sorted(sha256_of(file) for file in folder.iterdir())).encode()).hexdigest()


def _write_slices(volume: CTVolume, hu: np.ndarray, part: Path, scan: Mapping[str, Any]) -> None:
    """As ``<slice number>.dcm``, marked, with UIDs that follow from plan and uuid."""
    words = [f"{r['type']} {r['method']} with {r['touch_up']} at slice {r['slice']}, x {r['x']}, y {r['y']}"
             for r in scan["rows"] if r["method"]]
    plan, uuid, raw = scan["plan_sha256"], scan["uuid"], part / "raw"
    record = {"kind": "campaign", "campaign plan": plan[:16], "scan": uuid, "rows": "; ".join(words)}
    seed = f"verict campaign {plan} scan {uuid}"
    if words:
        files = write_forgery(volume, hu, raw, record, uid_seed=seed)
    else:
        files = write_control(volume, raw, record, uid_seed=seed)
    (part / uuid).mkdir()
    for file, header in zip(files, volume.headers, strict=True):
        file.rename(part / uuid / f"{int(header.InstanceNumber)}.dcm")
    raw.rmdir()


def _write_case(part: Path, uuid: str, row: Mapping[str, Any], made: Made) -> dict[str, str] | None:
    """The pixels and the record of a painted row; gives the hash of each file by its name in the campaign."""
    if made.change is None:
        return None
    name, change = f"{uuid}-{row['row']}", made.change
    box = np.array([[side.start, side.stop] for side in change.box])
    pixels, record = (part / CASES_FOLDER / f"{name}{suffix}" for suffix in (".npz", ".json"))
    np.savez_compressed(pixels, box=box, footprint=change.footprint, before=change.before, after=change.after)
    document = {"schema": CASE_SCHEMA, "uuid": uuid, **row, "refused": list(made.refused), "forgery": change.record}
    record.write_bytes(to_bytes(document))
    return {f"{CASES_FOLDER}/{file.name}": sha256_of(file) for file in (pixels, record)}


def _write(file: Path, content: bytes) -> None:
    """Beside its place, then renamed."""
    part = file.with_name(f".{file.name}.part")
    part.write_bytes(content)
    part.replace(file)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """What the operating system refuses becomes one error.

    Raises
    ------
    OutputError
        In place of the error.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot be used: {error.strerror or error}", file=error.filename or folder,
                          next_step="check the disk and the folder's rights, or name a folder elsewhere") from error


def _plain(value: Any) -> Any:
    """A number of numpy's as Python's own, for JSON.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"no JSON form for {type(value).__name__}")
