"""The experiments of published work and ours on one labelled collection, as named protocols.

`protocols` says what may be known of test rows; `prepare` cuts what the models see, one scan in memory at a time, into
`samples`. `entries` names the models; `plain` fits those of scikit-learn, `networks`, `imagenet` and `fit` those of
torch, and `fold` one model on one fold. `detectors` judges the pixel detectors at the same places. `run` does it all,
fold by fold, so that a run can be stopped and goes on; `figures` measures what was said, `table`, `page` and `store`
write it down. `full_set` says how the published collection is made up.
"""
