"""Whom a verifier trusts: roots, intermediates and revocation lists given as files; nothing is ever fetched.

Paths are built and checked by `cryptography.x509.verification` (RFC 5280 6.1); what it leaves out, revocation
lists, is checked along the path it found (RFC 5280 6.3, complete lists of the issuer itself only).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from verict.custody.keys import UNREADABLE, load_certificates, load_crls, name_of, weakness_of
from verict.errors import InputError, printable

MAX_CHAIN = 8
CLOCKS_DIFFER = timedelta(days=1)  # a DICOM time without offset may be 14 hours off (PS3.5 6.2, DT)

_SIGNING_USES = frozenset(
    {ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.CLIENT_AUTH,
     ExtendedKeyUsageOID.CODE_SIGNING, x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36"),
     x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.12")}
)  # fmt: skip
"""Extended key usages one of which a signer has where any is stated; the last two are document signing (RFC 9336)."""


class Standing(StrEnum):
    """What a verifier thinks of a certificate."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    EXPIRED = "expired"
    REVOKED = "revoked"
    ALTERED = "altered"


@dataclass(frozen=True)
class TrustVerdict:
    """Standing of one certificate, the reason in plain English, and the name it bears."""

    standing: Standing
    reason: str
    signer: str


@dataclass(frozen=True)
class TrustStore:
    """What a verifier trusts, and the moment it judges at.

    ``roots`` are trusted as they are; ``intermediates`` only lead to them. ``crls`` are believed where their
    issuer is. A signing time never moves ``at``: it is only the signer's word.
    """

    roots: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _judged: dict[bytes, tuple[TrustVerdict, x509.Certificate | None]] = field(
        default_factory=dict, compare=False, repr=False
    )

    @classmethod
    def load(
        cls, trust: Sequence[Path], intermediates: Sequence[Path] = (), crls: Sequence[Path] = (),
        at: datetime | None = None,
    ) -> TrustStore:  # fmt: skip
        """Read a store from PEM or DER files.

        Raises
        ------
        InputError
            If a file cannot be read, or a revocation list is one of the kinds that are not understood.
        """
        lists = [(path, crl) for path in crls for crl in load_crls(path)]
        for path, crl in lists:
            if any(e.critical and e.oid != ExtensionOID.AUTHORITY_KEY_IDENTIFIER for e in crl.extensions):
                raise InputError("the revocation list is partial or indirect", file=path,
                                 expected="the complete list of its issuer (RFC 5280 5)")  # fmt: skip
        return cls(
            tuple(c for path in trust for c in load_certificates(path)),
            tuple(c for path in intermediates for c in load_certificates(path)),
            tuple(crl for _, crl in lists),
            at or datetime.now(UTC),
        )

    def judge(self, certificate_der: bytes, signed_at: datetime | None = None) -> TrustVerdict:
        """Judge a signer's certificate.

        Parameters
        ----------
        certificate_der
            The certificate.
        signed_at
            When the signer says to have signed: outside of the certificate's time, or later than now, counts
            against it; within, it proves nothing.
        """
        verdict, certificate = self.judged(certificate_der)
        if verdict.standing is not Standing.TRUSTED or certificate is None or signed_at is None:
            return verdict
        first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if max(first - signed_at, signed_at - last) > CLOCKS_DIFFER:  # no sum: a certificate may be valid to 9999
            reason = "the signing time lies outside of the certificate's own time"
            return TrustVerdict(Standing.EXPIRED, reason, verdict.signer)
        if signed_at - self.at > CLOCKS_DIFFER:
            return TrustVerdict(Standing.UNTRUSTED, "the signing time lies in the future", verdict.signer)
        return verdict

    def judged(self, certificate_der: bytes) -> tuple[TrustVerdict, x509.Certificate | None]:
        """The verdict apart from any signing time, and the certificate where it can be read; kept per certificate."""
        kept = self._judged.get(certificate_der)
        if kept is None:
            kept = self._judged[certificate_der] = self._examine(certificate_der)
        return kept

    def _examine(self, der: bytes) -> tuple[TrustVerdict, x509.Certificate | None]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # of a serial number or a version that RFC 5280 does not know
                certificate = x509.load_der_x509_certificate(der)
                name = printable(name_of(certificate))
                weak = weakness_of(certificate)
                extensions = certificate.extensions
                first, last, _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc, certificate.issuer
            if not der.endswith(_bit_string(certificate.signature)):
                raise ValueError("its signature is not in DER")
        except UNREADABLE as error:
            altered = TrustVerdict(Standing.ALTERED, f"the certificate cannot be read: {printable(error)}", "unknown")
            return altered, None

        def say(standing: Standing, reason: str) -> tuple[TrustVerdict, x509.Certificate]:
            return TrustVerdict(standing, reason, name), certificate

        if self._is_altered(certificate):
            return say(Standing.ALTERED, "the certificate was not signed by the issuer it names: altered or forged")
        if weak:
            return say(Standing.UNTRUSTED, f"the certificate is too weak: {weak}")
        if not _may_sign(extensions):
            return say(Standing.UNTRUSTED, "the certificate was not issued for signing documents")
        if self.at > last:
            return say(Standing.EXPIRED, f"the certificate expired on {last:%Y-%m-%d}")
        if self.at < first:
            return say(Standing.EXPIRED, f"the certificate is valid from {first:%Y-%m-%d} only")
        chain = self._build_chain(certificate)
        if isinstance(chain, str):
            return say(Standing.UNTRUSTED, chain)
        for issuer in chain[1:]:
            if not _may_be_for_signing(issuer.extensions):
                return say(Standing.UNTRUSTED, f"{name_of(issuer)} may not issue certificates for signing documents")
        return self._check_revocation(chain) or say(Standing.TRUSTED, f"issued under {name_of(chain[-1])}")

    def _is_altered(self, certificate: x509.Certificate) -> bool:
        """Whether the issuer it names is known, or is itself, and did not sign it."""
        issuers = [c for c in (*self.roots, *self.intermediates) if c.subject == certificate.issuer]
        if certificate.issuer == certificate.subject:
            issuers.append(certificate)
        return bool(issuers) and not any(_signed_by(certificate, issuer) for issuer in issuers)

    def _build_chain(self, certificate: x509.Certificate) -> list[x509.Certificate] | str:
        """The chain from the certificate to a root, or why there is none."""
        if certificate in self.roots:
            return [certificate]
        roots = [root for root in self.roots if not weakness_of(root)]
        if not roots:
            return "no trusted root was given" if not self.roots else "every trusted root is too weak"
        anyone = verification.ExtensionPolicy.permit_all()
        builder = (
            verification.PolicyBuilder()
            .store(verification.Store(roots))
            .time(self.at)
            .max_chain_depth(MAX_CHAIN)
            .extension_policies(
                ca_policy=anyone.require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, None)
                .may_be_present(x509.KeyUsage, verification.Criticality.AGNOSTIC, _require_issuing),
                ee_policy=anyone,
            )
        )  # fmt: skip
        try:
            return builder.build_client_verifier().verify(certificate, list(self.intermediates)).chain
        except (verification.VerificationError, *UNREADABLE) as error:
            return f"no path leads to a trusted root ({printable(error).split(' (encountered')[0]})"

    def _check_revocation(
        self, chain: Sequence[x509.Certificate]
    ) -> tuple[TrustVerdict, x509.Certificate] | None:
        """A verdict against the chain, or None; where any list is given, the signer's issuer has to have one."""
        leaf, name = chain[0], printable(name_of(chain[0]))
        if not self.crls:
            return None
        if len(chain) == 1 and leaf.issuer != leaf.subject:  # trusted by itself; its authority may revoke it
            known = (c for c in (*self.roots, *self.intermediates) if c.subject == leaf.issuer)
            issuers = [issuer for issuer in known if _signed_by(leaf, issuer)]
            if not issuers:
                reason = "its issuer is not known here, so no revocation list speaks of it"
                return TrustVerdict(Standing.UNTRUSTED, reason, name), leaf
            chain = [leaf, issuers[0]]
        for number, certificate in enumerate(chain):
            issuer = chain[min(number + 1, len(chain) - 1)]
            lists = [crl for crl in self.crls if crl.issuer == issuer.subject and _crl_holds(crl, issuer)]
            current = [crl for crl in lists if crl.next_update_utc is None or crl.next_update_utc >= self.at]
            for crl in lists:
                entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
                if entry is not None:
                    whose = "the certificate" if certificate is leaf else f"the certificate of {name_of(certificate)}"
                    reason = f"{whose} was revoked on {entry.revocation_date_utc:%Y-%m-%d}"
                    return TrustVerdict(Standing.REVOKED, reason, name), leaf
            if certificate is leaf and len(chain) > 1 and not current:
                reason = "no current revocation list of its issuer was given" if not lists else (
                    "the revocation list of its issuer is out of date")  # fmt: skip
                return TrustVerdict(Standing.UNTRUSTED, reason, name), leaf
        return None


def _bit_string(content: bytes) -> bytes:
    """A BIT STRING of whole bytes in DER; a byte of unused bits other than 0 would be another encoding of the same."""
    size = len(content) + 1
    count = (size.bit_length() + 7) // 8
    length = bytes([size]) if size < 128 else bytes([0x80 | count]) + size.to_bytes(count, "big")
    return b"\x03" + length + b"\0" + content


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def _crl_holds(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        if not usage.crl_sign:
            return False
    except x509.ExtensionNotFound:
        pass
    try:
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except UNREADABLE:
        return False


def _may_sign(extensions: x509.Extensions) -> bool:
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.KeyUsage) and not (value.digital_signature or value.content_commitment):
            return False
    return _may_be_for_signing(extensions)


def _may_be_for_signing(extensions: x509.Extensions) -> bool:
    """Whether no extended key usage stands against it; an authority's limits what it issues, as OpenSSL takes it."""
    uses = [extension.value for extension in extensions if isinstance(extension.value, x509.ExtendedKeyUsage)]
    return all(_SIGNING_USES & set(use) for use in uses)


def _require_issuing(
    policy: verification.Policy, certificate: x509.Certificate, usage: x509.KeyUsage | None
) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("an issuer's key may not issue certificates")
