"""Makes a campaign: sources surveyed, rows planned, scans forged, all of it again to the same bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Lock
from typing import Any, TypeVar

from verict.errors import DatasetError, InputError, MissingExtraError, UsageError, did_you_mean
from verict.tamper import families, touch_ups
from verict.tamper.campaign.document import (
    describe_campaign,
    describe_made,
    describe_plan,
    describe_wish,
    to_labels,
)
from verict.tamper.campaign.forge import Forger
from verict.tamper.campaign.plan import Plan, PlannedScan, Wish, make_plan
from verict.tamper.campaign.store import Store
from verict.tamper.campaign.survey import Source, Survey, find_sources, read_source, survey_source
from verict.tamper.forgery import Donor

EXTRAS = {"inpaint": "skimage"}  # what a method imports when it paints
Progress = Callable[[str, int, int], None]
Result = TypeVar("Result")


@dataclass(frozen=True)
class CampaignConfig:
    """What is asked for.

    Parameters
    ----------
    scans
        Folders of series to forge.
    out
        Folder of the campaign: new, empty, or of the same campaign begun before.
    n
        Rows in all, at least 4.
    seed
        0 or more.
    methods, touch_ups
        Names of the registries; all of them unless given.
    workers
        Sources worked on at once: so many volumes are in memory.
    """

    scans: tuple[Path, ...]
    out: Path
    n: int
    seed: int
    methods: tuple[str, ...] = ()
    touch_ups: tuple[str, ...] = ()
    workers: int = 1


@dataclass(frozen=True)
class Outcome:
    """A finished campaign: its description, how many scans and rows of it this run made, and how long that took."""

    document: dict[str, Any]
    made_scans: int
    made_rows: int
    seconds: float


def make_campaign(config: CampaignConfig, progress: Progress = lambda *_: None) -> Outcome:
    """Make a campaign, or what is left of one.

    Each source is read once to be surveyed and once to be forged, and never written to. Sources that cannot be used
    are listed with the reason. The same sources, seed and versions give the same bytes, with any number of workers
    and however often the run was killed in between.

    Parameters
    ----------
    config
        What is asked for.
    progress
        Called with what is done, how many are done and how many there are; from any thread, one at a time.

    Raises
    ------
    UsageError
        If what is asked for makes no sense.
    DatasetError, InputError
        If no source can be used, or one changes meanwhile.
    ModelError, MissingExtraError
        If a method's weights or library are not there.
    OutputError
        If the folder holds anything else, lies in a source, or cannot be written.
    """
    began = time.monotonic()
    wish = make_wish(config)
    store = Store(config.out)
    store.check(describe_wish(wish))
    sources, unusable = find_sources(config.scans)
    crew = _Crew(config.workers, progress)
    try:
        store.start()
        surveys = _survey_all(sources, unusable, config.seed, store, crew)
        plan = make_plan(surveys, wish)
        described = describe_plan(wish, plan, surveys, unusable)
        store.open(described)
    finally:
        store.tidy()
    done = _Forging(store, wish, plan, surveys, described["plan_sha256"]).run(crew)
    scans = [done[scan.uuid] for scan in plan.scans]
    document = describe_campaign(described, [scan for scan, _ in scans])
    store.finish(document, to_labels(document["scans"]))
    new = [scan for scan, is_new in scans if is_new]
    return Outcome(document, len(new), sum(len(scan["rows"]) for scan in new), time.monotonic() - began)


def make_wish(config: CampaignConfig) -> Wish:
    """Check what is asked for.

    Raises
    ------
    UsageError
        If a name is unknown or there are too few rows; `find_sources` and `Store` check folders.
    MissingExtraError
        If a method needs a package that is not installed: told before the long work.
    """
    if config.n < 4:
        raise UsageError("too few rows", found=config.n, expected="4 or more: one of each type")
    for names, known, what in (
        (config.methods, families.names(), "method"),
        (config.touch_ups, touch_ups.names(), "touch-up"),
    ):
        for name in names:
            if name not in known:
                raise UsageError(f"no such {what}", found=name, next_step=did_you_mean(name, known))
        if len(set(names)) < len(names):
            raise UsageError(f"a {what} is named twice", found=", ".join(names))
    for name, package in EXTRAS.items():
        if name in (config.methods or families.names()) and find_spec(package) is None:
            raise MissingExtraError(f"the method {name} needs {package}",
                                    next_step="install it with: pip install 'verict[tamper]', or leave the method out")
    methods = [name for name in families.names() if name in (config.methods or families.names())]
    chosen = [name for name in touch_ups.names() if name in (config.touch_ups or touch_ups.names())]
    return Wish(config.n, config.seed, {name: families.create(name).kinds for name in methods}, tuple(chosen))


class _Crew:
    """Works on several things at once, tells how far it is, and stops all where one fails."""

    def __init__(self, workers: int, progress: Progress) -> None:
        self._workers, self._progress = max(1, workers), progress
        self.disk = Lock()  # pydicom's warnings are caught for the whole process while headers are read or copied
        self._lock, self._stop = Lock(), Event()
        self._done = 0

    def work(self, stage: str, total: int, jobs: Iterable[Callable[[], Result]]) -> list[Result]:
        """What each job gives, in order; `tell` counts towards the total."""
        self._done = 0
        self._progress(stage, 0, total)
        self._stage, self._total = stage, total
        with ThreadPoolExecutor(self._workers, "verict-campaign") as pool:
            futures: list[Future[Result]] = [pool.submit(job) for job in jobs]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
                failed = [f for f in futures if f.done() and not f.cancelled() and f.exception()]
                if failed:
                    failed[0].result()
                return [future.result() for future in futures]
            finally:
                self._stop.set()  # after an error, or Ctrl-C; a scan in the making is finished
                pool.shutdown(cancel_futures=True)
                self._stop.clear()

    def tell(self) -> None:
        """One more is done."""
        with self._lock:
            self._done += 1
            self._progress(self._stage, self._done, self._total)

    @property
    def is_stopping(self) -> bool:
        """Whether nothing new should be begun."""
        return self._stop.is_set()


def _survey_all(
    sources: Sequence[Source], unusable: list[tuple[str, str]], seed: int, store: Store, crew: _Crew
) -> list[Survey]:
    """The surveys of all that can be used, in order; the others are added to ``unusable``."""

    def survey(index: int) -> Survey | InputError | DatasetError:
        numbers = iter(range(100 * index, 100 * index + 100))

        def keep(donor: Donor) -> int:
            number = next(numbers)
            store.keep_donor(number, donor)
            return number

        try:
            return survey_source(sources[index], seed, keep, crew.disk)
        except (InputError, DatasetError) as error:
            return error
        finally:
            crew.tell()

    seen = crew.work("looking at sources", len(sources), (lambda i=i: survey(i) for i in range(len(sources))))  # type: ignore[misc]
    surveys: list[Survey] = []
    for source, found in zip(sources, seen, strict=True):
        if isinstance(found, InputError | DatasetError):
            unusable.append((source.name, found.problem if found.found is None else f"{found.problem}: {found.found}"))
        elif found.input_sha256 in {s.input_sha256 for s in surveys}:
            unusable.append((source.name, "the same files as another source"))
        else:
            surveys.append(found)
    if not surveys:
        name, reason = unusable[0]
        raise InputError("no source can be used", found=f"{name}: {reason}",
                         next_step="name a folder of contiguous chest CT series")
    return surveys


class _Forging:
    """Makes the scans that are not there yet."""

    def __init__(self, store: Store, wish: Wish, plan: Plan, surveys: Sequence[Survey], plan_sha256: str) -> None:
        self._store, self._wish, self._plan, self._surveys = store, wish, plan, surveys
        self._plan_sha256 = plan_sha256

    def run(self, crew: _Crew) -> dict[str, tuple[dict[str, Any], bool]]:
        """Every scan by uuid, each with whether it was made now."""
        numbers = sorted({scan.source for scan in self._plan.scans},
                         key=lambda i: -sum(scan.source == i for scan in self._plan.scans))
        jobs = (lambda i=i: self._forge_source(i, crew) for i in numbers)
        parts = crew.work("forging scans", len(self._plan.scans), jobs)
        return {uuid: done for part in parts for uuid, done in part.items()}

    def _forge_source(self, index: int, crew: _Crew) -> dict[str, tuple[dict[str, Any], bool]]:
        done: dict[str, tuple[dict[str, Any], bool]] = {}
        missing: list[PlannedScan] = []
        for scan in (s for s in self._plan.scans if s.source == index):
            known = self._store.find_scan(scan.uuid)
            if known is None:
                missing.append(scan)
            else:
                done[scan.uuid] = known, False
                crew.tell()
        if not missing or crew.is_stopping:
            return done
        survey = self._surveys[index]
        volume, lungs = read_source(survey.source, crew.disk)
        if volume.input_sha256 != survey.input_sha256:
            raise InputError("the series changed while the campaign was made", file=survey.source.name,
                             next_step="run the campaign again when nothing writes to its sources")
        forger = Forger(tuple(self._wish.methods), self._wish.touch_ups, self._store.donor)
        for scan in missing:
            if crew.is_stopping:
                return done
            hu, made = forger.forge_scan(volume, lungs, scan)
            description = {**describe_made(scan, made, survey), "plan_sha256": self._plan_sha256}
            kept = [m for m in made if not m.is_left_out]
            with crew.disk:
                done[scan.uuid] = self._store.write_scan(volume, hu, kept, description), True
            crew.tell()
        return done
