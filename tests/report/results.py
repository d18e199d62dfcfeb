"""Finished results built by hand, for everything that renders them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from verict.ct.volume import Note
from verict.detect.evidence import Confidence, Evidence, Finding, TagValue
from verict.detect.nodule.reading import Nodule, NoduleReading, Shown
from verict.detect.result import (
    Failure,
    NotExamined,
    Place,
    Region,
    RegionPicture,
    ScanResult,
    SeriesResult,
    Verdict,
)
from verict.detect.weight import LikelihoodRatio, PValue

SERIES_UID = "1.3.6.1.4.1.14519.5.2.1.20051224.100"
SOP_ROOT = "1.3.6.1.4.1.14519.5.2.1.20051224.200"
PATIENT = {
    "PatientName": "MUSTER^ERIKA",
    "PatientID": "PID-0815",
    "StudyDate": "20051224",
    "SeriesDescription": "Thorax nativ 1.0",
}
MACHINE = {
    "Manufacturer": "GE MEDICAL SYSTEMS",
    "ManufacturerModelName": "LightSpeed16",
    "ConvolutionKernel": "STANDARD",
    "SliceThickness": "2.5",
}
CARD = {
    "id": "spectrum-1",
    "version": "1",
    "sha256": "c" * 64,
    "training": {"forged": "published fakes and simulated ones", "authentic": ["seven series"]},
    "figures": [
        {
            "name": "removed cancers found",
            "value": 0.971,
            "interval": [0.847, 0.999],
            "n": 34,
            "text": "label sites, 5-fold by patient",
        },
        {"name": "false marks per slice", "value": 0.08, "interval": None, "n": 712, "text": "seven authentic series"},
    ],
}
STRIDE_PX = 4


def simulate_slice(rows: int = 128, columns: int = 128, seed: int = 3) -> np.ndarray:
    """A (y, x) float32 slice in HU: body, two lungs, smooth noise, and a square of white noise in one lung."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns] / (rows, columns)[0]
    hu = np.full((rows, columns), -1000.0, np.float32)
    hu[((y - 0.5) / 0.38) ** 2 + ((x - 0.5) / 0.46) ** 2 < 1] = 40.0
    for centre in (0.3, 0.7):
        hu[((y - 0.5) / 0.26) ** 2 + ((x - centre) / 0.15) ** 2 < 1] = -850.0
    hu += ndimage.gaussian_filter(rng.normal(0, 60, hu.shape), 1.2).astype(np.float32)
    hu[56:72, 32:48] += rng.normal(0, 45, (16, 16)).astype(np.float32)
    return hu


def make_picture(hu: np.ndarray | None = None, *, region: int = 0, slice_index: int = 12) -> RegionPicture:
    """The picture of a region painted at pixels (56:72, 32:48) of a 128 x 128 slice."""
    hu = simulate_slice() if hu is None else hu
    score = ndimage.gaussian_filter(np.random.default_rng(1).normal(0, 1, (32, 32)), 1).astype(np.float32)
    contour = np.zeros(hu.shape, bool)
    if region >= 0:
        score[14:18, 8:12] = 8.0
        contour[56:72, 32:48] = True
    score[:3] = np.nan
    return RegionPicture(
        region=region,
        slice_index=slice_index,
        hu=hu,
        residual=(hu - ndimage.gaussian_filter(hu, 2)).astype(np.float32),
        score=score,
        stride_px=STRIDE_PX,
        origin_px=1.5,
        lungs=hu < -600,
        contour=contour,
        pixel_spacing_mm=(0.7, 0.7),
    )


def make_ratio(value: float = 5.4) -> LikelihoodRatio:
    """A likelihood ratio between 0.2 and 13.6."""
    return LikelihoodRatio(value, 0.2, 13.6, "lung was repainted here", "untouched lung", 40, 25)


def make_p_value(value: float = 0.077) -> PValue:
    """A p-value against 25 untouched patients."""
    return PValue(value, 1 / 26, 25, 1)


def make_region(*, decisive: bool = True, score: float = 8.0, **changes: object) -> Region:
    """A region on slices 10 to 14 of a series."""
    parts = {
        "detector": "spectrum",
        "centre_voxel_zyx": (12.0, 63.5, 39.5),
        "centre_mm_lps": (-62.4, 18.2, -241.5),
        "bounds": (10, 14, 56, 71, 32, 47),
        "extent_mm": (12.5, 11.2, 11.2),
        "slices": (10, 11, 12, 13, 14),
        "sop_instance_uids": tuple(f"{SOP_ROOT}.{z}" for z in range(10, 15)),
        "peak_slice": 12,
        "score": score,
        "decisive": decisive,
        "evidence": "the noise here is finer and whiter than the rest of this slice's",
    }
    return Region(**(parts | changes))


def make_nodule(**changes: object) -> Nodule:
    """A decisive nodule of 14 mm on slice 20."""
    parts = {
        "centre_voxel_zyx": (20.2, 60.0, 90.0),
        "centre_mm_lps": (44.1, 20.0, -221.0),
        "long_axis_mm": 14.2,
        "diameter_mm": 12.6,
        "score": 4.2,
        "slice_index": 20,
        "sop_instance_uid": f"{SOP_ROOT}.20",
        "where": "left lung, upper third",
        "decisive": True,
        "alone": False,
    }
    return Nodule(**(parts | changes))


def make_reading(shown: Shown = Shown.CANCER, *nodules: Nodule, **changes: object) -> NoduleReading:
    """What a series with those nodules shows."""
    reasons = {
        Shown.CANCER: "shows a 14 mm nodule in the left lung, upper third",
        Shown.NONE_SEEN: "no nodule seen; this does not mean healthy",
        Shown.INDETERMINATE: "shows what may be a nodule in the left lung, too unsure to decide",
    }
    parts = {"shown": shown, "reason": reasons[shown], "nodules": nodules, "highest": 4.2}
    return NoduleReading(**(parts | changes))


def make_place(**changes: object) -> Place:
    """The place of `make_nodule`, which a region of the series touches: most likely painted in."""
    parts = {
        "nodule": 0,
        "region": 1,
        "centre_voxel_zyx": (20.2, 60.0, 90.0),
        "nodule_score": 4.2,
        "tamper_score": 8.0,
        "probabilities": {"TB": 0.004, "FB": 0.05, "TM": 0.076, "FM": 0.87},
        "sentence": "a 14 mm nodule in the left lung, upper third; the tissue there looks painted",
    }
    return Place(**(parts | changes))


def make_shown_series(**changes: object) -> SeriesResult:
    """A suspicious series that shows a cancer: a painted nodule, a lone weak one that is drawn, a region by itself."""
    weak = make_nodule(
        score=1.5, decisive=False, alone=True, slice_index=25, sop_instance_uid=f"{SOP_ROOT}.25",
        centre_voxel_zyx=(25.0, 64.0, 40.0), long_axis_mm=None, diameter_mm=None, where="right lung",
    )  # fmt: skip
    parts = {
        "shows": make_reading(Shown.CANCER, make_nodule(), weak),
        "places": (
            make_place(),
            make_place(
                nodule=1, region=None, centre_voxel_zyx=(25.0, 64.0, 40.0), nodule_score=1.5, tamper_score=None,
                probabilities=None, sentence="a nodule in the right lung; whether it was painted could not be judged",
            ),
            make_place(
                nodule=None, region=0, centre_voxel_zyx=(12.0, 63.5, 39.5), nodule_score=-12.0, tamper_score=4.5,
                probabilities={"TB": 0.2, "FB": 0.75, "TM": 0.0, "FM": 0.05},
                sentence="no nodule; unusual texture, too weak to call it painted",
            ),
        ),
        "pictures": (make_picture(region=1), replace(make_picture(region=-1, slice_index=25), nodule=1,
                                                     contour=make_picture().contour)),
    }  # fmt: skip
    return make_series(**(parts | changes))


def make_findings() -> tuple[Finding, ...]:
    """One finding of each confidence."""
    return (
        Finding(
            code="meta_sop_uid_differs",
            title="File meta and data set name different objects",
            why="Whoever wrote the file changed one and not the other.",
            confidence=Confidence.CONTRADICTION,
            tags=(
                TagValue("(0002,0003)", "MediaStorageSOPInstanceUID", f"{SOP_ROOT}.999", f"{SOP_ROOT}.10"),
                TagValue("(0008,0060)", "Modality", "CT"),
            ),
            benign=("an anonymiser that leaves the file meta alone",),
            slices=(10, 11),
        ),
        Finding("kernel_unknown", "Kernel not known of this maker", "A cloned template.", Confidence.UNUSUAL),
        Finding(
            "private_creator",
            "Private attributes of a second maker",
            "Often a workstation.",
            Confidence.NOTABLE,
            tags=(TagValue("(0010,0010)", "PatientName", "MUSTER^ERIKA"),),
        ),
    )


def make_series(verdict: Verdict = Verdict.SUSPICIOUS, **changes: object) -> SeriesResult:
    """A series of 30 slices; suspicious ones have two regions, of which the second decides."""
    suspicious = verdict is Verdict.SUSPICIOUS
    parts = {
        "series_instance_uid": SERIES_UID,
        "verdict": verdict,
        "reason": "one region is decisive" if suspicious else "no region reached the threshold",
        "score": 8.0 if suspicious else 1.25,
        "regions": (make_region(decisive=False, score=4.5), make_region()) if suspicious else (),
        "findings": make_findings() if suspicious else (),
        "notes": (Note("gap", "2 slices are missing after slice 20", (f"{SOP_ROOT}.10",)),),
        "input_sha256": "ab" * 32,
        "source": "/archive/MUSTER_ERIKA/study1",
        "slice_count": 30,
        "pictures": (make_picture(region=1),) if suspicious else (),
        "evidence": (
            Evidence("header"),
            Evidence("spectrum", card=CARD, mark_threshold=4.0, words="finer and whiter noise"),
        ),
        "description": PATIENT | MACHINE,
    }
    return SeriesResult(**(parts | changes))


def make_result(*series: SeriesResult, **changes: object) -> ScanResult:
    """A study of the given series, a scout beside them."""
    parts = {
        "source": "/archive/MUSTER_ERIKA/study1",
        "series": series,
        "not_examined": (NotExamined("2.25.77 (Scout MUSTER)", "a scout: localizer in ImageType", 2, "2.25.77"),),
        "failures": (),
        "provenance": {
            "verict": "0.1.0",
            "created": "2026-01-02T03:04:05+00:00",
            "options": {"detectors": ["header", "spectrum"], "series": None, "workers": 2},
            "models": [{"id": "spectrum-1", "sha256": "c" * 64}],
            "source": "/archive/MUSTER_ERIKA/study1",
        },
    }
    return ScanResult(**(parts | changes))


def make_failure() -> Failure:
    """A file that could not be decoded, in the words of `VerictError`."""
    path = "/archive/MUSTER_ERIKA/study1/07.dcm"
    return Failure(
        f"{path}: pixel data is truncated; tag PixelData (7FE0,0010); found 100 bytes; expected 32768 bytes",
        {
            "error": "PixelError",
            "problem": "pixel data is truncated",
            "file": path,
            "tag": "PixelData (7FE0,0010)",
            "found": "100 bytes",
            "expected": "32768 bytes",
            "next_step": None,
        },
    )
