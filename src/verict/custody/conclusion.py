"""What the signatures inside the objects and the manifests outside them say together, series by series.

A signature inside breaks when an archive stores the same content in another encoding; a trusted manifest that finds the
content identical then vouches for the object. It never vouches for anything it finds changed, and a manifest that is
not signed, or not by somebody trusted, vouches for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes

from verict.custody.changes import FileChanges
from verict.custody.content import Progress
from verict.custody.seal import SealReport, SealVerdict, find_manifests, verify_seals
from verict.custody.trust import Standing, TrustStore
from verict.custody.verify_object import WORST_FIRST, ObjectState, ObjectVerdict
from verict.custody.verify_study import StudyVerdict, combine_with_seals, describe_series, verify_study
from verict.custody.wording import say_file
from verict.errors import VerictError, printable, say_count

NO_MANIFEST = "no manifest: a missing, added or exchanged slice cannot be seen"
UNREAD = "bears the series of the manifest and cannot be compared with it: an object too many"
VOUCHED_FOR = (ObjectState.REENCODED, ObjectState.COERCED)
_STATE_OF_STANDING = {Standing.TRUSTED: ObjectState.VALID, Standing.UNTRUSTED: ObjectState.UNTRUSTED,
                      Standing.EXPIRED: ObjectState.EXPIRED, Standing.REVOKED: ObjectState.REVOKED,
                      Standing.ALTERED: ObjectState.INVALID}  # fmt: skip


@dataclass(frozen=True)
class FileCustody:
    """One file, or one object that is missing; ``slice_index`` as in the manifest, None without one."""

    name: str
    sop_instance_uid: str
    slice_index: int | None
    state: ObjectState
    words: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "file": self.name or None,
            "sop_instance_uid": self.sop_instance_uid,
            "slice": self.slice_index,
            "state": self.state.value,
            "words": self.words,
        }


@dataclass(frozen=True, eq=False)
class SeriesCustody:
    """One series: its state, why in a sentence, who signed, and its files.

    ``signed_at`` are the times the signers name, earliest first: only their word. ``found_as`` are the
    SeriesInstanceUIDs that its objects bear now: another one where they were given to another series.
    """

    series_instance_uid: str
    state: ObjectState
    sentence: str
    signers: tuple[str, ...]
    signed_at: tuple[str, ...]
    files: tuple[FileCustody, ...]
    seal: SealVerdict | None = None
    found_as: frozenset[str] = frozenset()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "series_instance_uid": self.series_instance_uid,
            "state": self.state.value,
            "sentence": self.sentence,
            "signers": list(self.signers),
            "signed_at": list(self.signed_at),
            "manifest": None if self.seal is None else self.seal.as_dict(),
            "files": [file.as_dict() for file in self.files],
        }


@dataclass(frozen=True, eq=False)
class StudyCustody:
    """Every series of a study, and the files that could not be read.

    ``trusted`` are the SHA-256 fingerprints of the certificates that were trusted.
    """

    series: tuple[SeriesCustody, ...]
    failures: tuple[VerictError, ...] = ()
    trusted: tuple[str, ...] = ()

    @property
    def state(self) -> ObjectState:
        """The worst of all series; of a study without any, unsigned."""
        return worst(series.state for series in self.series)

    @property
    def is_unsigned(self) -> bool:
        """Whether nobody signed anything of it."""
        return not any(series.signers or series.seal for series in self.series)

    def series_of(self, series_instance_uid: str) -> SeriesCustody | None:
        """What is said of the objects that bear a SeriesInstanceUID now: the gravest where several things are."""
        found = [s for s in self.series if series_instance_uid in s.found_as]
        return min(found, key=lambda s: WORST_FIRST.index(s.state), default=None)


def examine_custody(
    study: Path, trust: TrustStore, manifests: Sequence[Path] | None = None, *, progress: Progress | None = None
) -> StudyCustody:
    """Verify a study by the signatures inside its objects and by its manifests.

    Parameters
    ----------
    study
        A folder, file or zip.
    trust
        Whom to trust.
    manifests
        Its manifests; None: those that lie beside it under their usual names.
    progress
        See `verict.custody.content.Progress`.

    Raises
    ------
    InputError
        If the study as a whole, or a manifest, cannot be read.
    """
    found = find_manifests(study) if manifests is None else manifests
    verdict = verify_study(study, trust, progress=progress)
    custody = conclude(verdict, verify_seals(study, found, trust, progress=progress) if found else None)
    return replace(custody, trusted=tuple(root.fingerprint(hashes.SHA256()).hex() for root in trust.roots))


def conclude(study: StudyVerdict, seals: SealReport | None) -> StudyCustody:
    """Put the verdicts on the objects and those of the manifests together."""
    objects = study.objects if seals is None else combine_with_seals(study, seals).objects
    spoken_of: set[int] = set()
    series: list[SeriesCustody] = []
    for seal in seals.seals if seals is not None else ():
        names = {file.name for file in seal.changes.files} if seal.changes is not None else set()
        mine = [v for v in objects if v.file in names or v.series_instance_uid == seal.series_instance_uid]
        spoken_of |= {id(v) for v in mine}  # by several manifests, where several are of one series
        series.append(_conclude_sealed(seal, mine))
    by_uid: dict[str, list[ObjectVerdict]] = {}
    for verdict in objects:
        if id(verdict) in spoken_of:
            continue
        by_uid.setdefault(verdict.series_instance_uid, []).append(verdict)
    series += [_conclude_unsealed(uid, verdicts) for uid, verdicts in by_uid.items()]
    return StudyCustody(tuple(series), study.failures)


def worst(states: Iterable[ObjectState]) -> ObjectState:
    """The gravest of several states; unsigned where there is none."""
    found = set(states)
    return next((state for state in WORST_FIRST if state in found), ObjectState.UNSIGNED)


def _conclude_unsealed(uid: str, verdicts: Sequence[ObjectVerdict]) -> SeriesCustody:
    files = tuple(
        FileCustody(v.file, v.sop_instance_uid, None, v.state, "; ".join(v.reasons) or v.state.value) for v in verdicts
    )
    state = worst(file.state for file in files)
    said = describe_series(verdicts)
    if state is not ObjectState.UNSIGNED:
        said += f"; {NO_MANIFEST}"
    return SeriesCustody(uid, state, said, *_signatures(verdicts, None), files, found_as=frozenset({uid}))


def _conclude_sealed(seal: SealVerdict, verdicts: Sequence[ObjectVerdict]) -> SeriesCustody:
    """A series with a manifest: each object's state, then the manifest's own."""
    by_name: dict[str, list[ObjectVerdict]] = {}
    for verdict in verdicts:
        by_name.setdefault(verdict.file, []).append(verdict)
    files: list[FileCustody] = []
    for change in seal.changes.files if seal.changes is not None else ():
        files.append(_judge_file(change, by_name.pop(change.name, []) if change.name else []))
    for name, found in by_name.items():
        if seal.changes is None:  # the manifest is not believed
            files += [FileCustody(name, v.sop_instance_uid, None, v.state, "; ".join(v.reasons)) for v in found]
        else:
            files += [FileCustody(name, v.sop_instance_uid, None, ObjectState.INVALID, UNREAD) for v in found]
    said = seal.sentence
    if seal.changes is not None and by_name:
        said += f"; {say_count(len(by_name), 'file')} too many that cannot be compared with the manifest"
    broken = sum(bool(v.signatures) and v.state in VOUCHED_FOR for v in verdicts)
    if broken:
        said += f"; {say_count(broken, 'signature')} inside no longer fit the encoding, the manifest vouches for them"
    elif seal.changes is not None and seal.changes.is_intact and any(v.state is ObjectState.INVALID for v in verdicts):
        said += "; signatures inside do not hold"
    state = worst([*(file.state for file in files), _state_of_seal(seal)])
    found_as = frozenset(v.series_instance_uid for v in verdicts) | {seal.series_instance_uid}
    signed = _signatures(verdicts, seal)
    return SeriesCustody(seal.series_instance_uid, state, said, *signed, tuple(files), seal, found_as)


def _judge_file(change: FileChanges, verdicts: Sequence[ObjectVerdict]) -> FileCustody:
    """One object by its own signature and by what the manifest found."""
    words = say_file(change)
    state = worst(v.state for v in verdicts)
    if not change.outcome.is_intact:
        state = ObjectState.INVALID
    elif state.exit_code or state in VOUCHED_FOR:
        words = "; ".join([words, *(reason for v in verdicts for reason in v.reasons)])
    return FileCustody(change.name, change.sop_instance_uid, change.slice_index, state, words)


def _state_of_seal(seal: SealVerdict) -> ObjectState:
    if seal.exit_code == 20:
        return ObjectState.INVALID
    return ObjectState.UNSIGNED if seal.standing is None else _STATE_OF_STANDING[seal.standing.standing]


def _signatures(
    verdicts: Sequence[ObjectVerdict], seal: SealVerdict | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who signed, and when they say they did."""
    inside = [signature for verdict in verdicts for signature in verdict.signatures if not signature.location]
    signers = [printable(signature.signer) for signature in inside]
    times = sorted({signature.signed_at for signature in inside if signature.signed_at})
    shown = [times[0], times[-1]] if len(times) > 2 else times
    if seal is not None and seal.standing is not None:
        signers.append(printable(seal.standing.signer))
        shown += [] if seal.signed_at is None else [seal.signed_at.strftime("%Y%m%d%H%M%S+0000")]
    return tuple(dict.fromkeys(signers)), tuple(dict.fromkeys(shown))

