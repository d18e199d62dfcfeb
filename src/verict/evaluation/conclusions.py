"""How far the figures can be believed, in sentences with stable codes, the gravest first.

Grave ones void the figures: whoever quotes them quotes a leak.

=========================  ==========================================================================================
``in_sample``              grave: the model was fitted on some of what it judged
``memorised``              grave: on mirrored slices the area under the curve is lost
``reads_headers``          grave: with one header for all scans the area under the curve is lost
``source_leak``            grave: untouched places tell which collection they are of
``no_better_than_brightness``  blurred HU tells painted from untouched places as well; grave where no kind does better
``chance``                 painted places do not score above untouched ones
``too_few``                few places or patients
``uneven``                 few patients carry most authentic slices, so false marks a slice are less sure than told
``not_probed``             the labelled slices were not shown in another guise
``false_alarm_bound``      no authentic series was called suspicious: what that bounds
=========================  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from verict.errors import say_count
from verict.evaluation.case import Case, PlaceKind, Seen
from verict.evaluation.figures import compare_kinds
from verict.evaluation.matching import match_places
from verict.evaluation.paired import difference_of_areas
from verict.evaluation.places import PlaceTable, tabulate_places
from verict.evaluation.probes import Guise
from verict.evaluation.result import Conclusion, Evaluation, Measured, Tree
from verict.statistics import Figure, area_under_curve

LOST = 0.05  # area a probe must cost beyond doubt: a shift by 3 px costs an honest detector about 0.01
LEAK = (0.4, 0.6)  # source areas that an interval must lie outside of: collections differ in scanners, so a little
FEW_PLACES = 20  # of a kind: with fewer, the 95 % interval of a share can be more than 0.46 wide
FEW_PATIENTS = 10  # a bootstrap over fewer patients is too narrow
KIND_WORDS = {PlaceKind.FB: "removed cancers (FB)", PlaceKind.FM: "injected cancers (FM)"}


def conclude(evaluation: Evaluation, cases: Sequence[Case], *, seed: int = 0) -> tuple[Conclusion, ...]:
    """What has to be said beside the figures.

    Parameters
    ----------
    evaluation
        Figures and probes; its conclusions are not looked at.
    cases
        What they were measured on.
    seed
        Fixes the bootstrap.
    """
    found = [
        *_in_sample(cases),
        *_lost_in_guise(evaluation.probes),
        *_source_leak(evaluation.figures),
        *_brightness(tabulate_places(cases), seed),
        *_chance(evaluation.figures),
        *_too_few(cases),
        *_uneven(evaluation.figures),
        *_not_probed(evaluation.probes),
        *_false_alarm_bound(evaluation.figures),
    ]
    return tuple(sorted(found, key=lambda c: not c.grave))


def find_figure(tree: Tree, *path: str) -> Measured | None:
    """The figure under a path of keys; None where there is none or it could not be given."""
    node: Measured | Tree | None = tree
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return node if isinstance(node, Measured) and node.figure.value is not None else None


def _in_sample(cases: Sequence[Case]) -> Iterator[Conclusion]:
    count = sum(case.seen is Seen.IN_SAMPLE for case in cases)
    if count:
        text = f"The model was fitted on {count} of the {say_count(len(cases), 'series', 'series')} it judged here, or "
        text += "does not tell what it was fitted on, and no model that left them out is shipped: all figures flatter."
        yield Conclusion("in_sample", text, grave=True)


def _lost_in_guise(probes: Tree) -> Iterator[Conclusion]:
    words = {
        Guise.MIRRORED: ("memorised", "On the same slices mirrored left to right"),
        Guise.TEMPLATE_HEADERS: ("reads_headers", "With the same header for all scans"),
    }
    for guise, (code, when) in words.items():
        lost = find_figure(probes, str(guise), "auc_lost")
        if lost is not None and (lost.figure.low or 0) > LOST:
            before, after = lost.about["auc_as_is"], lost.about["auc_in_guise"]
            text = f"{when} the area under the curve falls from {before:.3f} to {after:.3f}: "
            text += "it rests on knowing the slices, not on what was painted." if guise is Guise.MIRRORED else (
                "it rests on the headers, not on what was painted."
            )
            yield Conclusion(code, text, grave=True)


def _source_leak(figures: Tree) -> Iterator[Conclusion]:
    leak = find_figure(figures, "source_leak", "auc_negatives")
    if leak is None or leak.figure.low is None or leak.figure.high is None:
        return
    if leak.figure.low > LEAK[1] or leak.figure.high < LEAK[0]:
        where = "above" if leak.figure.low > LEAK[1] else "below"
        text = f"Untouched places of the labelled scans score {where} those "
        text += f"of the authentic series (area under the curve {_say(leak.figure)}, about 0.5 is clean): the detector "
        text += "tells the collections apart, so what it marks on one says little of the other."
        yield Conclusion("source_leak", text, grave=True)


def _brightness(table: PlaceTable, seed: int) -> Iterator[Conclusion]:
    against = {kind: compare_with_brightness(table, kind, seed=seed) for kind in KIND_WORDS}
    measured = {kind: figure for kind, figure in against.items() if figure.low is not None}
    beaten = {kind: (figure.low or 0) > 0 for kind, figure in measured.items()}
    for kind, figure in measured.items():
        if not beaten[kind]:
            text = f"On {KIND_WORDS[kind]} the detector is not shown to do better than blurred HU alone: "
            text += f"the areas under the curve differ by {_say(figure)} over {say_count(figure.n, 'place')}."
            yield Conclusion("no_better_than_brightness", text, grave=not any(beaten.values()))


def compare_with_brightness(table: PlaceTable, kind: PlaceKind, *, seed: int = 0) -> Figure:
    """Area under the curve of the detector less that of blurred centre HU, bright or dark, whichever tells more.

    FB against parenchyma; FM against structures that look like it, or, where too few match, against all bright
    places (`verict.evaluation.figures.compare_kinds`).
    """
    matching = match_places(table)
    comparisons = compare_kinds(table, matching)
    chosen = comparisons["fb_parenchyma" if kind is PlaceKind.FB else "fm_dense"]
    if kind is PlaceKind.FM and chosen.reason:
        chosen = comparisons["fm_bright"]
    painted, clean = chosen.positives, chosen.negatives
    if chosen.reason:
        return Figure(None, None, None, len(painted))
    is_match = None if chosen.matching is None else matching.is_match[matching.matched]
    sign = 1.0 if area_under_curve(painted.centre_hu, clean.centre_hu) >= 0.5 else -1.0
    own, content = (painted.score, clean.score), (sign * painted.centre_hu, sign * clean.centre_hu)
    people = painted.patient.tolist(), clean.patient.tolist()
    return difference_of_areas(own, content, people, is_match=is_match, seed=seed)


def _chance(figures: Tree) -> Iterator[Conclusion]:
    """Not where all painted places score highest: how few their patients are is then said by `_too_few`."""
    area = find_figure(figures, "auc", "pooled")
    if area is not None and area.figure.value != 1 and area.figure.low is not None and area.figure.low <= 0.5:
        text = f"Painted places are not shown to score above untouched ones: area under the curve {_say(area.figure)}."
        yield Conclusion("chance", text)


def _too_few(cases: Sequence[Case]) -> Iterator[Conclusion]:
    for kind, words in KIND_WORDS.items():
        owners = [c.subject.patient for c in cases for p in c.subject.places if p.kind is kind]
        if not owners:
            yield Conclusion("too_few", f"No place of {words} is labelled: they have no figures.")
        elif len(owners) < FEW_PLACES or len(set(owners)) < FEW_PATIENTS:
            text = f"Only {say_count(len(owners), 'place')} of {say_count(len(set(owners)), 'patient')} "
            yield Conclusion("too_few", f"{text}for {words}: their figures say little.")


def _uneven(figures: Tree) -> Iterator[Conclusion]:
    marks = find_figure(figures, "authentic", "false_marks_per_slice")
    if marks is None:
        return
    patients, worth = int(marks.about["patients"] or 0), float(marks.about["effective_patients"] or 0)
    if worth < FEW_PATIENTS:
        text = f"The slices of {say_count(patients, 'authentic patient')} are worth those of {worth:.1f} with equally "
        yield Conclusion("uneven", f"{text}many: false marks a slice are less sure than their interval tells.")


def _not_probed(probes: Tree) -> Iterator[Conclusion]:
    if find_figure(probes, str(Guise.MIRRORED), "auc_lost") is None:
        text = "The labelled slices were not shown again in another guise: a detector that knows them by heart, or "
        yield Conclusion("not_probed", text + "reads the answer in the headers, would go unnoticed.")


def _false_alarm_bound(figures: Tree) -> Iterator[Conclusion]:
    """Over patients: several series of one are not independent."""
    suspicious = find_figure(figures, "authentic", "suspicious_series")
    if suspicious is not None and suspicious.figure.value == 0:
        series = say_count(suspicious.figure.n, "authentic series", "authentic series")
        text = f"None of {series} of {say_count(int(suspicious.about['patients'] or 0), 'patient')} was called "
        text += "suspicious: that bounds the share of patients with a false alarm only below "
        yield Conclusion("false_alarm_bound", f"{text}{suspicious.about['share_of_patients_high']:.2f}.")


def _say(figure: Figure) -> str:
    low, high = (np.nan if end is None else end for end in (figure.low, figure.high))
    return f"{figure.value:.3f} ({low:.3f} to {high:.3f})"
