"""Verifies every object of a folder, file or zip, and says in a sentence what holds of each series."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path, PurePosixPath

from verict.ct.sources import Source, ZipMember, list_sources, open_zip, read_bytes
from verict.custody.changes import Outcome
from verict.custody.seal import SealReport
from verict.custody.signature import parse_date_time
from verict.custody.trust import TrustStore
from verict.custody.verify_object import WORST_FIRST, ObjectState, ObjectVerdict, verify_bytes
from verict.custody.whole_files import is_leftover
from verict.errors import InputError, NotDicomError, VerictError, say_count

SIGNERS_WORD = "the signer's word"


@dataclass(frozen=True)
class StudyVerdict:
    """What custody says of each object of a study.

    ``passed_over`` names files that are no DICOM objects, ``failures`` those that could not be read.
    """

    source: str
    objects: tuple[ObjectVerdict, ...]
    passed_over: tuple[str, ...]
    failures: tuple[VerictError, ...]

    @property
    def series(self) -> dict[str, list[ObjectVerdict]]:
        """The objects by SeriesInstanceUID, in the order of the files."""
        found: dict[str, list[ObjectVerdict]] = {}
        for verdict in self.objects:
            found.setdefault(verdict.series_instance_uid, []).append(verdict)
        return found


def verify_study(
    study: Path, trust: TrustStore, *, allow_weak_mac: bool = False, progress: Callable[[int, int], None] | None = None
) -> StudyVerdict:
    """Verify every DICOM object of a folder, a file or a zip.

    Parameters
    ----------
    study
        What to look into.
    trust
        Whom to trust.
    allow_weak_mac
        Let MD5, SHA-1 and RIPEMD-160 pass, and say so.
    progress
        Is told how many files are done and how many there are.

    Raises
    ------
    InputError
        If the study cannot be read as a whole.
    """
    listing = list_sources(study)
    objects: list[ObjectVerdict] = []
    passed_over: list[str] = []
    failures: list[VerictError] = list(listing.failures)
    sources = listing.sources
    verdicts = _verify_all(study, sources, trust, allow_weak_mac)
    for number, (source, done) in enumerate(zip(sources, verdicts, strict=True), start=1):
        half_written = isinstance(done, InputError) and is_leftover(PurePosixPath(source.name).name)
        if half_written or isinstance(done, NotDicomError):
            passed_over.append(source.name)
        elif isinstance(done, InputError):
            failures.append(done)
        else:
            objects.append(done)
        if progress is not None:
            progress(number, len(sources))
    return StudyVerdict(str(study), tuple(objects), tuple(passed_over), tuple(failures))


def _verify_all(
    study: Path, sources: Sequence[Source], trust: TrustStore, allow_weak_mac: bool
) -> Iterator[ObjectVerdict | InputError]:
    """One after another: half of the work is Python's, so threads would only wait for each other."""
    zipped = any(isinstance(source, ZipMember) for source in sources)
    with open_zip(study) if zipped else nullcontext() as archive:
        for source in sources:
            try:
                yield verify_bytes(read_bytes(source, archive), trust, file=source.name, allow_weak_mac=allow_weak_mac)
            except InputError as error:
                yield error


def combine_with_seals(study: StudyVerdict, seals: SealReport) -> StudyVerdict:
    """What the manifests of a study add to the verdict on its objects.

    A signature that is sound and merely does not fit, in an object that a trusted manifest calls re-encoded or
    coerced, is no tampering. An unsigned object that it calls the same is vouched for by the manifest.
    """
    combined = []
    for verdict in study.objects:
        uid = verdict.sop_instance_uid
        outcome = seals.outcome_of(uid)
        if outcome is Outcome.VALID and seals.was_rewritten(uid):
            outcome = Outcome.REENCODED  # there and back: the same transfer syntax, but not the same bytes
        combined.append(verdict if outcome is None else _combine(verdict, outcome))
    return replace(study, objects=tuple(combined))


def _combine(verdict: ObjectVerdict, outcome: Outcome) -> ObjectVerdict:
    vouched = {Outcome.REENCODED: ObjectState.REENCODED, Outcome.COERCED: ObjectState.COERCED}.get(outcome)
    if not outcome.is_intact:
        said = f"by the manifest: {outcome}"
        return replace(verdict, state=ObjectState.INVALID, reasons=(said, *verdict.reasons), only_differs=False)
    if verdict.state is ObjectState.INVALID and verdict.only_differs and vouched is not None:
        return replace(verdict, state=vouched, reasons=(f"by the manifest: {vouched}", *verdict.reasons))
    if verdict.state is ObjectState.UNSIGNED:
        reasons = ("no signature inside; vouched for by the manifest",)
        return replace(verdict, state=vouched or ObjectState.VALID, reasons=reasons)
    return verdict


def describe_series(verdicts: Sequence[ObjectVerdict]) -> str:
    """One sentence on the objects of one series, without its UID."""
    counts = {state: sum(v.state is state for v in verdicts) for state in WORST_FIRST}
    whole = say_count(len(verdicts), "file")
    present = [state for state in WORST_FIRST if counts[state]]
    if present == [ObjectState.UNSIGNED]:
        return f"{whole}, unsigned: nothing can be said of who made them or whether they changed"
    parts = ", ".join(f"{counts[state]} {state}" for state in present)
    if present != [ObjectState.VALID] or not all(v.signatures for v in verdicts):
        words = f"{whole}: {parts}"
        if counts[ObjectState.UNSIGNED]:
            words += "; a signature may have been stripped from some"
        return words
    signers = dict.fromkeys(s.signer for v in verdicts for s in v.signatures)
    times = sorted((s.signed_at for v in verdicts for s in v.signatures), key=parse_date_time)
    first, last = _say_time(times[0]), _say_time(times[-1])
    span = first if first == last else f"{first} to {last}"
    return f"{whole}, unchanged since signed by {', '.join(signers)} on {span} ({SIGNERS_WORD})"


def _say_time(text: str) -> str:
    """A signing time in UTC; without "UTC" where the signer named no offset."""
    when = parse_date_time(text).astimezone(UTC)
    return f"{when:%Y-%m-%d %H:%M}{' UTC' if text[-5] in '+-' else ''}"
