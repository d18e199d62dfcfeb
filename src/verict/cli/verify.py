"""`verict verify`: whether scans are bit for bit what was signed, and whom that has to be believed of."""

from __future__ import annotations

import json as json_module
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from verict.cli.terminal import FAILED, exit_on_error, make_streams_forgiving, open_stdout, show_progress, tell
from verict.errors import InputError, printable, say_count
from verict.report.output import check_output_file, write_text

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from verict.custody.conclusion import FileCustody, StudyCustody
    from verict.custody.trust import TrustStore
    from verict.custody.verify_object import ObjectVerdict
    from verict.custody.verify_study import StudyVerdict

INVALID, UNSIGNED, NOT_TRUSTED = 20, 21, 22
PRECEDENCE = (INVALID, FAILED, NOT_TRUSTED, UNSIGNED, 0)  # which code stands for several, the first that occurs
SHOWN = 12  # valid files shown in the table; the others are counted
SCHEMA = "verict.verify/1"
STDOUT = "-"


def verify(
    *,
    study: Annotated[
        Path,
        typer.Argument(metavar="STUDY", help="A DICOM file, a folder of them (any depth), or a zip.",
                       show_default=False),
    ],
    trust: Annotated[
        list[Path] | None,
        typer.Option(metavar="CA.pem", show_default=False, help="Certificates to trust: authorities, or a signer's "
                     "own; may be repeated."),
    ] = None,
    intermediates: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", show_default=False, help="Certificates between signers and those trusted; may be "
                     "repeated. STUDY.intermediates.pem is found by itself."),
    ] = None,
    crl: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", show_default=False, help="Revocation lists; may be repeated. With any, a signer's "
                     "authority needs a current one."),
    ] = None,
    manifest: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", show_default=False, help="Signed manifests of the series; may be repeated. "
                     "STUDY.manifest.json is found by itself."),
    ] = None,
    at: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="DATE", show_default=False, help="Judge certificates as of this "
                     "day, which you vouch for; today by default. A signer's own time is never believed for it."),
    ] = None,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="Let series pass of which nobody signed an object.")
    ] = False,
    allow_weak_mac: Annotated[
        bool, typer.Option("--allow-weak-mac", help="Let MD5, SHA-1 and RIPEMD-160 pass, and say so.")
    ] = False,
    json: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help=f"Write the result as JSON, schema {SCHEMA}; - writes "
                     "it to standard output in place of the table."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors: no table, no progress.")] = False,
) -> None:
    """Verify the digital signatures of a study: those inside its objects, and the signed manifests beside it.

    Nothing is ever fetched from a network.

    Exit codes, 20 before 1 before 22 before 21 before 0 where several apply:
    0 valid, or re-encoded with identical content;
    20 invalid: changed content, a slice missing or added, an altered certificate, a signature removed;
    22 the signer is not trusted, expired or revoked;
    21 unsigned;
    1 some input cannot be read;
    2 wrong usage, or an output that cannot be written;
    130 interrupted.
    """
    make_streams_forgiving()
    with exit_on_error("verify", interrupted="interrupted; no output file was written or changed"):
        from verict.custody.seal import list_custody_files
        from verict.custody.sign_study import intermediates_path
        from verict.custody.trust import TrustStore

        inputs = [study, *(trust or []), *(intermediates or []), *(crl or []), *(manifest or [])]
        if json is not None and str(json) != STDOUT:
            check_output_file(json, [*inputs, *list_custody_files(study, manifest)])
        beside = [path for path in [intermediates_path(study)] if path.is_file()]
        moment = None if at is None else at.replace(hour=12, tzinfo=UTC)
        store = TrustStore.load(trust or [], [*(intermediates or []), *beside], crl or [], moment)
        verdict, custody = _verify(study, manifest, store, allow_weak_mac=allow_weak_mac, quiet=quiet)
        code = _choose_code(custody, allow_unsigned=allow_unsigned)
        options = {"allow_unsigned": allow_unsigned, "allow_weak_mac": allow_weak_mac, **_describe_trust(store)}
        for failure in custody.failures[:SHOWN]:
            tell("verify", failure.one_line())
        if len(custody.failures) > SHOWN:
            tell("verify", f"and {len(custody.failures) - SHOWN} more failures")
        if json is not None:
            text = json_module.dumps(_as_dict(verdict, custody, options, code), indent=1) + "\n"
            if str(json) == STDOUT:
                typer.echo(text, nl=False)
            else:
                write_text(json, text)
        if not quiet and str(json) != STDOUT:
            _print(verdict, custody)
        raise typer.Exit(code)


def _verify(
    study: Path, manifests: list[Path] | None, store: TrustStore, *, allow_weak_mac: bool, quiet: bool
) -> tuple[StudyVerdict, StudyCustody]:
    """The verdict on each object, and what that and the manifests say together."""
    from verict.custody.conclusion import conclude
    from verict.custody.seal import find_manifests, verify_seals
    from verict.custody.verify_study import combine_with_seals, verify_study

    with nullcontext() if quiet or not sys.stderr.isatty() else show_progress() as show:
        verdict = verify_study(study, store, allow_weak_mac=allow_weak_mac,
                               progress=show and (lambda done, total: show("verifying", done, total)))  # fmt: skip
        chosen = find_manifests(study) if manifests is None else manifests
        if not verdict.objects and not verdict.failures and not chosen:
            raise InputError("nothing to verify", file=study, found="no DICOM object", next_step="check the path")
        seals = None
        if chosen:
            seals = verify_seals(study, chosen, store,
                                 progress=show and (lambda done, total: show("manifest", done, total)))  # fmt: skip
    custody = conclude(verdict, seals)
    return verdict if seals is None else combine_with_seals(verdict, seals), custody


def _choose_code(custody: StudyCustody, *, allow_unsigned: bool) -> int:
    codes: set[int] = set()
    for one in custody.series:
        files = {file.state.exit_code for file in one.files}
        nobody_signed = UNSIGNED not in files or files == {UNSIGNED}  # else a signature may have been stripped
        codes |= (files | {one.state.exit_code}) - ({UNSIGNED} if allow_unsigned and nobody_signed else set())
    if custody.failures:
        codes.add(FAILED)
    return next((code for code in PRECEDENCE if code in codes), 0)


def _print(verdict: StudyVerdict, custody: StudyCustody) -> None:
    """A table with a line a file, then a sentence a series."""
    console = open_stdout()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, nowrap in (("file", False), ("slice", True), ("verdict", False), ("why", False)):
        table.add_column(name, no_wrap=nowrap, overflow="fold")
    files = _order([file for one in custody.series for file in one.files])
    shown = [file for number, file in enumerate(files) if number < SHOWN or file.state != "valid"]
    for file in shown:
        place = "" if file.slice_index is None else str(file.slice_index)
        table.add_row(printable(file.name), place, file.state, printable(file.words))
    console.print(table)
    if len(shown) < len(files):
        console.print(f"and {say_count(len(files) - len(shown), 'valid file')} more; --json lists all")
    for one in custody.series:
        uid = one.series_instance_uid or "without UID"
        console.print(printable(f"series {uid}: {one.sentence}"), soft_wrap=True)
    left_open = Counter(name for one in verdict.objects for name in one.unsigned)
    for name, count in left_open.items():
        console.print(printable(f"not signed inside: {name} in {say_count(count, 'file')}"), soft_wrap=True)
    if any(one.signatures for one in verdict.objects):
        console.print("never signed (PS3.15): preamble and file meta information")
    if verdict.passed_over:
        console.print(f"passed over: {say_count(len(verdict.passed_over), 'file')} that are no DICOM objects")


def _order(files: Sequence[FileCustody]) -> list[FileCustody]:
    """What is not valid first, else as the files come."""
    return sorted(files, key=lambda file: file.state == "valid")


def _describe_trust(store: TrustStore) -> dict[str, Any]:
    """Whom the verdict rests on: fingerprints of certificates, and the moment they were judged at."""
    from cryptography.hazmat.primitives import hashes

    def fingerprints(certificates: Sequence[Certificate]) -> list[str]:
        return [certificate.fingerprint(hashes.SHA256()).hex() for certificate in certificates]

    return {
        "judged_at": store.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "trusted_sha256": fingerprints(store.roots),
        "intermediates_sha256": fingerprints(store.intermediates),
        "revocation_lists": len(store.crls),
    }


def _as_dict(verdict: StudyVerdict, custody: StudyCustody, options: dict[str, Any], code: int) -> dict[str, Any]:
    from verict.custody.verify_study import SIGNERS_WORD
    from verict.provenance import collect_provenance

    return {
        "schema": SCHEMA,
        "source": verdict.source,
        "exit_code": code,
        "signing_times": SIGNERS_WORD,
        "series": [one.as_dict() for one in custody.series],
        "objects": [_object_dict(one) for one in verdict.objects],
        "passed_over": list(verdict.passed_over),
        "failures": [failure.as_dict() for failure in custody.failures],
        "provenance": collect_provenance(options),
    }


def _object_dict(one: ObjectVerdict) -> dict[str, Any]:
    return {
        "file": one.file,
        "sop_instance_uid": one.sop_instance_uid,
        "series_instance_uid": one.series_instance_uid,
        "verdict": one.state.value,
        "exit_code": one.exit_code,
        "reasons": list(one.reasons),
        "unsigned_attributes": list(one.unsigned),
        "open_attributes_that_change_the_picture": list(one.added),
        "signatures": [
            {
                "uid": s.uid, "signed_at": s.signed_at, "signer": s.signer, "purpose": s.purpose or None, "mac": s.mac,
                "verdict": s.state.value, "reason": s.reason, "signed_attributes": len(s.signed_tags),
                "location": s.location or None,
            }
            for s in one.signatures
        ],
    }  # fmt: skip
