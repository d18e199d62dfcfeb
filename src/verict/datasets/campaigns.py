"""What a campaign of `verict tamper campaign` says of its own scans: by which method each place was forged.

A campaign is a collection in the UCI layout with `campaign.json` in its root: schema verict.campaign/1, described in
docs/campaign.schema.json. Unlike those of the published set, the headers of its scans are their sources' own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verict.errors import DatasetError

CAMPAIGN_FILE = "campaign.json"
SCHEMA = "verict.campaign/1"
LABEL_FILE = "Tampered Scans/labels_exp1.csv"
SCANS_FOLDER = "Tampered Scans/Experiment 1 - Blind"
CASES_FOLDER = "cases"


@dataclass(frozen=True)
class ForgedRow:
    """How one row of a campaign was forged.

    Parameters
    ----------
    method, touch_up
        Names in `verict.tamper.families` and `verict.tamper.touch_ups`.
    whole_slices
        Slice numbers on which every pixel was touched up, not only those around the place.
    """

    method: str
    touch_up: str
    whole_slices: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Campaign:
    """The forged rows of a campaign.

    Parameters
    ----------
    sha256
        The hash that names it.
    rows
        By uuid, slice, x and y, as in its label table; painted ones only.
    """

    sha256: str
    rows: Mapping[tuple[str, int, int, int], ForgedRow]

    def whole_slices_of(self, uuid: str) -> frozenset[int]:
        """Slice numbers of a scan on which no pixel is untouched."""
        return frozenset(n for key, row in self.rows.items() if key[0] == uuid for n in row.whole_slices)


def read_campaign(collection: str | Path) -> Campaign | None:
    """What a collection says of itself, if it is a campaign.

    Parameters
    ----------
    collection
        The folder that holds `CAMPAIGN_FILE`, or the layout folder in it.

    Returns
    -------
    Campaign or None
        None where neither the folder nor the one above it has that file.

    Raises
    ------
    DatasetError
        If the file cannot be read, or is no campaign of this schema.
    """
    root = Path(collection)
    places = [root / CAMPAIGN_FILE]
    if root.resolve().name == Path(LABEL_FILE).parts[0]:
        places.append(root.resolve().parent / CAMPAIGN_FILE)
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        return None
    document = read_document(file)
    try:
        rows = {
            (str(scan["uuid"]), int(row["slice"]), int(row["x"]), int(row["y"])): _describe_row(row)
            for scan in document["scans"]
            for row in scan["rows"]
            if row["method"]
        }
        return Campaign(str(document["sha256"]), rows)
    except (KeyError, TypeError, ValueError) as error:
        found = f"{type(error).__name__}: {error}"
        raise DatasetError("the campaign's description is not whole", file=file, found=found,
                           next_step="make the campaign again, or take the file out") from error


def read_document(file: Path) -> dict[str, Any]:
    """A campaign's description as it stands.

    Raises
    ------
    DatasetError
        If it cannot be read, is no JSON or of another schema.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError("the campaign's description cannot be read", file=file, found=error) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else type(document).__name__
        raise DatasetError("not a campaign of this version", file=file, found=found, expected=SCHEMA)
    return document


def _describe_row(row: Mapping[str, Any]) -> ForgedRow:
    first, last = row["whole_slices"] or (0, -1)
    return ForgedRow(str(row["method"]), str(row["touch_up"]), tuple(range(int(first), int(last) + 1)))
