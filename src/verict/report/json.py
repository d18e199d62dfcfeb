"""The result as JSON: schema verict.scan/1, described in docs/scan-result.schema.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from verict.ct.volume import Note
from verict.custody.conclusion import StudyCustody
from verict.detect.evidence import Evidence, Finding
from verict.detect.nodule.reading import Nodule, NoduleReading
from verict.detect.result import NotExamined, Place, Region, ScanResult, SeriesResult
from verict.detect.weight import LikelihoodRatio, PValue
from verict.report.anonymise import anonymise_result
from verict.report.custody import anonymise_custody, describe_custody, exit_code_of
from verict.report.words import SHOWN_MEANING, VERDICT_MEANING

SCHEMA = "verict.scan/1"


def to_json(result: ScanResult, *, anonymous: bool = False, custody: StudyCustody | None = None) -> dict:
    """The result as plain values that `json.dumps` takes with ``allow_nan=False``.

    Parameters
    ----------
    result
        A finished result.
    anonymous
        Leave out every attribute of the patient and every path, and replace UIDs by stand-ins.
    custody
        What signatures say of the same study; None where nobody asked.

    Returns
    -------
    dict
        Numbers that are not finite are None; lone surrogates are escaped.
    """
    if anonymous:
        custody, result = anonymise_custody(custody, result), anonymise_result(result)
    document = {
        "schema": SCHEMA,
        "source": result.source,
        "anonymous": anonymous,
        "exit_code": exit_code_of(result, custody),
        "series": [_describe_series(s) for s in result.series],
        "custody": describe_custody(custody),
        "not_examined": [_describe_not_examined(n) for n in result.not_examined],
        "failures": [{"message": f.message, "details": f.details} for f in result.failures],
        "provenance": result.provenance,
    }
    return make_plain(document)


def to_text(
    result: ScanResult, *, anonymous: bool = False, one_line: bool = False, custody: StudyCustody | None = None
) -> str:
    """The JSON document as ASCII text with a final newline; ``one_line`` gives a line of NDJSON."""
    indent = None if one_line else 2
    return json.dumps(to_json(result, anonymous=anonymous, custody=custody), allow_nan=False, indent=indent) + "\n"


def make_plain(value: Any) -> Any:
    """The value in JSON's own types: enums and paths as text, arrays as lists, NaN and infinities as None."""
    if isinstance(value, Mapping):
        return {make_plain(str(k)): make_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [make_plain(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return make_plain(value.tolist())
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def _describe_series(series: SeriesResult) -> dict:
    return {
        "series_instance_uid": series.series_instance_uid,
        "verdict": series.verdict.value,
        "meaning": VERDICT_MEANING[series.verdict],
        "reason": series.reason,
        "score": series.score,
        "p_value": _describe_p_value(series.p_value),
        "p_value_reason": series.p_value_reason,
        "shows": _describe_reading(series.shows),
        "places": [_describe_place(p) for p in series.places],
        "source": series.source,
        "slice_count": series.slice_count,
        "input_sha256": series.input_sha256,
        "description": dict(series.description),
        "regions": [_describe_region(r) for r in series.regions],
        "findings": [_describe_finding(f) for f in series.findings],
        "notes": [_describe_note(n) for n in series.notes],
        "detectors": [_describe_detector(e) for e in series.evidence],
    }


def _describe_reading(reading: NoduleReading | None) -> dict | None:
    if reading is None:
        return None
    return {
        "shown": reading.shown.value,
        "meaning": SHOWN_MEANING[reading.shown],
        "reason": reading.reason,
        "highest_score": reading.highest,
        "nodules": [_describe_nodule(n) for n in reading.nodules],
    }


def _describe_nodule(nodule: Nodule) -> dict:
    return {
        "centre_voxel_zyx": nodule.centre_voxel_zyx,
        "centre_mm_lps": nodule.centre_mm_lps,
        "long_axis_mm": nodule.long_axis_mm,
        "diameter_mm": nodule.diameter_mm,
        "score": nodule.score,
        "slice_index": nodule.slice_index,
        "sop_instance_uid": nodule.sop_instance_uid,
        "where": nodule.where,
        "decisive": nodule.decisive,
        "alone": nodule.alone,
    }


def _describe_place(place: Place) -> dict:
    return {
        "nodule": place.nodule,
        "region": place.region,
        "centre_voxel_zyx": place.centre_voxel_zyx,
        "nodule_score": place.nodule_score,
        "tamper_score": place.tamper_score,
        "probabilities": place.probabilities,
        "most_likely": place.most_likely,
        "sentence": place.sentence,
    }


def _describe_region(region: Region) -> dict:
    z0, z1, y0, y1, x0, x1 = region.bounds
    return {
        "detector": region.detector,
        "centre_voxel_zyx": region.centre_voxel_zyx,
        "centre_mm_lps": region.centre_mm_lps,
        "bounds_voxel": {"z": [z0, z1], "y": [y0, y1], "x": [x0, x1]},
        "extent_mm_zyx": region.extent_mm,
        "slices": region.slices,
        "sop_instance_uids": region.sop_instance_uids,
        "peak_slice": region.peak_slice,
        "score": region.score,
        "decisive": region.decisive,
        "evidence": region.evidence,
        "likelihood_ratio": _describe_ratio(region.likelihood_ratio),
        "likelihood_ratio_reason": region.ratio_reason,
        "parts": [{"detector": name, "log_odds": value} for name, value in region.parts],
    }


def _describe_ratio(ratio: LikelihoodRatio | None) -> dict | None:
    if ratio is None:
        return None
    return {
        "value": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        "at_bound": ratio.is_at_bound,
        "words": ratio.words,
        "h1": ratio.h1,
        "h2": ratio.h2,
        "h1_patients": ratio.h1_patients,
        "h2_patients": ratio.h2_patients,
    }


def _describe_p_value(p_value: PValue | None) -> dict | None:
    if p_value is None:
        return None
    return {
        "value": p_value.value,
        "smallest": p_value.smallest,
        "patients": p_value.patients,
        "parts": p_value.parts,
    }


def _describe_finding(finding: Finding) -> dict:
    return {
        "code": finding.code,
        "title": finding.title,
        "why": finding.why,
        "confidence": finding.confidence.value,
        "tags": [{"tag": t.tag, "keyword": t.keyword, "found": t.found, "expected": t.expected} for t in finding.tags],
        "benign": finding.benign,
        "slices": finding.slices,
    }


def _describe_note(note: Note) -> dict:
    return {"code": note.code, "message": note.message, "sop_instance_uids": note.sop_instance_uids}


def _describe_detector(evidence: Evidence) -> dict:
    card = evidence.card or {}
    return {
        "name": evidence.detector,
        "mark_threshold": evidence.mark_threshold,
        "model": {k: card.get(k) for k in ("id", "version", "sha256")} if card else None,
        "figures": figures_of(evidence),
    }


def figures_of(evidence: Evidence) -> list[dict]:
    """The measured error rates of a model card, each with name, value, interval, n and text.

    Entries of another shape are left out; a missing part is None.
    """
    figures = (evidence.card or {}).get("figures")
    if not isinstance(figures, (list, tuple)):
        return []
    return [
        {
            "name": str(f.get("name", "")),
            "value": f.get("value"),
            "interval": list(f["interval"]) if _is_pair(f.get("interval")) else None,
            "n": f.get("n"),
            "text": str(f.get("text") or ""),
        }
        for f in figures
        if isinstance(f, Mapping)
    ]


def _is_pair(value: object) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2


def _describe_not_examined(item: NotExamined) -> dict:
    return {
        "what": item.what,
        "reason": item.reason,
        "files": item.files,
        "series_instance_uid": item.series_instance_uid,
        "counts": item.counts,
    }
