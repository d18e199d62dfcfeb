"""The ruler: how good a detector is, on places and marks, with intervals and with what brightness alone would do.

What is measured on: `case` and `result` are what the parts hand on to each other. `subjects` and `structures` choose
places before any detector runs, `matching` finds untouched structures that look like injected ones.
Who judges what: `fair` picks the model that may judge a scan, `learners` fits one anew for each fold, `thresholds`
fits what counts as a mark, `probes` shows scans again in another guise.
Figures: `places`, `marks` read maps; `figures`, `froc`, `alarms`, `abstention`, `predictive`, `weighing`, `strata`
(with `forgeries`) and, of two scores, `paired` count; `measure` calls them all, `conclusions` says how far they can be
believed, and `run` does everything together for `verict evaluate`.
Beside it: `ledger` and `published_fakes` record looks at the real fakes; `weight` makes what `verict.detect.weight`
reads from a model card, which `weighing` only measures; `repeat` compares two results of the same pixels.
"""
