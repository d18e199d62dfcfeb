"""`verict sign`: sign scans where they are made."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from verict.cli.passphrases import ask_passphrase
from verict.cli.terminal import FAILED, exit_on_error, make_streams_forgiving, show_progress, tell
from verict.errors import OutputError, UsageError, did_you_mean, printable, say_count

if TYPE_CHECKING:
    from verict.custody.keys import Signer
    from verict.custody.sign_object import SignOptions
    from verict.custody.sign_study import SignedStudy

PROFILES, MACS, PURPOSES = ("creator", "base", "none"), ("sha256", "sha384", "sha512"), ("created", "received")
SHOWN = 20  # failures told


def sign(
    *,
    study: Annotated[
        Path,
        typer.Argument(metavar="STUDY", help="A DICOM file, or a folder of them (any depth).", show_default=False),
    ],
    key: Annotated[
        Path, typer.Option(metavar="FILE", show_default=False, help="Private key: PEM, encrypted PEM or PKCS #12.")
    ],
    cert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="Its certificate, and those between it and the root; "
                     "none where --key is PKCS #12."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default=False, help="New folder for the signed copies.")
    ] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Put each signed file in the place of the original.")
    ] = False,
    profile: Annotated[
        str, typer.Option(metavar="|".join(PROFILES), help="Profile of PS3.15 to keep to; none lets other keys than "
                          "RSA sign.")
    ] = "creator",
    mac: Annotated[str, typer.Option(metavar="|".join(MACS), help="Hash of the signature.")] = "sha256",
    purpose: Annotated[
        str | None,
        typer.Option(metavar="|".join(PURPOSES), show_default=False, help="What the signature is for, where that "
                     "shall stand in it."),
    ] = None,
    manifest: Annotated[
        bool, typer.Option("--manifest/--no-manifest", help="Write a signed manifest of each series beside the "
                           "study: without it nobody sees a missing, added or reordered slice.")
    ] = True,
    passphrase_file: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default=False, help="Its first line opens the key; without it "
                                  "the passphrase is asked for.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors: no summary, no progress.")] = False,
) -> None:
    """Sign every DICOM object of a study with a digital signature inside it (PS3.15).

    Every attribute that may be signed is signed. The bytes of the signature are put in, all else stays as it was;
    killed at any moment, each file is the old or the new one, whole.

    Exit codes: 0 all signed; 1 some object cannot be signed; 2 wrong usage, or an output that cannot be written;
    130 interrupted.
    """
    make_streams_forgiving()
    interrupted = "interrupted; each file is signed and whole, or as it was" if in_place else "interrupted; no output"
    with exit_on_error("sign", interrupted=interrupted):
        for value, known in ((profile, PROFILES), (mac, MACS), (purpose or "created", PURPOSES)):
            if value not in known:
                raise UsageError("no such choice", found=value, next_step=did_you_mean(value, known))
        if (out is None) != in_place:
            raise UsageError("where the signed files go is not clear", next_step="give either --out DIR or --in-place")
        from verict.custody.keys import load_signer
        from verict.custody.profiles import Profile, Purpose
        from verict.custody.sign_object import SignOptions, check_options

        options = SignOptions(Profile(profile), mac, Purpose(purpose) if purpose else None)
        signer = load_signer(key, cert, ask=ask_passphrase(passphrase_file))
        check_options(signer, options)
        raise typer.Exit(_sign(study, out, (signer, options), manifest=manifest, quiet=quiet))


def _sign(study: Path, out: Path | None, how: tuple[Signer, SignOptions], *, manifest: bool, quiet: bool) -> int:
    from verict.custody.seal import find_manifests, seal_study
    from verict.custody.sign_study import load_intermediates, sign_study, write_intermediates

    signer, options = how
    there = find_manifests(out or study) if manifest else []
    if there:
        raise OutputError(
            "a manifest of the study is there already", file=there[0],
            next_step="verify the study by it, then move it away, or give --no-manifest",
        )  # fmt: skip
    kept = [certificate for place in (study, out) if place is not None for certificate in load_intermediates(place)]
    with nullcontext() if quiet or not sys.stderr.isatty() else show_progress() as show:
        signed = sign_study(study, out, signer, options,
                            progress=show and (lambda done, total: show("signing", done, total)))  # fmt: skip
        sealed: tuple[Path, ...] = ()
        if manifest and signed.files and not signed.failures:
            sealed = seal_study(signed.place, signer, digest=options.mac,
                                progress=show and (lambda done, total: show("manifest", done, total)))  # fmt: skip
    beside = write_intermediates(signed.place, signer, kept) if signed.files else None
    for failure in signed.failures[:SHOWN]:
        tell("sign", failure.one_line())
    if len(signed.failures) > SHOWN:
        tell("sign", f"and {len(signed.failures) - SHOWN} more failures")
    if manifest and signed.failures:
        tell("sign", "no manifest was written, as not every object is signed")
    if not quiet:
        _print_summary(signed, signer, options, [*sealed, *([beside] if beside else [])])
    return FAILED if signed.failures else 0


def _print_summary(signed: SignedStudy, signer: Signer, options: SignOptions, beside: list[Path]) -> None:
    fresh = [file for file in signed.files if not file.again]
    typer.echo(f"{say_count(len(fresh), 'file')} signed by {printable(signer.name)} in {printable(signed.place)}: "
               f"profile {options.profile}, {options.mac.upper()}, every attribute that may be signed")  # fmt: skip
    if len(fresh) < len(signed.files):
        typer.echo(f"{say_count(len(signed.files) - len(fresh), 'file')} left as they were: signed by this "
                   "certificate already")  # fmt: skip
    for name, count in sorted(Counter(name for file in signed.files for name in file.unsigned).items()):
        typer.echo(f"unsigned     {name} in {say_count(count, 'file')}")
    if signed.passed_over:
        typer.echo(f"passed over  {say_count(len(signed.passed_over), 'file')} that are no DICOM objects")
    for path in beside:
        place = signed.place.with_name(path.name) if signed.place.name else path
        typer.echo(f"beside       {printable(place)}")
