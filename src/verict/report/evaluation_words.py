"""The words of an evaluation: what its figures are called, and what a reader must know of them."""

from __future__ import annotations

from verict.evaluation.case import Seen

PLAIN_TITLE = "No fault was found that voids these figures"

TITLES = {
    "auc": "Telling painted places from untouched ones (area under the curve, 0.5 is chance)",
    "sensitivity_at_fpr": "Share of painted places found, where a given share of untouched places is marked too",
    "sensitivity_at_fpr_by_kind": "The same by kind of forgery",
    "frozen": "At the threshold fixed beforehand",
    "froc": "Share of painted places found, by false marks allowed per slice",
    "froc_by_kind": "The same by kind of forgery, false marks per slice",
    "froc_per_scan": "Share of painted places found, by false marks allowed per scan, marks joined along z",
    "authentic": "On series nobody is known to have touched",
    "abstention": "How often it gives no score or no verdict",
    "source_leak": "Does the detector know the data set instead of the forgery?",
    "predictive_value": "What a verdict is worth where forgeries are rare",
    "evidence": "What scores weigh as evidence: likelihood ratios and p-values of single slices",
}
"""What a group of figures is called, in the order in which they are shown."""

WORDS = {
    "pooled": "all forgeries",
    "fb_parenchyma": "removed cancers (FB) against untouched lung",
    "fm_dense": "injected cancers (FM) against matched untouched bright structures",
    "fb": "removed cancers (FB)",
    "fm": "injected cancers (FM)",
    "false_positive_rate_parenchyma": "untouched lung marked: the false-positive rate really achieved",
    "false_positive_rate_bright": "untouched bright structures marked: the false-positive rate really achieved",
    "slices": "slices with lung",
    "false_marks_per_slice": "false marks per slice, before joining along z",
    "series": "series; all other rows leave out those without any score",
    "suspicious_series": "series called suspicious",
    "false_marks_per_scan": "false marks per series, joined along z",
    "marked_series": "series with at least one mark",
    "false_marks_per_slice_at_90": "false marks per slice of whole volumes where 90 % of the painted places are found",
    "0.01": "1 % of untouched places marked",
    "0.05": "5 % of untouched places marked",
    "0.02": "0.02 false marks",
    "0.1": "0.1 false marks",
    "0.5": "0.5 false marks",
    "1": "1 false mark",
    "1/1000": "1 in 1,000 forged",
    "1/100000": "1 in 100,000 forged",
    "fm_dense_labelled": "injected cancers (FM) against those matches that lie in labelled slices too",
    "fm_bright": "injected cancers (FM) against all untouched bright structures, matched or not",
    "false_positive_rate_nodule": "untouched real nodules marked",
    "false_positive_rate_matched": "untouched bright structures matched with the injected cancers marked",
    "auc_parenchyma": "the same, plain lung only",
    "auc_bright": "the same, bright structures only",
    "mirrored": "mirrored left to right",
    "shifted": "moved by a few pixels and one HU",
    "template_headers": "all headers replaced by one template",
    "auc_lost": "area under the curve lost",
    "auc_negatives": "untouched places of the labelled scans against those of the untouched series, AUC",
    "labelled": "labelled scans",
    "authentic": "untouched series",
    "undefined_slices": "slices with lung that got no score",
    "indeterminate_series": "series without a verdict",
    "ppv": "chance that a positive is a forgery",
    "npv": "chance that a negative is untouched",
    "log_lr_cost": "cost of the likelihood ratios in bits: 0 is perfect, always saying 1 costs 1",
    "lowest_ratio": "lowest likelihood ratio that so many patients support",
    "highest_ratio": "highest likelihood ratio that so many patients support",
    "p_distance": "greatest distance of the p-values' distribution over patients from a uniform one",
}
"""What a key means, wherever it stands; other keys are shown as they are."""

ROLES = {"p_at_most": "untouched slices with a p-value of at most {}, where {} is right"}
"""Keys whose next key is a number of their own, not one of `WORDS`."""

ABOUT = {
    "of_margins": "counted from each model's own threshold",
    "matches": "structures matched with them",
    "share_from_labelled": "share of these in labelled slices",
    "difference_diameter_mm": "mean difference in diameter (mm)",
    "auc_diameter_mm": "AUC by diameter alone",
    "difference_ring_hu": "mean difference in the ring (HU)",
    "auc_ring_hu": "AUC by the ring alone",
    "difference_centre_hu": "mean difference in the centre (HU)",
    "auc_centre_hu": "AUC by the centre alone",
    "above_score": "score above",
    "found": "found",
    "painted": "painted places",
    "volumes": "volumes",
    "above_hu": "HU above",
    "false_positive_rate": "untouched places really marked",
    "hits": "marked",
    "nothing_scored": "without a score",
    "above": "threshold",
    "scored": "with a score",
    "share_low": "lower end of its interval",
    "share_high": "upper end",
    "patients_called": "patients with such a series",
    "share_of_patients_high": "upper end of the interval of their share",
    "judged_as_volumes_called": "such series among these",
    "sensitivity": "tampered series called suspicious, share",
    "false_alarm_rate": "authentic patients with a series called so, share",
    "false_alarm_rate_high": "upper end of its interval",
    "undecided": "close to the threshold",
    "unscored": "without any score",
    "left_out_unscored": "left out, without any score",
    "effective_patients": "worth so many patients with as many slices each",
    "limit_for_so_many_patients": "uniform ones stay below this in 95 of 100 trials",
    "auc_as_is": "AUC as they are",
    "auc_in_guise": "AUC in the other guise",
}
"""What belongs to a figure, in words; other keys are shown as they are."""

SEEN_WORDS = {
    Seen.UNSEEN: "never seen: neither the patient nor the pixels are among what the model was fitted on",
    Seen.SCANNER_SEEN: (
        "new patient, known scanner: neither the patient nor the pixels are among what the model was fitted on, but "
        "scans by a scanner model that may be the same are"
    ),
    Seen.OUT_OF_FOLD: "out of fold: the shipped model was fitted on it, so a model that was not judged it",
    Seen.IN_SAMPLE: (
        "in sample: the model that judged it was fitted on it, or does not tell what it was fitted on; such figures "
        "flatter"
    ),
    Seen.UNTRAINED: "nothing was fitted: the detector learns from no scan",
}

DEFINITIONS = (
    ("Painted place", "A labelled site where published software removed a cancer (FB) or injected one (FM)."),
    ("Untouched place", "A place in the lungs of the same slices, at least 48 mm in-plane from every label near it: "
     "plain lung (parenchyma) or a bright structure (vessel, scar, real nodule), chosen before the detector ran."),
    ("Score of a place", "The highest value of the detector's map within 10 mm; the lowest possible where the map is "
     "undefined. Painted and untouched places are treated alike. Where series are judged by different models, each "
     "fitted without them, scores are ranked as they are; the area by how far they lie above each model's own "
     "threshold stands beside."),
    ("AUC", "The chance that a painted place scores above an untouched one. 0.5 is chance, 1 is perfect."),
    ("Matched", "Injected cancers are compared only with untouched structures of their own size, brightness and "
     "surroundings; against all untouched places brightness alone would do."),
    ("Content only", "What the blurred brightness of the place alone reaches, without any trace of tampering. A figure "
     "is worth what it is above this one."),
    ("1 % or 5 % of untouched places marked", "Share of painted places above the threshold that so many untouched "
     "places reach. The threshold is read off these same places; the interval is of the count at this threshold and "
     "does not hold that the threshold rests on so many untouched places."),
    ("Threshold fixed beforehand", "It was fitted on other patients and scanners; the share of untouched places it "
     "really marks here stands beside it."),
    ("False mark", "A mark of which most lies 48 mm or more from every label; one that overlaps the painted square "
     "(half side 21 mm) is a hit, all others count as neither. On untouched series every mark is false, and slices "
     "without a score are left out."),
    ("95 % interval", "Bootstrap over patients for areas and rates, Clopper-Pearson for counted shares; where nothing "
     "was counted, its upper end is the bound that matters, and where all painted places score above all untouched "
     "ones it is that of so many patients. One patient alone gives none, and fewer than about ten, or a few with most "
     "of the slices, one that is too narrow."),
    ("Source leak", "Untouched places of both collections should look alike to an honest detector: about 0.5. Further "
     "away, it tells the data sets apart, and the figures above may measure just that."),
    ("Predictive value", "How often a series called suspicious would be a forgery, and one not called so untouched, if "
     "one series in 1,000 or in 100,000 were forged."),
    ("Likelihood ratio", "How many times more probable a slice's highest score is if a place in it was painted as the "
     "labelled ones were than if nobody touched it. Few patients support no far-reaching ratio, however clear the "
     "score; lowest and highest say how far these go."),
    ("p-value", "The share of untouched slices, of other patients and scanner models, that score at least as high. "
     "Sound ones are uniform: 5 % of untouched slices get 0.05 or less."),
)  # fmt: skip
"""The terms a reader of the page needs, see docs/evaluation.md."""
