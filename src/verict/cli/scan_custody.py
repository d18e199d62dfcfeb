"""Custody in `verict scan`: whom to trust, which manifests, and the signature on the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from verict.cli.passphrases import ask_passphrase
from verict.errors import InputError, UsageError, VerictError
from verict.report.output import check_output_file, write_bytes

if TYPE_CHECKING:
    from verict.custody.conclusion import StudyCustody
    from verict.custody.keys import Signer
    from verict.custody.trust import TrustStore


@dataclass(frozen=True)
class Custody:
    """What was asked for.

    ``trust`` is None where custody is not to be examined, ``manifests`` where they are to be looked for beside the
    study, ``signer`` where the report is not to be signed.
    """

    trust: TrustStore | None = None
    manifests: tuple[Path, ...] | None = None
    signer: Signer | None = None


def open_custody(
    trust: Sequence[Path],
    manifests: Sequence[Path],
    *,
    sign: bool,
    key: Path | None,
    cert: Path | None,
    passphrase_file: Path | None,
) -> Custody:
    """Read certificates and the key before the long work.

    Raises
    ------
    UsageError
        If options for a signature are given without --sign-report, or --sign-report without a key.
    InputError
        If a file cannot be used.
    """
    if not sign and (key or cert or passphrase_file):
        raise UsageError("--key, --cert and --passphrase-file sign the report", next_step="give --sign-report too")
    if sign and key is None:
        raise UsageError("--sign-report needs a key", next_step="give --key and --cert")
    store = signer = None
    if trust or manifests:
        from verict.custody.trust import TrustStore

        store = TrustStore.load(trust)
    for path in manifests:
        if not path.is_file():
            raise InputError("no such manifest", file=path, next_step="check the path")
    if sign and key is not None:
        from verict.custody.keys import load_signer

        signer = load_signer(key, cert, ask=ask_passphrase(passphrase_file))
    return Custody(store, tuple(manifests) or None, signer)


def examine_study(custody: Custody, study: Path, show: Callable[[str, int, int], None]) -> StudyCustody | None:
    """What signatures say of one study; a study that cannot be read is said to be so, and stops nothing."""
    if custody.trust is None:
        return None
    from verict.custody.conclusion import StudyCustody, examine_custody
    from verict.custody.keys import load_certificates
    from verict.custody.sign_study import intermediates_path

    store, beside = custody.trust, intermediates_path(study)
    try:
        if beside.is_file():
            store = replace(store, intermediates=(*store.intermediates, *load_certificates(beside)), _judged={})
        return examine_custody(study, store, custody.manifests,
                               progress=lambda done, total: show("verifying signatures", done, total))  # fmt: skip
    except VerictError as error:
        return StudyCustody((), (error,))


def check_signature_file(path: Path, inputs: Sequence[Path]) -> None:
    """Refuse, before the long work, an output whose signature could not be written beside it."""
    from verict.custody.seal import signature_path

    check_output_file(signature_path(path), inputs)


def sign_text(custody: Custody, path: Path, text: str) -> None:
    """Write the detached signature of a text file beside it, where signatures are asked for.

    What is signed is the text as it was made, not what lies on the disk by now.
    """
    if custody.signer is None:
        return
    from verict.custody.seal import sign_bytes, signature_path

    write_bytes(signature_path(path), sign_bytes(text.encode("utf-8"), custody.signer))
