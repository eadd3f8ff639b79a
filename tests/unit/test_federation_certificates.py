"""Certificates of a community's own authority: made here, read by others, and strict about what is read."""

from __future__ import annotations

import datetime as dt
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from qpq.crypto.identity import SecretIdentity
from qpq.federation import x509 as reading
from qpq.federation.authority import (
    MAX_CERTIFICATES,
    from_pem,
    issue,
    key_file,
    make_authority,
    seed_of,
    to_pem,
)
from qpq.federation.errors import UntrustedError
from qpq.federation.path import check_authority, check_chain
from qpq.federation.x509 import CLIENT_AUTH, MAX_CERTIFICATE, SERVER_AUTH, is_domain, read
from qpq.link.certificates import identity_of, make_certificate
from qpq.wire.der import BOOLEAN, INTEGER, OCTET_STRING, OID, SEQUENCE, tlv

CA = SecretIdentity(bytes(32))
RELAY = SecretIdentity(b"r" * 32)
START, NOW, END = 20300101000000, 20300601000000, 20310101000000
SERIAL = bytes(range(200, 216))


def authority(**changes: object) -> bytes:
    given = {"serial": SERIAL, "not_before": START, "not_after": END} | changes
    return make_authority(CA, "Freifunk Aachen", **given)  # type: ignore[arg-type]


def relay(**changes: object) -> bytes:
    given = {"serial": SERIAL, "not_before": START, "not_after": END} | changes
    return issue(read(authority()), CA, "aachen.example", RELAY.identity, **given)  # type: ignore[arg-type]


def test_what_is_issued_is_believed() -> None:
    root = read(authority())
    check_authority(root)
    for purpose in (SERVER_AUTH, CLIENT_AUTH):
        leaf = check_chain([relay()], [root], purpose, NOW)
        assert (leaf.domain, leaf.key) == ("aachen.example", RELAY.identity)
    assert len(relay()) < 420


def test_links_read_the_same_key_in_it() -> None:
    assert identity_of(relay()) == RELAY.identity
    assert identity_of(authority()) == CA.identity


def test_others_read_the_same() -> None:
    root, leaf = (x509.load_der_x509_certificate(der) for der in (authority(), relay()))
    leaf.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    assert root.subject.rfc4514_string() == "CN=Freifunk Aachen"
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["aachen.example"]
    assert leaf.not_valid_before_utc == dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    assert leaf.serial_number.bit_length() == 127
    usage = root.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert usage.crl_sign
    identifier = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert identifier.digest == hashlib.sha256(CA.identity).digest()[:20]


def test_nothing_is_valid_for_longer_than_its_authority() -> None:
    assert read(relay(not_after=END + 1)).not_after == END


def test_dates_beyond_2049_are_written_another_way() -> None:
    root = read(authority(not_after=99991231235959))
    assert root.not_after == 99991231235959


@pytest.mark.parametrize("domain", ["", "Berlin.example", "a..example", "-a.example", "a-.example", "b_c", "1.2.3.4"])
def test_what_is_no_domain_is_not_issued(domain: str) -> None:
    assert not is_domain(domain)
    with pytest.raises(UntrustedError, match="is no domain"):
        issue(read(authority()), CA, domain, RELAY.identity, serial=SERIAL, not_before=START, not_after=END)


def test_a_label_of_a_domain_has_63_characters_at_most() -> None:
    assert is_domain("a" * 63)
    assert not is_domain("a" * 64)


def test_only_the_authoritys_own_key_issues() -> None:
    with pytest.raises(UntrustedError, match="the key of another authority"):
        issue(read(authority()), RELAY, "a.example", RELAY.identity, serial=SERIAL, not_before=START, not_after=END)
    with pytest.raises(UntrustedError, match="an issuer that is no authority"):
        issue(read(relay()), CA, "a.example", RELAY.identity, serial=SERIAL, not_before=START, not_after=END)


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb"])
def test_an_authority_has_a_name(name: str) -> None:
    with pytest.raises(UntrustedError, match="printable text"):
        make_authority(CA, name, serial=SERIAL, not_before=START, not_after=END)


def test_dates_are_told_in_words() -> None:
    root = read(authority())
    with pytest.raises(UntrustedError, match="expired on 2031-01-01"):
        check_chain([relay()], [root], SERVER_AUTH, END + 1)
    with pytest.raises(UntrustedError, match="valid from 2030-01-01"):
        check_chain([relay()], [root], SERVER_AUTH, START - 1)


def test_a_self_signed_certificate_of_a_link_proves_no_domain() -> None:
    with pytest.raises(UntrustedError, match="without a domain"):
        check_chain([make_certificate(RELAY)], [read(authority())], SERVER_AUTH, NOW)


def test_key_files_are_those_of_everybody() -> None:
    text = key_file(RELAY.seed)
    loaded = load_pem_private_key(text.encode(), None)
    assert isinstance(loaded, Ed25519PrivateKey)
    assert loaded.public_key().public_bytes_raw() == RELAY.identity
    theirs = loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    assert theirs == text
    assert seed_of(theirs) == RELAY.seed


def test_a_key_file_of_another_kind_is_refused() -> None:
    with pytest.raises(UntrustedError, match="not Ed25519"):
        seed_of(to_pem("PRIVATE KEY", b"x" * 48))


def test_certificates_stand_between_words_in_a_file() -> None:
    text = (
        "hello\n" + to_pem("CERTIFICATE", authority()) + "and\n" + to_pem("CERTIFICATE", relay()) + key_file(b"k" * 32)
    )
    assert from_pem("CERTIFICATE", text) == [authority(), relay()]
    assert x509.load_pem_x509_certificates(text.encode())[1].public_bytes(Encoding.DER) == relay()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "0 times certificate"),
        ("-----BEGIN CERTIFICATE-----\nMII!\n-----END CERTIFICATE-----\n", "not base64"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n", "is cut"),
        (to_pem("CERTIFICATE", b"x") * (MAX_CERTIFICATES + 1), "33 times certificate"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(text: str, words: str) -> None:
    with pytest.raises(UntrustedError, match=words):
        from_pem("CERTIFICATE", text)


# --- the reader -------------------------------------------------------------------------------


def with_extensions(*extensions: bytes) -> bytes:
    """Return the relay's certificate with these extensions instead; the signature is not looked at."""
    der = relay()
    known = tlv(reading.EXTENSIONS, tlv(SEQUENCE, *_extensions(der)))
    body = read(der).signed
    inner = body[body.index(reading.VERSION_3) :].removesuffix(known)
    signed = tlv(SEQUENCE, inner, tlv(reading.EXTENSIONS, tlv(SEQUENCE, *extensions)))
    return tlv(SEQUENCE, signed, reading.ED25519, tlv(3, bytes(65)))


def _extensions(der: bytes) -> list[bytes]:
    certificate = x509.load_der_x509_certificate(der)
    return [
        extension(bytes.fromhex(oid), found.critical, found.value.public_bytes())
        for found in certificate.extensions
        for oid in [_HEX[found.oid.dotted_string]]
    ]


_HEX = {
    "2.5.29.19": "551d13", "2.5.29.15": "551d0f", "2.5.29.37": "551d25",
    "2.5.29.17": "551d11", "2.5.29.14": "551d0e", "2.5.29.35": "551d23",
}  # fmt: skip


def extension(oid: bytes, critical: bool, value: bytes) -> bytes:
    return tlv(SEQUENCE, tlv(OID, oid), tlv(BOOLEAN, b"\xff") if critical else b"", tlv(OCTET_STRING, value))


def test_the_kit_makes_what_is_read() -> None:
    assert read(with_extensions(*_extensions(relay()))).domain == "aachen.example"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (extension(reading.KEY_USAGE, True, bytes.fromhex("0301")), "a certificate that is cut"),
        (extension(reading.KEY_USAGE, True, bytes.fromhex("030100")), "a key usage that is none"),
        (extension(reading.KEY_USAGE, True, bytes.fromhex("03020880")), "a key usage that is none"),
        (extension(reading.KEY_USAGE, True, bytes.fromhex("03020680")), "not strict DER"),
        (extension(reading.KEY_USAGE, True, bytes.fromhex("030206c1")), "not strict DER"),
        (extension(reading.KEY_USAGE, True, bytes.fromhex("0303060040")), "a key usage that is none"),
        (extension(reading.KEY_USAGE, True, bytes.fromhex("0304000000 01")), "a key usage that is none"),
        (extension(reading.BASIC_CONSTRAINTS, False, bytes.fromhex("30030101ff")), "does not insist"),
        (extension(reading.BASIC_CONSTRAINTS, True, bytes.fromhex("3003020101")), "path length"),
        (extension(reading.BASIC_CONSTRAINTS, True, bytes.fromhex("30060101ff0201ff")), "path length"),
        (extension(reading.BASIC_CONSTRAINTS, True, bytes.fromhex("30030101fe")), "not strict DER"),
        (extension(reading.SUBJECT_KEY, False, bytes.fromhex("0400")), "empty"),
        (extension(reading.SUBJECT_KEY, True, bytes.fromhex("040101")), "critical"),
        (extension(reading.SUBJECT_NAMES, True, bytes.fromhex("300686047f000001")), "no domain"),
        (extension(reading.SUBJECT_NAMES, True, tlv(SEQUENCE, tlv(0x82, b"\xff.de"))), "is no domain"),
        (extension(bytes.fromhex("2a03"), True, b""), "critical extension"),
        (extension(reading.EXTENDED_KEY_USAGE, False, bytes.fromhex("3000")), "not a certificate"),
        (extension(reading.KEY_USAGE, True, bytes.fromhex("0303070080")) * 2, "twice"),
    ],
)
def test_an_extension_that_is_not_as_it_must_be_refuses_the_certificate(value: bytes, words: str) -> None:
    with pytest.raises(UntrustedError, match=words):
        read(with_extensions(value))


def test_every_use_of_a_key_is_told() -> None:
    every = read(with_extensions(extension(reading.KEY_USAGE, True, bytes.fromhex("030307ff80"))))
    assert every.usage == frozenset(range(9))


def test_a_certificate_without_extensions_says_nothing() -> None:
    plain = read(make_certificate(RELAY))
    assert (plain.domain, plain.usage, plain.authority) == (None, None, False)


def test_what_is_too_long_is_not_read() -> None:
    with pytest.raises(UntrustedError, match=f"at most {MAX_CERTIFICATE} are read"):
        read(bytes(MAX_CERTIFICATE + 1))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (reading.VERSION_3, bytes.fromhex("a003020101"), "version 3"),
        (reading.KEY_HEAD, bytes.fromhex("302a300506032b656e032100"), "a key that is not Ed25519"),
        (reading.ED25519, bytes.fromhex("300506032b6571"), "a signature that is not Ed25519"),
    ],
)
def test_other_versions_and_algorithms_are_refused(old: bytes, new: bytes, words: str) -> None:
    with pytest.raises(UntrustedError, match=words):
        read(relay().replace(old, new))
    with pytest.raises(UntrustedError, match=words):
        read(relay().replace(old, new, 1))


def test_a_signature_has_64_bytes() -> None:
    body = read(relay()).signed
    for signature in (bytes(64), b"\x01" + bytes(64)):
        with pytest.raises(UntrustedError, match="the wrong length"):
            read(tlv(SEQUENCE, body, reading.ED25519, tlv(3, signature)))


def test_long_items_have_long_lengths() -> None:
    assert tlv(INTEGER, bytes(127))[:2] == b"\x02\x7f"
    assert tlv(INTEGER, bytes(200))[:3] == b"\x02\x81\xc8"
    assert tlv(INTEGER, bytes(300))[:4] == b"\x02\x82\x01\x2c"
