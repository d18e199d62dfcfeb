"""Signs every object of a folder or file; a power cut leaves each file whole, old or new."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.x509 import Certificate

from verict.ct.sources import DiskFile, list_sources, read_bytes
from verict.custody.keys import Signer, certificates_pem, load_certificates
from verict.custody.sign_object import SignOptions, check_options, sign_bytes
from verict.custody.whole_files import WholeFiles, is_leftover, sync_folder
from verict.errors import InputError, NotDicomError, OutputError, UsageError


@dataclass(frozen=True)
class SignedFile:
    """One signed file: its name in the study, where it is now, and what of it could not be signed."""

    name: str
    path: Path
    sop_instance_uid: str
    series_instance_uid: str
    unsigned: tuple[str, ...]
    again: bool


@dataclass(frozen=True)
class SignedStudy:
    """What became of a study: files signed, files that are no DICOM objects, files that could not be signed."""

    place: Path
    files: tuple[SignedFile, ...]
    passed_over: tuple[str, ...]
    failures: tuple[InputError, ...]


def sign_study(
    study: Path,
    out: Path | None,
    signer: Signer,
    options: SignOptions,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> SignedStudy:
    """Sign every DICOM object of a folder, at any depth, or one file.

    Parameters
    ----------
    study
        A folder or a file.
    out
        Where the signed copies go: a folder that does not exist or is empty, which gets its name only when all is
        written. None signs in place, each file by a whole new one that takes the old one's name at once; what an
        earlier run left half written when it was killed is removed.
    signer, options
        Who signs, and how.
    progress
        Is told how many files are done and how many there are.

    Raises
    ------
    InputError
        If the study cannot be read as a whole, or holds no DICOM object.
    OutputError
        If the output place is not free, or cannot be written.
    UsageError
        If key and profile do not fit, or the study is a zip.
    """
    check_options(signer, options)
    listing = list_sources(study)
    sources = [source for source in listing.sources if isinstance(source, DiskFile)]
    if len(sources) < len(listing.sources):
        raise UsageError("a zip cannot be signed", file=study, next_step="unpack it, sign the folder")
    leftovers = [source.path for source in sources if is_leftover(source.path.name)]
    sources = [source for source in sources if source.path not in leftovers]
    try:
        if out is None:
            for path in leftovers:
                path.unlink(missing_ok=True)
            return _sign_all(study, sources, None, signer, (options, listing.failures, progress))
        partial = _open_partial(study, out)
        try:
            signed = _sign_all(study, sources, partial, signer, (options, listing.failures, progress))
            if out.exists():
                out.rmdir()
            partial.rename(out)
            sync_folder(out.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        place = error.filename or out or study
        raise OutputError(f"cannot be written: {error.strerror or error}", file=place) from error
    moved = [SignedFile(f.name, out / f.path.relative_to(partial), f.sop_instance_uid, f.series_instance_uid,
                        f.unsigned, f.again) for f in signed.files]  # fmt: skip
    return SignedStudy(out, tuple(moved), signed.passed_over, signed.failures)


def _sign_all(
    study: Path, sources: Sequence[DiskFile], partial: Path | None, signer: Signer,
    how: tuple[SignOptions, Sequence[InputError], Callable[[int, int], None] | None],
) -> SignedStudy:  # fmt: skip
    options, failures, progress = how
    files: list[SignedFile] = []
    passed_over: list[str] = []
    failed: list[InputError] = list(failures)

    with WholeFiles(hidden=partial is not None) as place:
        for number, source in enumerate(sources, start=1):
            target = source.path.resolve() if partial is None else partial / _inner_name(study, source)
            try:
                signed = sign_bytes(read_bytes(source), signer, options, file=source.name)
            except NotDicomError:
                passed_over.append(source.name)
            except InputError as error:
                failed.append(error)
            else:
                if partial is not None:
                    target.parent.mkdir(parents=True, exist_ok=True)
                if partial is not None or not signed.again:
                    place.put(target, signed.pieces, source.path)
                files.append(SignedFile(source.name, target, signed.sop_instance_uid, signed.series_instance_uid,
                                        signed.unsigned, signed.again))  # fmt: skip
            if progress is not None:
                progress(number, len(sources))
    if not files and not failed:
        raise InputError("nothing to sign", file=study, found="no DICOM object", next_step="check the path")
    return SignedStudy(study, tuple(files), tuple(passed_over), tuple(failed))


def _inner_name(study: Path, source: DiskFile) -> Path:
    return source.path.relative_to(study) if study.is_dir() else Path(source.path.name)


def _open_partial(study: Path, out: Path) -> Path:
    """A hidden folder beside the output folder, which has to be free and outside of the study."""
    if not out.name:
        raise OutputError("the output place is the current folder, or has no name", file=out,
                          next_step="name a new folder")  # fmt: skip
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError("the output place is not an empty folder", file=out, next_step="name a new one")
    inside = study.resolve()
    if study.is_dir() and inside in (out.resolve(), *out.resolve().parents):
        raise OutputError("the output place lies in the study", file=out, next_step="name a folder elsewhere")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{secrets.token_hex(4)}.partial")
    partial.mkdir()
    return partial


def intermediates_path(study: Path) -> Path:
    """Where the certificates between a signer's and the root lie: beside the study, as an object holds one only."""
    return path_beside(study, "intermediates.pem")


def path_beside(study: Path, ending: str) -> Path:
    """A file beside a study that bears its name; links are followed, a circle of them as far as it goes."""
    place = Path(os.path.realpath(study))
    return place.parent / f"{place.name}.{ending}"


def load_intermediates(study: Path) -> list[Certificate]:
    """The certificates that lie beside a study already: earlier signatures need them.

    Raises
    ------
    InputError
        If the file is there and holds none.
    """
    path = intermediates_path(study)
    return load_certificates(path) if path.is_file() else []


def write_intermediates(study: Path, signer: Signer, kept: Sequence[Certificate] = ()) -> Path | None:
    """Write the certificates between a signer's and the root beside the study; None where there are none.

    Parameters
    ----------
    study
        What was signed.
    signer
        Who signed it.
    kept
        Those of earlier signers, from `load_intermediates`.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    own = [certificate for certificate in signer.chain if certificate.issuer != certificate.subject]
    chain = list(dict.fromkeys([*kept, *own]))
    if not chain:
        return None
    path = intermediates_path(study)
    try:
        with WholeFiles() as place:
            place.put(path, [certificates_pem(chain)])
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror or error}", file=path) from error
    return path
