"""verict's detectors at the same places: those of the label rows, and those `verict evaluate` chooses.

Under the clean protocol each scan is judged by a model that saw neither its patient nor its pixels
(`verict.evaluation.fair`); under the leaky one by the shipped model, whatever it was fitted on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from verict import __version__
from verict.benchmarks import store
from verict.benchmarks.cost import Meter
from verict.benchmarks.entries import CLASSIFY
from verict.benchmarks.fold import Told
from verict.benchmarks.prepare import Prepared
from verict.benchmarks.protocols import CLEAN, Protocol
from verict.benchmarks.samples import Samples
from verict.datasets.campaigns import read_campaign
from verict.datasets.scans import Label, Progress, Scan, identify_patient, read_labelled_scan
from verict.datasets.uci import SiteType, UciCollection, read_collection
from verict.detect import fusion
from verict.detect.at_place import score_at
from verict.detect.four_classes import CLASSES
from verict.detect.model import WEIGHTS
from verict.errors import InputError
from verict.evaluation.case import Case
from verict.evaluation.classes import SiteJudge
from verict.evaluation.fair import Entrant, enter, score_scan
from verict.evaluation.figures import location_figures
from verict.evaluation.matching import match_places
from verict.evaluation.places import PlaceTable, tabulate_places
from verict.evaluation.result import Measured
from verict.evaluation.subjects import make_subject

COMPARED = ("fb_parenchyma", "fm_dense", "pooled")
"""Of `verict evaluate`: removals against untouched lung, injections against matched untouched structures, all."""


@dataclass(frozen=True)
class Outcome:
    """What a detector said of every scan under one protocol.

    ``told`` at the sites and ``places`` at those of `verict evaluate`, one a scan; ``seen`` counts the scans by what
    the models may have learnt from them, see `verict.evaluation.case.Seen`.
    """

    told: list[Told] = field(default_factory=list)
    places: list[PlaceTable] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)


Judged = dict[tuple[str, str], Outcome]
"""By protocol and detector."""


@dataclass(frozen=True, eq=False)
class _Task:
    """One detector under one protocol."""

    protocol: Protocol
    name: str
    entrant: Entrant
    judge: SiteJudge | None
    identity: str


def judge_detectors(
    prepared: Prepared, data: Path, folder: Path, names: Sequence[str], protocols: Sequence[Protocol], *,
    scans: int | None = None, seed: int = 0, progress: Progress = lambda *_: None,
    failures: list[InputError] | None = None,
) -> Judged:
    """Each detector on each scan; what is done is kept in ``folder`` and not done again.

    Parameters
    ----------
    prepared
        Its placed samples are the sites.
    data
        The collection they were cut from.
    folder
        Gets one file a protocol, detector and scan.
    names
        Of the registry, or `CLASSIFY`.
    protocols
        See above.
    scans
        Judge so many, drawn by the seed; None: all. Those of a smaller number are among those of a larger one.
    seed
        Of the untouched places of `verict evaluate` too.
    progress, failures
        See `verict.datasets.scans`.

    Raises
    ------
    ModelError
        If a model is missing or altered.
    """
    tasks = [task for protocol in protocols for task in _make_tasks(protocol, names, prepared.sha256, seed)]
    collection, campaign = read_collection(data), read_campaign(data)
    samples = prepared.placed
    keys = list(dict.fromkeys(zip(samples.experiment.tolist(), samples.uuid.tolist(), strict=True)))
    keys = [keys[i] for i in np.random.default_rng(seed).permutation(len(keys))[:scans]]
    judged: Judged = {(task.protocol.name, task.name): Outcome() for task in tasks}
    for done, key in enumerate(keys):
        progress("detectors, scans", done, len(keys))
        rows = np.flatnonzero((samples.experiment == key[0]) & (samples.uuid == key[1]))
        files = {task: folder / task.protocol.name / task.name / f"{key[0]}-{key[1]}.json" for task in tasks}
        found = {task: store.read_unit(file, task.identity) for task, file in files.items()}
        todo = [task for task, document in found.items() if document is None]
        for task, content in _judge_scan(_read(collection, campaign, key, failures), samples, rows, todo, seed):
            store.write_unit(files[task], task.identity, content)
            found[task] = content
        for task, document in found.items():
            if document is not None:
                outcome = judged[task.protocol.name, task.name]
                outcome.told.append(store.from_plain(document["told"]))
                outcome.places.extend([_to_table(document["places"])] if document["places"] else [])
                outcome.seen[document["seen"]] += 1
    return judged


def measure_places(tables: Sequence[PlaceTable], *, seed: int = 0) -> dict[str, Any]:
    """The areas of `verict evaluate` over the places of all scans, each beside brightness alone."""
    joined = [replace(table, case=np.full(len(table), i)) for i, table in enumerate(tables)]
    if not joined:
        return {}
    table = PlaceTable(*(np.concatenate([getattr(t, f.name) for t in joined]) for f in fields(PlaceTable)))
    tree = location_figures(table, match_places(table), seed=seed)
    content: Any = tree["content_only"]
    own: Any = tree["auc"]
    return {key: {"detector": _say(own[key]), "content_only": _say(content["auc"][key])} for key in COMPARED}


def _say(measured: Measured) -> dict[str, Any]:
    return measured.figure.as_dict() | {"against": measured.negatives}


def _make_tasks(protocol: Protocol, names: Iterable[str], sha256: str, seed: int) -> Iterator[_Task]:
    for name in names:
        is_clean = protocol is CLEAN
        judge = SiteJudge(WEIGHTS, leaky=not is_clean) if name == CLASSIFY else None
        entrant = enter(fusion.NAME if name == CLASSIFY else name)
        if not is_clean:
            entrant = replace(entrant, folds=())
        parts: dict[str, Any] = {"verict": __version__, "data": sha256, "models": list_cards(entrant), "name": name,
                                 "protocol": protocol.name, "seed": seed}  # fmt: skip
        if judge is not None:
            parts["judge"] = judge.cards
        yield _Task(protocol, name, entrant, judge, store.identify(parts))


def list_cards(entrant: Entrant) -> list[dict[str, Any]]:
    """The cards of all models that may judge: what was fitted, on what, and the hash of its weights."""
    models = [model for model in (entrant.shipped, *entrant.folds) if model is not None]
    members = [one for model in models if isinstance(model, fusion.FusionModel) for one in model.members.values()]
    return [model.card for model in (*models, *members)]


def _read(
    collection: UciCollection, campaign: Any, key: tuple[int, str], failures: list[InputError] | None
) -> Callable[[], Scan | None]:
    """Reads the scan when it is asked for: not where everything is done already."""
    return lambda: next(iter(read_labelled_scan(collection, campaign, collection.scans[key], failures)), None)


def _judge_scan(
    read: Callable[[], Scan | None], samples: Samples, rows: np.ndarray, todo: Sequence[_Task], seed: int
) -> Iterator[tuple[_Task, dict[str, Any]]]:
    scan = read() if todo else None
    if scan is None or not scan.lungs.any_found:
        return
    scan = replace(scan, labels=_label_sites(samples, rows))
    subject = make_subject(scan, seed)
    maps: dict[str, tuple[Case, tuple[float, float]]] = {}
    for task in todo:
        meter = Meter()
        shared = f"{task.protocol.name} {task.entrant.name}"  # classify reads the map that fusion made
        if shared not in maps:
            maps[shared] = score_scan(scan, subject, task.entrant, workers=1), meter.stop()
        case, spent = maps[shared]
        spacing = scan.volume.spacing_mm
        at = zip(samples.z[rows], samples.y[rows], samples.x[rows], strict=True)
        scores = np.array([score_at(case.score_map, int(z), int(y), int(x), spacing) for z, y, x in at])
        shares = np.full((len(rows), len(CLASSES)), np.nan)
        if task.judge is not None:
            before = meter.stop()
            shares = _classify(task.judge, scan, case, samples, rows)
            cpu, wall = (own + b - a for own, a, b in zip(spent, before, meter.stop(), strict=True))
            spent = cpu, wall
        told = Told(rows, np.zeros(len(rows), int), shares, 0, meter.read(spent),
                    None if task.judge is not None else scores)  # fmt: skip
        places = None if task.judge is not None else _to_plain(tabulate_places([case]))
        yield task, {"told": store.to_plain(told), "places": places, "seen": str(case.seen)}


def _label_sites(samples: Samples, rows: np.ndarray) -> dict[int, tuple[Label, ...]]:
    """The rows as labels at their sites, also those whose place was chosen."""
    labels: dict[int, tuple[Label, ...]] = {}
    for row in rows.tolist():
        label = Label(SiteType(samples.kind[row]), int(samples.y[row]), int(samples.x[row]))
        z = int(samples.z[row])
        labels[z] = tuple(dict.fromkeys((*labels.get(z, ()), label)))
    return labels


def _classify(judge: SiteJudge, scan: Scan, case: Case, samples: Samples, rows: np.ndarray) -> np.ndarray:
    said = {(s.slice_number, s.y, s.x, str(s.kind)): s.probabilities
            for s in judge.classify(scan, case.score_map, case.seen)}  # fmt: skip
    return np.array([
        said[int(samples.number[r]), int(samples.y[r]), int(samples.x[r]), str(samples.kind[r])] for r in rows
    ])


def _to_plain(table: PlaceTable) -> dict[str, list[Any]]:
    """Columns as JSON; infinite and missing numbers are null, and no patient is named."""
    columns = {
        f.name: [store.finite(v) if isinstance(v, float) else v for v in getattr(table, f.name).tolist()]
        for f in fields(PlaceTable)
    }
    return columns | {"patient": [identify_patient(patient) for patient in table.patient.tolist()]}


def _to_table(columns: Mapping[str, list[Any]]) -> PlaceTable:
    """The same from JSON: a missing score is the lowest, any other missing number is NaN."""
    arrays = {}
    for f in fields(PlaceTable):
        values = columns[f.name]
        if f.name in ("kind", "patient", "method", "touch_up"):
            arrays[f.name] = np.array(values, dtype=np.str_)
        elif f.name in ("case", "z"):
            arrays[f.name] = np.array(values, dtype=np.int64)
        elif f.name == "is_labelled":
            arrays[f.name] = np.array(values, dtype=bool)
        else:
            lowest = -np.inf if f.name in ("score", "margin") else np.nan
            arrays[f.name] = np.array([lowest if v is None else v for v in values], dtype=np.float64)
    return PlaceTable(**arrays)
