"""Sealing a study and breaking the seal open again: manifests with their signatures, written and verified as files.

They lie beside the study, never in it: ``CHEST`` has ``CHEST.manifest.json`` and ``CHEST.manifest.json.p7s``, and a
second series ``CHEST.manifest-2.json``.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from verict.custody.changes import Outcome, SeriesChanges, compare_series
from verict.custody.cms import MAX_SIGNATURE_BYTES, CmsCheck, check_detached, sign_detached
from verict.custody.content import ObjectContent, Progress, read_study
from verict.custody.keys import Signer
from verict.custody.manifest import Manifest, build_manifest, from_bytes, read_bytes_of, to_bytes
from verict.custody.matching import select_objects
from verict.custody.sign_study import intermediates_path, path_beside
from verict.custody.trust import Standing, TrustStore, TrustVerdict
from verict.custody.wording import describe_series, say_series
from verict.errors import InputError, OutputError, printable

SIGNATURE_SUFFIX = ".p7s"  # RFC 8551 3.2.1
WORD_ONLY = "the signer's word"


@dataclass(frozen=True, eq=False)
class SealVerdict:
    """What one manifest says of a study, and what that is worth.

    ``problem`` says why the manifest itself is not to be believed; then there are no ``changes``. ``signed`` is False
    where it has no signature. ``signed_at`` is only the signer's word.
    """

    manifest: str
    series_instance_uid: str
    signed: bool
    problem: str
    standing: TrustVerdict | None
    signed_at: datetime | None
    changes: SeriesChanges | None

    @property
    def exit_code(self) -> int:
        """20 changed or not what was signed, 22 untrusted, expired or revoked, 21 unsigned, 0 valid; in this order."""
        altered = self.standing is not None and self.standing.standing is Standing.ALTERED
        if self.problem or altered or (self.changes is not None and not self.changes.is_intact):
            return 20
        if not self.signed:
            return 21
        return 0 if self.standing is not None and self.standing.standing is Standing.TRUSTED else 22

    @property
    def sentence(self) -> str:
        """Who signed the series, when, and what became of it, in one sentence."""
        if self.problem:
            return f"the manifest cannot be believed: {self.problem}"
        said = "nothing is known" if self.changes is None else say_series(self.changes)
        if self.standing is None:
            return f"the manifest is not signed; by what it says, {said}"
        when = "" if self.signed_at is None else f" on {self.signed_at:%Y-%m-%d %H:%M} UTC ({WORD_ONLY})"
        signer = f"signed by {printable(self.standing.signer)}{when}"
        doubt = "" if self.standing.standing is Standing.TRUSTED else (
            f", {self.standing.standing.value}: {self.standing.reason}")  # fmt: skip
        if said.startswith("valid: "):
            return f"{signer}{doubt}, unchanged since: {said.removeprefix('valid: ')}"
        return f"{signer}{doubt}; {said}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "manifest": self.manifest,
            "series_instance_uid": self.series_instance_uid,
            "exit_code": self.exit_code,
            "sentence": self.sentence,
            "signed": self.signed,
            "problem": self.problem or None,
            "signer": None if self.standing is None else self.standing.signer,
            "standing": None if self.standing is None else self.standing.standing.value,
            "standing_reason": None if self.standing is None else self.standing.reason,
            "signed_at": None if self.signed_at is None else self.signed_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "changes": None if self.changes is None else describe_series(self.changes),
        }


@dataclass(frozen=True, eq=False)
class SealReport:
    """All manifests of a study; ``unlisted`` are the files that none of them speaks of."""

    seals: tuple[SealVerdict, ...]
    unlisted: tuple[str, ...]
    failures: tuple[InputError, ...]

    def was_rewritten(self, sop_instance_uid: str) -> bool:
        """Whether any file of an object is not bit for bit the one that a manifest speaks of."""
        return any(not file.bit_for_bit for seal in self.seals if seal.changes is not None
                   for file in seal.changes.files if file.sop_instance_uid == sop_instance_uid)  # fmt: skip

    def outcome_of(self, sop_instance_uid: str) -> Outcome | None:
        """What a manifest that is signed and trusted says of an object; None where none speaks of it."""
        found = [seal.changes.outcome_of(sop_instance_uid) for seal in self.seals
                 if seal.exit_code in (0, 20) and seal.signed and seal.changes is not None and _is_trusted(seal)]
        known = [outcome for outcome in found if outcome is not None]
        return max(known, key=list(Outcome).index, default=None)


def manifest_paths(study: Path, count: int) -> list[Path]:
    """Where the manifests of a study of so many series lie."""
    names = ["manifest.json", *(f"manifest-{number}.json" for number in range(2, count + 1))]
    return [path_beside(study, name) for name in names[:count]]


def find_manifests(study: Path) -> list[Path]:
    """The manifests that lie beside a study under their usual names."""
    found: list[Path] = []
    while (path := manifest_paths(study, len(found) + 1)[-1]).is_file():
        found.append(path)
    return found


def list_custody_files(study: Path, manifests: Sequence[Path] | None = None) -> list[Path]:
    """What proves a study, so that no output may take its place: manifests, their signatures, the intermediates.

    Those that lie beside it, and the manifests that are named.
    """
    found = [*find_manifests(study), *(manifests or [])]
    return [*found, *(signature_path(path) for path in found), intermediates_path(study)]


def seal_study(
    study: Path,
    signer: Signer,
    *,
    first: Path | None = None,
    digest: str = "sha256",
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Write a signed manifest for each series of a study.

    Parameters
    ----------
    study
        A folder, file or zip, finished: whatever changes in it afterwards will be seen.
    signer
        Who signs.
    first
        Another place for the first manifest; the others lie beside it with a number.
    digest
        ``sha256``, ``sha384`` or ``sha512``.
    progress
        See `verict.custody.content.Progress`.

    Returns
    -------
    tuple of Path
        The manifests, in the order of their SeriesInstanceUIDs.

    Raises
    ------
    InputError
        If an object cannot be read, is of no series, or cannot be told from another.
    OutputError
        If a manifest would lie inside the study, or cannot be written.
    """
    content = read_study(study, progress=progress)
    if content.failures:
        raise content.failures[0]
    series = group_series(content.objects)
    if not series:
        raise InputError("nothing to sign", file=study, found="no DICOM object")
    paths = manifest_paths(study, len(series))
    if first is not None:
        paths = [first, *(first.with_name(f"{first.stem}-{n}{first.suffix}") for n in range(2, len(series) + 1))]
    inside = [path for path in paths if study.is_dir() and study.resolve() in path.resolve().parents]
    if inside:
        raise OutputError("the manifest would lie inside the study", file=inside[0], next_step="name a place outside")
    signed = []
    for objects in series.values():  # all of them before the first file is written
        data = to_bytes(build_manifest(objects))
        signed.append((data, sign_bytes(data, signer, digest=digest)))
    for path, (data, signature) in zip(paths, signed, strict=True):
        _write(signature_path(path), signature)
        _write(path, data)
    return tuple(paths)


def sign_bytes(data: bytes, signer: Signer, *, digest: str = "sha256") -> bytes:
    """A detached signature in DER over any bytes, see `verict.custody.cms.sign_detached`."""
    return sign_detached(data, signer.private_key, signer.certificate, signer.chain, digest=digest)


def signature_path(path: Path) -> Path:
    """Where the detached signature of a file lies."""
    return path.with_name(path.name + SIGNATURE_SUFFIX)


def verify_seals(
    study: Path, manifests: Sequence[Path], trust: TrustStore, *, progress: Progress | None = None
) -> SealReport:
    """Compare a study with its manifests.

    Raises
    ------
    InputError
        If the study or a manifest cannot be read. A manifest that is none, or whose signature is wrong, is a verdict.
    """
    opened = [_open_seal(path, trust) for path in manifests]
    content = read_study(study, progress=progress)
    seals, listed = [], set()
    for seal, manifest in opened:
        if manifest is None or seal.problem:
            seals.append(seal)
            continue
        listed |= {id(one) for one in select_objects(manifest, content.objects)}
        seals.append(replace(seal, changes=compare_series(manifest, content.objects)))
    unlisted = tuple(one.name for one in content.objects if id(one) not in listed)
    return SealReport(tuple(seals), unlisted, content.failures)


def group_series(objects: Sequence[ObjectContent]) -> Mapping[str, list[ObjectContent]]:
    """The objects of each SeriesInstanceUID, in the order of these."""
    series: dict[str, list[ObjectContent]] = {}
    for uid in sorted({one.series_instance_uid for one in objects}):
        series[uid] = [one for one in objects if one.series_instance_uid == uid]
    return series


def _open_seal(path: Path, trust: TrustStore) -> tuple[SealVerdict, Manifest | None]:
    """The manifest with its signature judged, before any object is looked at."""
    data = read_bytes_of(path)
    empty = SealVerdict(path.name, "", False, "", None, None, None)
    beside = signature_path(path)
    check: CmsCheck | None = None
    if beside.is_file():
        check = check_detached(data, _read_signature(beside))
        empty = replace(empty, signed=True, signed_at=check.signing_time)
        if check.certificate is not None:
            empty = replace(empty, standing=judge(check, trust))
        if not check.valid:
            return replace(empty, problem=check.reason), None
    try:
        manifest = from_bytes(data, file=path.name)
    except InputError as error:
        return replace(empty, problem=error.one_line()), None
    return replace(empty, series_instance_uid=manifest.series_instance_uid), manifest


def _read_signature(path: Path) -> bytes:
    """The bytes of a signature; of one far too large so many that it is refused."""
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_SIGNATURE_BYTES + 1)
    except OSError as error:
        raise InputError("cannot be read", file=path, found=error.strerror, next_step="check its rights") from error


def judge(check: CmsCheck, trust: TrustStore) -> TrustVerdict | None:
    """What the signer of a detached signature is worth; the certificates that came with it may lead to a root."""
    if check.certificate is None:
        return None
    store = replace(trust, intermediates=(*trust.intermediates, *check.certificates[1:]), _judged={})
    return store.judge(check.certificate.public_bytes(serialization.Encoding.DER), check.signing_time)


def _is_trusted(seal: SealVerdict) -> bool:
    return seal.standing is not None and seal.standing.standing is Standing.TRUSTED


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".verict-{secrets.token_hex(6)}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot be written: {error.strerror or error}", file=path) from error


