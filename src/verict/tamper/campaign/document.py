"""A campaign as JSON (docs/campaign.schema.json) and as the label table of the UCI layout."""

from __future__ import annotations

import csv
import io
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from verict import __version__, tamper
from verict.datasets.campaigns import SCHEMA
from verict.datasets.scans import identify_patient
from verict.datasets.uci import COLUMNS, SiteType
from verict.provenance import collect_provenance, sha256_of
from verict.tamper.campaign.forge import Made
from verict.tamper.campaign.plan import ROWS_A_SCAN, USES_OF_A_NODULE, Plan, PlannedScan, Row, Wish
from verict.tamper.campaign.store import hash_document
from verict.tamper.campaign.survey import PLACE_WORDS, Survey
from verict.tamper.forgery import describe_box

WEIGHTS = Path(tamper.__file__).parent / "weights"


def describe_wish(wish: Wish) -> dict[str, Any]:
    """What a plan says before any source is read: what was asked for, by which versions and weights it is made."""
    return {
        "schema": SCHEMA,
        "verict": __version__,
        "config": {
            "n": wish.n,
            "seed": wish.seed,
            "methods": list(wish.methods),
            "touch_ups": list(wish.touch_ups),
            "rows_a_scan": ROWS_A_SCAN,
            "uses_of_a_nodule": USES_OF_A_NODULE,
        },
        "versions": _versions(),
        "weights": _hash_weights(wish.methods),
    }


def describe_plan(
    wish: Wish, plan: Plan, surveys: Sequence[Survey], unusable: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """The whole plan, with the hash that tells it from any other."""
    document = {
        **describe_wish(wish),
        "remarks": list(plan.remarks),
        "sources": [
            _describe_source(survey, group, sum(scan.source == i for scan in plan.scans))
            for i, (survey, group) in enumerate(zip(surveys, plan.groups, strict=True))
        ],
        "unusable": [{"name": name, "reason": reason} for name, reason in unusable],
        "scans": [describe_scan(scan, surveys) for scan in plan.scans],
    }
    return {**document, "plan_sha256": hash_document(document)}


def describe_scan(scan: PlannedScan, surveys: Sequence[Survey]) -> dict[str, Any]:
    """A scan as planned."""
    survey = surveys[scan.source]
    return {
        "uuid": scan.uuid,
        "source": scan.source,
        "control": scan.is_control,
        "rows": [
            {
                **_describe_row(i, row, survey),
                "donors": list(row.donors),
                "spares_zyx": [list(spare.voxel) for spare in row.spares],
            }
            for i, row in enumerate(scan.rows)
        ],
    }


def describe_made(scan: PlannedScan, made: Sequence[Made], survey: Survey) -> dict[str, Any]:
    """A scan as it was made; rows that no method could paint stand apart."""
    rows, left_out = [], []
    for i, (planned, of_row) in enumerate(zip(scan.rows, made, strict=True)):
        description = _describe_row(i, of_row.row, survey)
        if of_row.is_left_out:
            left_out.append({**description, "refused": list(of_row.refused)})
            continue
        rows.append({**description, **_describe_change(planned, of_row, survey)})
    return {"uuid": scan.uuid, "source": scan.source, "control": scan.is_control, "rows": rows, "left_out": left_out}


def describe_campaign(plan: Mapping[str, Any], scans: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The finished campaign, with the hash that names it: over all that stands here, file hashes included."""
    rows = [row for scan in scans for row in scan["rows"]]
    types = Counter(row["type"] for row in rows)
    document = {
        **{key: plan[key] for key in ("schema", "verict", "plan_sha256", "config", "versions", "weights")},
        "counts": {
            "scans": len(scans),
            "controls": sum(scan["control"] for scan in scans),
            "rows": {str(kind): types[kind] for kind in SiteType},
            "left_out": sum(len(scan["left_out"]) for scan in scans),
            "methods": _count(rows, "method"),
            "touch_ups": _count(rows, "touch_up"),
        },
        **{key: plan[key] for key in ("remarks", "sources", "unusable")},
        "scans": list(scans),
    }
    return {"schema": SCHEMA, "sha256": hash_document(document), **document}


def to_labels(scans: Iterable[Mapping[str, Any]]) -> str:
    """The label table, one line a row."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for scan in scans:
        for row in scan["rows"]:
            table.writerow([row["type"], scan["uuid"], row["slice"], row["x"], row["y"]])
    return text.getvalue()


def _describe_row(number: int, row: Row, survey: Survey) -> dict[str, Any]:
    z, y, x = row.spot.voxel
    return {
        "row": number,
        "type": str(row.type),
        "slice": survey.numbers[z],
        "x": x,
        "y": y,
        "voxel_zyx": [z, y, x],
        "depth_mm": round(row.spot.place.depth_mm, 1),
        "diameter_mm": None if row.diameter_mm is None else round(row.diameter_mm, 1),
        "place": row.spot.origin,
        "how": row.spot.how,
        "method": row.method or None,
        "touch_up": row.touch_up or None,
        "seed": row.seed if row.method else None,
    }


def _describe_change(planned: Row, made: Made, survey: Survey) -> dict[str, Any]:
    """Where a row was painted, and what was planned where that could not be done."""
    if made.change is None:
        return {"box": None, "whole_slices": None, "instead_of": None}
    z, *in_plane = made.change.box
    is_whole = all(side.stop - side.start == n for side, n in zip(in_plane, survey.shape[1:], strict=True))
    numbers = survey.numbers[z]
    moved = planned.method != made.row.method or planned.spot != made.row.spot
    return {
        "box": describe_box(made.change.box),
        "whole_slices": [min(numbers), max(numbers)] if is_whole else None,
        "instead_of": {"method": planned.method, "voxel_zyx": list(planned.spot.voxel)} if moved else None,
    }


def _describe_source(survey: Survey, group: int, scans: int) -> dict[str, Any]:
    origins = Counter(spot.origin for spot in survey.nodules)
    return {
        "name": survey.source.name,
        "input_sha256": survey.input_sha256,
        "patient": identify_patient(survey.patient),
        "group": group,
        "manufacturer": survey.scanner.manufacturer,
        "model": survey.scanner.model,
        "kernel": survey.kernel,
        "slices": survey.shape[0],
        "spacing_mm": [round(s, 4) for s in survey.spacing_mm],
        "nodules": {word: origins[word] for word in PLACE_WORDS.values()},
        "scans": scans,
    }


def _versions() -> dict[str, Any]:
    """Whatever can change a byte."""
    known = collect_provenance({}, utc=datetime(2000, 1, 1, tzinfo=UTC))
    try:
        skimage: str | None = version("scikit-image")
    except PackageNotFoundError:
        skimage = None
    libraries = {**known["libraries"], "scikit-image": skimage, "zlib": zlib.ZLIB_RUNTIME_VERSION}
    return {"python": known["python"], "platform": known["platform"], **libraries}


def _hash_weights(methods: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each weights file of these methods, by name."""
    return {
        file.name: sha256_of(file)
        for name in sorted(methods)
        for file in sorted(WEIGHTS.glob("*.onnx"))
        if file.stem == name or file.stem.startswith(f"{name}-")
    }


def _count(rows: Iterable[Mapping[str, Any]], key: str) -> dict[str, int]:
    counts = Counter(row[key] for row in rows if row[key])
    return dict(sorted(counts.items()))
