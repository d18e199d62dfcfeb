"""From a path to the finished result: find, read, lungs, detectors, verdict, one series after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from verict.ct.discover import Discovery, SeriesFiles, find_series
from verict.ct.header_text import read_text
from verict.ct.lungs import LungRegion, find_lungs
from verict.ct.read import read_series
from verict.ct.volume import CTVolume, Note
from verict.detect import registry
from verict.detect.evidence import Detector, Evidence, Finding
from verict.detect.fitness import Fitness, examine_fitness, identify_limits
from verict.detect.four_classes import join
from verict.detect.header import HeaderFingerprint, examine_across, fingerprint
from verict.detect.nodule.reading import NoduleReading
from verict.detect.pictures import keep_pictures
from verict.detect.result import Failure, NotExamined, ScanResult, SeriesResult
from verict.detect.verdict import add_findings, assess
from verict.errors import ModelError, UsageError, VerictError, say_count
from verict.provenance import collect_provenance

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, steps done, steps in all)."""

LEFT_OUT_CODES = frozenset({"duplicate_position", "frames_left_out"})
"""Notes of the reader that say: slices were found and left out of the volume."""

DESCRIPTION_KEYWORDS = (
    "PatientID",
    "PatientName",
    "StudyDate",
    "SeriesDescription",
    "Manufacturer",
    "ManufacturerModelName",
    "ConvolutionKernel",
    "SliceThickness",
)


@dataclass(frozen=True)
class ScanOptions:
    """What to do with a study.

    Parameters
    ----------
    detectors
        Names from the registry, in the order they run.
    series
        Examine only the series of this SeriesInstanceUID.
    workers
        Threads for decoding and scoring; None: one a core.
    pictures
        Keep what the report draws.
    """

    detectors: tuple[str, ...] = registry.DEFAULT
    series: str | None = None
    workers: int | None = None
    pictures: bool = False


def examine(path: Path | str, options: ScanOptions | None = None, progress: Progress | None = None) -> ScanResult:
    """Examine everything below a path.

    A series that fails is a `Failure` in the result; the others still get their verdict.

    Parameters
    ----------
    path
        A DICOM file, a folder, or a zip.
    options
        See `ScanOptions`.
    progress
        See `Progress`.

    Raises
    ------
    UsageError
        If a detector does not exist, or no series has the UID asked for.
    ModelError
        If the shipped weights are damaged.
    """
    options = options or ScanOptions()
    report = progress or (lambda *_: None)
    detectors = tuple(registry.create(name) for name in options.detectors)
    discovery = find_series(path, progress=lambda done, total: report("looking for series", done, total))
    chosen = _choose(discovery, options.series)
    skipped = list(discovery.not_examined)
    failures = [_failure(e) for e in discovery.failures]
    results: list[SeriesResult] = []
    fingerprints: list[HeaderFingerprint] = []
    for index, files in enumerate(chosen):
        report("examining series", index, len(chosen))
        try:
            volume = read_series(
                files, workers=options.workers, progress=lambda done, total: report("reading slices", done, total)
            )
            failures += [_failure(e) for e in volume.failures]
            outcome = _examine_volume(volume, files, detectors, options, report)
            fingerprints.append(fingerprint(volume))
        except ModelError:  # no fault of the input, and every other series would fail alike
            raise
        except VerictError as error:
            failures.append(_failure(error))
        except Exception as error:  # the boundary of one case in a batch: recorded, never lost
            log.debug("series %s failed", files.series_instance_uid, exc_info=True)
            failures.append(_unexpected(error, files))
        else:
            if isinstance(outcome, NotExamined):
                skipped.append(outcome)
            else:
                results.append(outcome)
                skipped += _slices_left_out(volume, files)
    if "header" in options.detectors:
        results = _compare_across(results, fingerprints)
    models = {
        e.detector: {key: e.card[key] for key in ("id", "version", "sha256")}
        for s in results
        for e in s.evidence
        if e.card is not None
    }
    if models:  # a pixel detector was run, so these limits had a say
        models["fitness"] = identify_limits()
    return ScanResult(
        source=str(path),
        series=tuple(results),
        not_examined=tuple(skipped),
        failures=tuple(failures),
        provenance=collect_provenance(asdict(options), models=models),
    )


def _choose(discovery: Discovery, series_uid: str | None) -> tuple[SeriesFiles, ...]:
    if series_uid is None:
        return discovery.series
    chosen = tuple(s for s in discovery.series if s.series_instance_uid == series_uid)
    if not chosen:
        known = [s.series_instance_uid for s in discovery.series]
        raise UsageError(
            "no such series to examine",
            file=discovery.source,
            tag="SeriesInstanceUID (0020,000E)",
            found=series_uid,
            expected=f"one of {', '.join(known[:5])}" + (" …" if len(known) > 5 else "") if known else "a chest CT",
        )
    return chosen


def _examine_volume(
    volume: CTVolume, files: SeriesFiles, detectors: tuple[Detector, ...], options: ScanOptions, report: Progress
) -> SeriesResult | NotExamined:
    report("finding the lungs", 0, 1)
    lungs = find_lungs(volume)
    if not lungs.any_found:
        reason = lungs.notes[0].message if lungs.notes else "no lung found in the pixels"
        named_chest = files.chest and _is_called_chest(volume)  # both: files may differ in BodyPartExamined
        return NotExamined(files.label, reason, volume.slice_count, volume.series_instance_uid, counts=named_chest)
    evidence: list[Evidence] = []
    pixels_only = volume.without_headers()
    for detector in detectors:
        report(detector.summary, len(evidence), len(detectors))
        seen = volume if detector.needs.headers else pixels_only
        evidence.append(detector.examine(seen, lungs if detector.needs.lungs else None, workers=options.workers))
    judged_by_pixels = any(e.score_map is not None for e in evidence)
    fitness = examine_fitness(pixels_only, lungs) if judged_by_pixels else Fitness((), None)
    return _result(volume, lungs, files, tuple(evidence), fitness, keep=options.pictures)


def _result(
    volume: CTVolume,
    lungs: LungRegion,
    files: SeriesFiles,
    evidence: tuple[Evidence, ...],
    fitness: Fitness,
    *,
    keep: bool,
) -> SeriesResult:
    assessment = assess(volume, evidence, volume.sop_instance_uids, fitness.reasons)
    notes = (*volume.notes, *lungs.notes, *_what_is_left_out(volume), *(n for e in evidence for n in e.notes))
    reading = _name_slices(next((e.reading for e in evidence if e.reading is not None), None), volume)
    nodules = reading.nodules if reading else ()
    places = join(volume, evidence, reading, assessment.regions)
    notes += tuple(Note("unusual_noise", f"thresholds may not hold for the noise here: {r}") for r in fitness.reasons)
    return SeriesResult(
        series_instance_uid=volume.series_instance_uid,
        verdict=assessment.verdict,
        reason=assessment.reason,
        score=assessment.score,
        regions=assessment.regions,
        findings=tuple(f for e in evidence for f in e.findings),
        notes=notes,
        input_sha256=volume.input_sha256,
        source=files.label,
        slice_count=volume.slice_count,
        pictures=keep_pictures(volume, lungs, evidence, assessment.regions, nodules, places) if keep else (),
        evidence=tuple(_without_maps(e) for e in evidence),
        description=_description(volume),
        header=volume.headers[0] if volume.headers else None,
        sop_instance_uids=volume.sop_instance_uids,
        p_value=assessment.p_value,
        p_value_reason=assessment.p_value_reason,
        shows=reading,
        places=places,
    )


def _name_slices(reading: NoduleReading | None, volume: CTVolume) -> NoduleReading | None:
    """The reading with the UID of each nodule's slice, which its detector is not given."""
    if reading is None:
        return None
    uids = volume.sop_instance_uids
    return replace(reading, nodules=tuple(replace(n, sop_instance_uid=uids[n.slice_index]) for n in reading.nodules))


def _slices_left_out(volume: CTVolume, files: SeriesFiles) -> list[NotExamined]:
    """Slices that were read by nobody: a forgery could hide in them, so the study counts as not wholly examined."""
    return [
        NotExamined(
            f"slices of {files.label}",
            note.message,
            max(1, len(note.sop_instance_uids)),
            volume.series_instance_uid,
            counts=files.chest,
        )
        for note in volume.notes
        if note.code in LEFT_OUT_CODES
    ]


def _what_is_left_out(volume: CTVolume) -> tuple[Note, ...]:
    isolated = [run for run in volume.runs if run.stop - run.start == 1]
    if not isolated:
        return ()
    which = "every slice" if len(isolated) == volume.slice_count else say_count(len(isolated), "slice")
    return (Note("isolated_slices", f"without neighbours: {which}; evidence along z is left out there"),)


def _compare_across(results: list[SeriesResult], fingerprints: list[HeaderFingerprint]) -> list[SeriesResult]:
    """Add what only shows between series: headers cloned across patients."""
    found = examine_across(tuple(fingerprints))
    return [_with_findings(r, tuple(found.get(r.series_instance_uid, ()))) for r in results]


def _with_findings(result: SeriesResult, findings: tuple[Finding, ...]) -> SeriesResult:
    if not findings:
        return result
    verdict, reason = add_findings(result.verdict, result.reason, findings)
    return replace(result, verdict=verdict, reason=reason, findings=(*result.findings, *findings))


def _without_maps(evidence: Evidence) -> Evidence:
    return replace(evidence, score_map=None)


def _description(volume: CTVolume) -> dict[str, str]:
    if not volume.headers:
        return {}
    header = volume.headers[0]
    return {k: text for k in DESCRIPTION_KEYWORDS if (text := read_text(header, k))}


def _is_called_chest(volume: CTVolume) -> bool:
    """Whether the headers say chest; `verict.ct.classify.is_chest` asks only whether they leave it open."""
    part = read_text(volume.headers[0], "BodyPartExamined").upper() if volume.headers else ""
    return any(word in part for word in ("CHEST", "LUNG", "THORAX"))


def _failure(error: VerictError) -> Failure:
    return Failure(error.one_line(), error.as_dict())


def _unexpected(error: Exception, files: SeriesFiles) -> Failure:
    problem: dict[str, Any] = {
        "problem": "an error verict did not foresee; please report it",
        "file": files.label,
        "found": type(error).__name__,
    }
    return _failure(VerictError(**problem))
