"""A result without anything that names the patient, the place or the day.

Rules, not recognition: attributes of the headers pass only where they are on the list below, UIDs and
paths never do, and free text is searched for every value known to be identifying. Pictures stay as they
are: text burned into the pixels is not removed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from verict.ct.header_text import read_text
from verict.detect.evidence import Finding, TagValue
from verict.detect.nodule.reading import NoduleReading
from verict.detect.result import Failure, NotExamined, Region, ScanResult, SeriesResult

LEFT_OUT = "(left out)"

# Attributes that describe the machine or the pixels, never the patient, the place or the time.
SAFE_KEYWORDS = frozenset(
    [
        "Modality", "ImageType", "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "ConvolutionKernel",
        "KVP", "XRayTubeCurrent", "Exposure", "ExposureTime", "FilterType", "FocalSpots", "SliceThickness",
        "SpacingBetweenSlices", "SliceLocation", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
        "GantryDetectorTilt", "TableHeight", "ReconstructionDiameter", "DataCollectionDiameter",
        "DistanceSourceToDetector", "DistanceSourceToPatient", "RotationDirection", "SpiralPitchFactor",
        "ScanOptions", "PatientPosition", "BodyPartExamined", "Rows", "Columns", "NumberOfFrames",
        "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
        "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "SmallestImagePixelValue",
        "LargestImagePixelValue", "RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth",
        "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod", "InstanceNumber",
        "AcquisitionNumber", "SeriesNumber", "OverlayRows", "OverlayColumns", "OverlayBitsAllocated",
        "OverlayBitPosition", "PatientIdentityRemoved", "BurnedInAnnotation", "RecognizableVisualFeatures",
        "SpecificCharacterSet", "TransferSyntaxUID", "SOPClassUID", "MediaStorageSOPClassUID",
        "ImplementationVersionName",
    ]
)
_SAFE_DESCRIPTION = ("Manufacturer", "ManufacturerModelName", "ConvolutionKernel", "SliceThickness")
_IDENTIFYING = (
    "PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthDate", "PatientAddress",
    "PatientTelephoneNumbers", "AccessionNumber", "StudyID", "InstitutionName", "InstitutionAddress",
    "InstitutionalDepartmentName", "ReferringPhysicianName", "PerformingPhysicianName",
    "NameOfPhysiciansReadingStudy", "OperatorsName", "RequestingPhysician", "StationName", "DeviceSerialNumber",
    "StudyDescription", "SeriesDescription", "ProtocolName", "PatientComments", "ImageComments", "StudyDate",
    "SeriesDate", "AcquisitionDate", "ContentDate",
)
_PLACE_KEYS = frozenset(
    [
        "source", "sources", "path", "paths", "folder", "file", "files", "argv", "command", "command_line", "cwd",
        "user", "username", "host", "hostname", "node", "series", "series_instance_uid", "study_instance_uid",
        "json", "report", "study",
    ]
)
_STANDARD_UID_ROOT = "1.2.840.10008."  # PS3.5 annex A: names classes and transfer syntaxes, never a patient

# None of these may begin or end inside of a longer word: a hash must not lose its digits.
_UID = re.compile(r"(?<![A-Za-z0-9.])[0-2](?:\.\d+){3,}(?![A-Za-z0-9])")
_DATE = re.compile(
    r"(?<![A-Za-z0-9])(?:19|20)\d\d(?:(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])|-\d\d-\d\d)(?![A-Za-z0-9])"
)
_AGE = re.compile(r"(?<![A-Za-z0-9])\d{3}[DWMY](?![A-Za-z0-9])")  # PS3.5 6.2, VR AS
_PATH = re.compile(
    r"(?<!\w)(?:[A-Za-z]:)?(?:[\\/][^\\/\s'\";,]+){2,}[\\/]?|[^\s'\"/\\]+\.(?:dcm|ima|zip|dicom)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class _Scrubber:
    """Takes identifying text out of sentences; ``aliases`` maps UIDs to their stand-ins."""

    secrets: tuple[str, ...]
    aliases: Mapping[str, str]

    def scrub(self, text: str) -> str:
        # Paths before UIDs and UIDs before words: what holds another thing must still be whole when it is looked for.
        for secret in self.secrets:
            if "/" in secret or "\\" in secret:
                text = text.replace(secret, LEFT_OUT)
        text = _UID.sub(self._replace_uid, _PATH.sub(LEFT_OUT, text))
        for secret in self.secrets:
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(secret)}(?![A-Za-z0-9])", LEFT_OUT, text)
        return _AGE.sub(LEFT_OUT, _DATE.sub(LEFT_OUT, text))

    def _replace_uid(self, match: re.Match[str]) -> str:
        uid = match.group()
        return uid if uid.startswith(_STANDARD_UID_ROOT) else self.aliases.get(uid, LEFT_OUT)


def name_study(result: ScanResult) -> str:
    """A name for a study that tells nothing of the patient: from the hashes of its input.

    The same input always gets the same name. Nothing is derived from a UID, whose digits often are a
    date and could be guessed back.
    """
    hashes = " ".join(sorted(s.input_sha256 for s in result.series))
    return f"study-{hashlib.sha256(hashes.encode('utf-8', 'replace')).hexdigest()[:12]}" if hashes else "study"


def anonymise_result(result: ScanResult) -> ScanResult:
    """The result with every attribute of the patient left out and each UID replaced by a stand-in.

    A series is named after the first 12 hex digits of its input's SHA-256, a slice after its series and
    its z index, so that whoever holds the scan finds the place again and nobody else can.
    """
    aliases: dict[str, str] = {}
    for series in result.series:
        aliases |= _name_uids(series)
    scrubber = _Scrubber(_collect_secrets(result), aliases)
    return ScanResult(
        source=name_study(result),
        series=tuple(_anonymise_series(s, scrubber) for s in result.series),
        not_examined=tuple(
            NotExamined(f"object {i}", scrubber.scrub(n.reason), n.files, "", n.counts)
            for i, n in enumerate(result.not_examined, start=1)
        ),
        failures=tuple(_anonymise_failure(f, scrubber) for f in result.failures),
        provenance={k: _anonymise_entry(k.lower(), v, scrubber) for k, v in result.provenance.items()},
    )


def name_series(series: SeriesResult) -> str:
    """The stand-in for the UID of a series, from the hash of its input."""
    return f"series-{series.input_sha256[:12]}"


def _name_uids(series: SeriesResult) -> dict[str, str]:
    """Stand-ins for the UIDs of one series and of those of its slices whose z index is known."""
    name = name_series(series)
    aliases = {series.series_instance_uid: name}
    for z, uid in enumerate(series.sop_instance_uids):
        aliases.setdefault(uid, f"{name}/slice-{z:04d}")
    for region in series.regions:
        if len(region.slices) == len(region.sop_instance_uids):
            for z, uid in zip(region.slices, region.sop_instance_uids, strict=True):
                aliases.setdefault(uid, f"{name}/slice-{z:04d}")
    for nodule in series.shows.nodules if series.shows else ():
        aliases.setdefault(nodule.sop_instance_uid, f"{name}/slice-{nodule.slice_index:04d}")
    aliases.pop("", None)
    return aliases


def _collect_secrets(result: ScanResult) -> tuple[str, ...]:
    """Every value that must not appear in a sentence, the longest first."""
    found: set[str] = {result.source}
    for series in result.series:
        found.update((series.source, *re.split(r"[\\/]", series.source)))
        found.update(str(v) for k, v in series.description.items() if k not in _SAFE_DESCRIPTION)
        found.update(re.split(r"[\^=\s,]+", str(series.description.get("PatientName", ""))))
        if series.header is not None:
            found.update(read_text(series.header, k) for k in _IDENTIFYING if k in series.header)
    found.update(str(f.details.get("file")) for f in result.failures if f.details.get("file"))
    found.update(n.what for n in result.not_examined)
    found |= {re.split(r"[\\/]", f.rstrip("\\/"))[-1] for f in found if "/" in f or "\\" in f}
    # Two letters or digits name nobody and would blot out half of every sentence.
    return tuple(sorted((f.strip() for f in found if len(f.strip()) >= 3), key=len, reverse=True))


def _anonymise_series(series: SeriesResult, scrubber: _Scrubber) -> SeriesResult:
    return replace(
        series,
        series_instance_uid=name_series(series),
        reason=scrubber.scrub(series.reason),
        regions=tuple(_anonymise_region(r, scrubber) for r in series.regions),
        findings=tuple(_anonymise_finding(f, scrubber) for f in series.findings),
        notes=tuple(
            replace(n, message=scrubber.scrub(n.message), sop_instance_uids=_rename(n.sop_instance_uids, scrubber))
            for n in series.notes
        ),
        source=name_series(series),
        shows=_anonymise_reading(series.shows, scrubber),
        places=tuple(replace(p, sentence=scrubber.scrub(p.sentence)) for p in series.places),
        header=None,
        sop_instance_uids=(),
        description={k: scrubber.scrub(v) for k, v in series.description.items() if k in _SAFE_DESCRIPTION},
    )


def _rename(uids: tuple[str, ...], scrubber: _Scrubber) -> tuple[str, ...]:
    return tuple(scrubber.aliases.get(uid, LEFT_OUT) for uid in uids)


def _anonymise_region(region: Region, scrubber: _Scrubber) -> Region:
    return replace(
        region,
        sop_instance_uids=_rename(region.sop_instance_uids, scrubber),
        evidence=scrubber.scrub(region.evidence),
    )


def _anonymise_reading(reading: NoduleReading | None, scrubber: _Scrubber) -> NoduleReading | None:
    if reading is None:
        return None
    nodules = tuple(
        replace(
            n,
            sop_instance_uid=_rename((n.sop_instance_uid,), scrubber)[0] if n.sop_instance_uid else "",
            where=scrubber.scrub(n.where),
        )
        for n in reading.nodules
    )
    return replace(reading, reason=scrubber.scrub(reading.reason), nodules=nodules)


def _anonymise_finding(finding: Finding, scrubber: _Scrubber) -> Finding:
    return replace(
        finding,
        title=scrubber.scrub(finding.title),
        why=scrubber.scrub(finding.why),
        benign=tuple(scrubber.scrub(b) for b in finding.benign),
        tags=tuple(_anonymise_tag(t, scrubber) for t in finding.tags),
    )


def _anonymise_tag(tag: TagValue, scrubber: _Scrubber) -> TagValue:
    if tag.keyword in SAFE_KEYWORDS:
        return replace(tag, found=scrubber.scrub(tag.found), expected=scrubber.scrub(tag.expected))
    return replace(tag, found=LEFT_OUT if tag.found else "", expected=LEFT_OUT if tag.expected else "")


def _anonymise_failure(failure: Failure, scrubber: _Scrubber) -> Failure:
    kept = {k: scrubber.scrub(v) if v else v for k, v in failure.details.items() if k not in {"file", "found"}}
    said = [kept.get("problem") or "an input could not be read"]
    if kept.get("tag"):
        said.append(f"tag {kept['tag']}")
    if kept.get("expected"):
        said.append(f"expected {kept['expected']}")
    return Failure("; ".join(said), {**kept, "file": None, "found": None})


def _anonymise_value(value: object, scrubber: _Scrubber) -> object:
    """Provenance: values under keys that name a place are left out, all other text is searched."""
    if isinstance(value, Mapping):
        return {
            scrubber.scrub(str(k)): _anonymise_entry(str(k).lower(), v, scrubber) for k, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_anonymise_value(v, scrubber) for v in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return scrubber.scrub(str(value))


def _anonymise_entry(key: str, value: object, scrubber: _Scrubber) -> object:
    if key in _PLACE_KEYS:
        return None if value is None else LEFT_OUT
    if key == "utc":  # when verict ran, which says nothing of the patient
        return value
    return _anonymise_value(value, scrubber)
