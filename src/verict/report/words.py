"""What a verdict means, in the words every rendering shares, and text made safe to show."""

from __future__ import annotations

import math
from collections.abc import Sequence

from verict.detect.evidence import Confidence, Finding
from verict.detect.nodule.reading import Nodule, NoduleReading, Shown
from verict.detect.result import Place, Region, ScanResult, SeriesResult, Verdict
from verict.errors import printable as printable  # the reports' words escape and count as the messages do
from verict.errors import say_count as say_count

VERDICT_TITLE = {
    Verdict.NO_EVIDENCE: "No evidence of tampering found; this is no proof of authenticity",
    Verdict.SUSPICIOUS: "Suspicious: signs of tampering",
    Verdict.INDETERMINATE: "Indeterminate: no verdict could be reached",
}

VERDICT_MEANING = {
    Verdict.NO_EVIDENCE: (
        "The checks listed in this result found nothing. This does not prove the series authentic: "
        "a change of a kind these checks do not cover, or one too small for them, leaves no evidence here."
    ),
    Verdict.SUSPICIOUS: (
        "At least one place shows the traces that painted-in or painted-over tissue leaves. This is a reason to "
        "compare the series with an independent copy, such as the scanner's own, before anybody relies on it; "
        "it is not proof of tampering, and such a mark can be a false alarm."
    ),
    Verdict.INDETERMINATE: (
        "The series could not be judged either way; the reason is given beside the verdict. "
        "Treat it like a series that was not examined."
    ),
}

SHOWN_TITLE = {
    Shown.CANCER: "Shows what looks like a lung cancer, real or painted",
    Shown.NONE_SEEN: "No lung cancer seen, which does not rule one out",
    Shown.INDETERMINATE: "Whether it shows a lung cancer could not be decided",
}

SHOWN_MEANING = {
    Shown.CANCER: (
        "As shown, real or painted, at least one place looks like a nodule or mass suspicious of lung cancer. This "
        "is not a diagnosis: a benign nodule can look the same. Whether to believe it is said beside each place."
    ),
    Shown.NONE_SEEN: (
        "As shown, real or painted, no place looks enough like a nodule or mass suspicious of lung cancer. This does "
        "not rule a cancer out: one can be missed, lie outside the lungs, or have been painted over."
    ),
    Shown.INDETERMINATE: (
        "Whether it shows a lung cancer, real or painted, could not be decided; the reason is given beside it."
    ),
}

NOT_LOOKED_AT = "not looked at: no detector of nodules was run"

CLASS_MEANING = {  # by the names of verict.datasets.uci.SiteType
    "TB": "no nodule, untouched",
    "FB": "no nodule, painted: a cancer may have been removed",
    "TM": "a nodule, untouched",
    "FM": "a nodule, painted",
}

CLASSES_MEANING = (
    "The probabilities of the four classes hold where all four are equally likely beforehand. How common forgeries "
    "and cancers are among such scans no image tells. This is no diagnosis."
)

STUDY_TITLE = {
    10: VERDICT_TITLE[Verdict.SUSPICIOUS],
    1: "Incomplete: part of the input could not be read",
    11: VERDICT_TITLE[Verdict.INDETERMINATE],
    0: VERDICT_TITLE[Verdict.NO_EVIDENCE],
}

NOTHING_EXAMINED = "Nothing examined: no series a verdict could be given on"

CONFIDENCE_TITLE = {
    Confidence.CONTRADICTION: "Contradictions",
    Confidence.UNUSUAL: "Unusual",
    Confidence.NOTABLE: "Notable",
}

CONFIDENCE_MEANING = {
    Confidence.CONTRADICTION: "A file cannot have left a conforming scanner or archive like this.",
    Confidence.UNUSUAL: "Rare on honest files, but explainable.",
    Confidence.NOTABLE: "Common on honest files; listed for the examiner, no ground for suspicion.",
}

LIMITS = (
    "verict looks for traces of tampering in CT series of the chest, and marks what they show that looks like a lung "
    "cancer. It is an aid for people who examine whether image data can be trusted: not for clinical diagnosis, not "
    "for treatment decisions, and not a medical device.",
    "It marks what looks, real or painted, like a nodule or mass suspicious of lung cancer. It does not tell benign "
    "from malignant nodules by their tissue, can miss nodules, and says nothing of tissue outside the lungs. That no "
    "cancer is seen does not mean that there is none.",
    "No evidence is not proof of authenticity. A forger who knows these checks, a forgery made with a method or on "
    "a scanner not met when the model was fitted, or a strong filter afterwards can leave no trace for them.",
    "A mark is a place to look at, not a finding by itself. Metal, motion, unusual reconstruction and lossy "
    "compression can raise marks on untouched scans; the known error rates say how often.",
    "Whether a file is bit for bit what the scanner sent is answered only by a digital signature or by a trusted "
    "copy: see what is said of custody. A signature says nothing of what happened before it was made.",
)


RATIO_MEANING = (
    "A likelihood ratio says how many times as probable the score of this place is if the first of two named "
    "explanations is true as it is if the second is. It is not the probability that the scan was forged: that also "
    "depends on how common forgeries are among such scans, which no image tells. Where one scan in 100,000 is forged, "
    "even a ratio of 1,000 leaves a forgery less probable than a false alarm. The ratio stops at a bound set "
    "by how few patients it was measured on. Ratios of several places of one scan must not be multiplied. Other "
    "kinds of forgery than the one named were not measured."
)

P_VALUE_MEANING = (
    "The p-value is the share of untouched patients, this one counted among them, that score at least as high. "
    "It is not the probability that the scan is authentic."
)


def study_title(result: ScanResult) -> str:
    """The headline over a whole study, from its exit code."""
    if result.exit_code == 11 and not result.series:
        return NOTHING_EXAMINED
    return STUDY_TITLE[result.exit_code]


def say_number(value: object, digits: int = 2) -> str:
    """A number for reading, "not known" where it is missing or not finite.

    >>> say_number(3.14159), say_number(None), say_number(float("nan"))
    ('3.14', 'not known', 'not known')
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "not known" if value is None else printable(value)
    if not math.isfinite(value):
        return "not known"
    return str(value) if isinstance(value, int) else f"{value:.{digits}f}"


def say_slices(slices: Sequence[int]) -> str:
    """Slice indices as ranges.

    >>> say_slices((3, 4, 5, 9))
    '3-5, 9'
    """
    ranges: list[list[int]] = []
    for z in sorted(set(slices)):
        if ranges and z == ranges[-1][1] + 1:
            ranges[-1][1] = z
        else:
            ranges.append([z, z])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges) or "none"


def say_voxel(place: Region | Nodule | Place) -> str:
    """Centre of a place in voxels: z, y, x, counted from 0."""
    z, y, x = place.centre_voxel_zyx
    return f"z {z:.0f}, y {y:.0f}, x {x:.0f}"


def say_place(region: Region) -> str:
    """Centre of a region in patient millimetres, LPS."""
    return ", ".join(say_number(float(v), 1) for v in region.centre_mm_lps)


def say_extent(region: Region) -> str:
    """Size of a region in mm, the way a ruler on the slice would give it: x by y by z."""
    return " x ".join(say_number(float(v), 0) for v in reversed(region.extent_mm))


def say_findings(findings: Sequence[Finding]) -> str:
    """How many findings of each confidence, the gravest first."""
    counts = {level: sum(f.confidence is level for f in findings) for level in CONFIDENCE_TITLE}
    said = [f"{n} {level.value}" for level, n in counts.items() if n]
    return ", ".join(said) or "none"


def say_ratio(region: Region) -> str:
    """The likelihood ratio of a region in figures and words, or why there is none."""
    ratio = region.likelihood_ratio
    if ratio is None:
        return f"no likelihood ratio: {region.ratio_reason}"
    bound = ""
    if ratio.is_at_bound:
        few = min(ratio.h1_patients, ratio.h2_patients)
        bound = f", the {'most' if ratio.value > 1 else 'least'} that as few as {few} patients can support"
    return f"likelihood ratio {say_number(ratio.value, 2 if ratio.value < 10 else 0)}: {ratio.words}{bound}"


def say_propositions(region: Region) -> str:
    """The two explanations a region's likelihood ratio compares, "" without one."""
    ratio = region.likelihood_ratio
    return "" if ratio is None else f"first, {ratio.h1}; second, {ratio.h2}"


def say_p_value(series: SeriesResult) -> str:
    """The p-value of a series with the smallest it could have been, or why there is none."""
    p_value = series.p_value
    if p_value is None:
        return f"none: {series.p_value_reason}"
    parts = f", {p_value.parts} places along z looked at" if p_value.parts > 1 else ""
    smallest = f"with {say_count(p_value.patients, 'untouched patient')} to compare with, it cannot be below"
    return f"{say_number(p_value.value, 3)} ({smallest} {say_number(p_value.smallest, 3)}{parts})"


def say_shown(reading: NoduleReading | None) -> str:
    """What a series shows in one word, with the reason."""
    if reading is None:
        return NOT_LOOKED_AT
    return f"{reading.shown.value.replace('_', ' ')}: {say_shown_reason(reading)}"


def say_shown_reason(reading: NoduleReading) -> str:
    """Why it is said, to stand after the word or title."""
    return reading.reason.removeprefix("shows ")


def worst_shown(series: Sequence[SeriesResult]) -> Shown | None:
    """What a study shows: the gravest of its series, None where nobody looked at any."""
    found = {s.shows.shown for s in series if s.shows is not None}
    return next((s for s in (Shown.CANCER, Shown.INDETERMINATE, Shown.NONE_SEEN) if s in found), None)


def say_likely(place: Place) -> str:
    """The most likely class of a place with its meaning and probability, "" without probabilities."""
    name = place.most_likely
    if name is None or place.probabilities is None:
        return ""
    return f"most likely {name} ({CLASS_MEANING.get(name, 'unknown')}), {say_percent(place.probabilities[name])}"


def say_percent(share: float | None) -> str:
    """A probability for reading, never rounded to certainty.

    >>> say_percent(0.873), say_percent(0.9996), say_percent(0.0004), say_percent(None)
    ('87 %', '> 99 %', '< 1 %', 'not known')
    """
    if share is None or not math.isfinite(share):
        return "not known"
    if share > 0.99:
        return "> 99 %"
    return "< 1 %" if share < 0.01 else f"{100 * share:.0f} %"


def say_nodule_size(nodule: Nodule) -> str:
    """Size of a nodule: its longest distance on a slice and, where it is known, the ball of its volume."""
    if nodule.long_axis_mm is None:
        return "size not known"
    ball = nodule.diameter_mm
    volume = "" if ball is None else f", volume of a ball of {say_number(float(ball), 0)} mm"
    return f"{say_number(float(nodule.long_axis_mm), 0)} mm across{volume}"


def say_regions(series: SeriesResult) -> str:
    """How many regions were marked, and how many of them decide the verdict."""
    if not series.regions:
        return "no region marked"
    decisive = sum(r.decisive for r in series.regions)
    return f"{say_count(len(series.regions), 'region')} marked, {decisive} decisive"


def order_regions(regions: Sequence[Region]) -> list[tuple[int, Region]]:
    """Regions by `Region.rank`, each with its index in what was given; pictures are kept under that index."""
    return sorted(enumerate(regions), key=lambda item: item[1].rank)
