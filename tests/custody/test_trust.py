"""Whom a verifier trusts: chains, times, revocation."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from custody.hospital import (
    NOW,
    authority,
    build_certificate,
    curve_scanner,
    deep_scanner,
    expired_scanner,
    foreign,
    intermediate,
    issue,
    key,
    look_alike,
    not_an_authority,
    revocation_list,
    scanner,
    self_signed,
    trust,
    weak_scanner,
    web_server,
)

from verict.custody.keys import Signer
from verict.custody.trust import Standing, TrustStore
from verict.errors import InputError

CHAIN = (intermediate().certificate,)


@pytest.mark.parametrize(
    ("signer", "store", "standing", "word"),
    [
        (scanner, trust, Standing.TRUSTED, "issued under Hospital Root"),
        (curve_scanner, trust, Standing.TRUSTED, "issued under Hospital Root"),
        (deep_scanner, trust, Standing.UNTRUSTED, "no path"),
        (deep_scanner, lambda: trust(intermediates=CHAIN), Standing.TRUSTED, "Hospital Root"),
        (deep_scanner, lambda: trust(intermediate()), Standing.TRUSTED, "Radiology CA"),
        (self_signed, trust, Standing.UNTRUSTED, "no path"),
        (self_signed, lambda: trust(self_signed()), Standing.TRUSTED, "CT-1 alone"),
        (scanner, lambda: trust(scanner()), Standing.TRUSTED, "CT-1"),
        (scanner, lambda: trust(scanner("CT-7")), Standing.UNTRUSTED, "no path"),
        (scanner, lambda: TrustStore(()), Standing.UNTRUSTED, "no trusted root"),
        (foreign, trust, Standing.UNTRUSTED, "no path"),
        (look_alike, trust, Standing.ALTERED, "altered or forged"),
        (not_an_authority, lambda: trust(intermediates=(scanner().certificate,)), Standing.UNTRUSTED, "no path"),
        (web_server, trust, Standing.UNTRUSTED, "not issued for signing"),
        (weak_scanner, trust, Standing.UNTRUSTED, "too weak"),
        (expired_scanner, trust, Standing.EXPIRED, "expired on"),
    ],
)
def test_standing(signer: type, store: type, standing: Standing, word: str) -> None:
    verdict = store().judge(signer().certificate_der)
    assert verdict.standing is standing, verdict.reason
    assert word in verdict.reason


def test_the_verifier_chooses_the_moment_not_the_signer() -> None:
    earlier = TrustStore((authority().certificate,), at=NOW - timedelta(days=100))
    assert trust().judge(expired_scanner().certificate_der, NOW - timedelta(days=100)).standing is Standing.EXPIRED
    assert TrustStore((authority().certificate,), at=NOW - timedelta(days=10)).judge(
        expired_scanner().certificate_der
    ).standing is Standing.EXPIRED  # fmt: skip
    assert earlier.judge(scanner().certificate_der).standing is Standing.EXPIRED  # not valid yet


def test_a_root_of_a_weak_key_leads_nowhere() -> None:
    store = TrustStore((weak_scanner().certificate,), at=NOW)
    assert "too weak" in store.judge(foreign().certificate_der).reason


def test_an_authority_that_may_not_issue_leads_nowhere() -> None:
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    basic = (x509.BasicConstraints(ca=True, path_length=None), True)
    middle = Signer(key("ec-2"), build_certificate("Middle", public=key("ec-2"), extensions=(basic, (usage, True))))
    leaf = issue("CT-8", key("CT-1"), days=10, issuer=middle)
    verdict = trust(intermediates=(middle.certificate,)).judge(leaf.public_bytes(serialization.Encoding.DER))
    assert verdict.standing is Standing.UNTRUSTED


def test_a_path_longer_than_allowed_leads_nowhere() -> None:
    first = (x509.BasicConstraints(ca=True, path_length=0), True)
    second = (x509.BasicConstraints(ca=True, path_length=None), True)
    one = Signer(key("ec-2"), build_certificate("One", public=key("ec-2"), extensions=(first,)))
    two = Signer(key("ec-3"), build_certificate("Two", issuer=one, public=key("ec-3"), extensions=(second,)))
    leaf = issue("CT-8", key("CT-1"), days=10, issuer=two)
    store = trust(intermediates=(one.certificate, two.certificate))
    assert store.judge(leaf.public_bytes(serialization.Encoding.DER)).standing is Standing.UNTRUSTED


UNKNOWN = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\0"), True)
ISSUES = (x509.BasicConstraints(ca=True, path_length=None), True)
NAMES = x509.NameConstraints([x509.DirectoryName(authority().certificate.subject)], None)


@pytest.mark.parametrize(
    "extension", [UNKNOWN, (NAMES, True), (x509.PolicyConstraints(0, None), True)], ids=["unknown", "names", "policy"]
)
def test_a_restriction_that_is_not_understood_leads_nowhere(extension: tuple[x509.ExtensionType, bool]) -> None:
    middle = Signer(key("ec-2"), build_certificate("Middle", public=key("ec-2"), extensions=(ISSUES, extension)))
    leaf = build_certificate("CT-8", issuer=middle)
    store = trust(intermediates=(middle.certificate,))
    assert store.judge(leaf.public_bytes(serialization.Encoding.DER)).standing is Standing.UNTRUSTED
    assert trust().judge(
        build_certificate("CT-8", extensions=(UNKNOWN,)).public_bytes(serialization.Encoding.DER)
    ).standing is Standing.UNTRUSTED  # fmt: skip


def test_an_authority_for_web_servers_vouches_for_no_signer() -> None:
    for use, standing in ((ExtendedKeyUsageOID.SERVER_AUTH, Standing.UNTRUSTED),
                          (ExtendedKeyUsageOID.EMAIL_PROTECTION, Standing.TRUSTED)):  # fmt: skip
        usage = (x509.ExtendedKeyUsage([use]), False)
        middle = Signer(key("ec-2"), build_certificate("Middle", public=key("ec-2"), extensions=(ISSUES, usage)))
        leaf = build_certificate("CT-8", issuer=middle).public_bytes(serialization.Encoding.DER)
        assert trust(intermediates=(middle.certificate,)).judge(leaf).standing is standing


def test_revocation() -> None:
    good = revocation_list(authority(), scanner("CT-7"))
    assert trust(crls=(good,)).judge(scanner().certificate_der).standing is Standing.TRUSTED
    assert trust(crls=(good,)).judge(scanner("CT-7").certificate_der).standing is Standing.REVOKED
    old = revocation_list(authority(), scanner("CT-7"), days=-3)
    assert trust(crls=(old,)).judge(scanner("CT-7").certificate_der).standing is Standing.REVOKED
    assert trust(crls=(old,)).judge(scanner().certificate_der).standing is Standing.UNTRUSTED
    forged = revocation_list(look_alike(), scanner())
    assert "no current revocation list" in trust(crls=(forged,)).judge(scanner().certificate_der).reason


def test_stores_are_read_from_files(tmp_path: Path) -> None:
    root, middle, crl = tmp_path / "root.pem", tmp_path / "middle.der", tmp_path / "list.pem"
    root.write_bytes(authority().certificate.public_bytes(serialization.Encoding.PEM))
    middle.write_bytes(intermediate().certificate.public_bytes(serialization.Encoding.DER))
    lists = [revocation_list(authority()), revocation_list(intermediate(), deep_scanner())]
    crl.write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in lists))
    store = TrustStore.load([root], [middle], [crl])
    assert (len(store.roots), len(store.intermediates), len(store.crls)) == (1, 1, 2)
    assert store.judge(scanner().certificate_der).standing is Standing.TRUSTED
    assert store.judge(deep_scanner().certificate_der).standing is Standing.REVOKED
    with pytest.raises(InputError, match="no revocation list"):
        TrustStore.load([root], [], [root])


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"\x30\x82\xff\xff", b"\0" * 100])
def test_what_is_no_certificate_is_altered(der: bytes) -> None:
    assert trust().judge(der).standing is Standing.ALTERED
