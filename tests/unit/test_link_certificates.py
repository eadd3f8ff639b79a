from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from shutil import which
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from link_world import needs_cryptography, secret

from qpq.crypto.identity import SecretIdentity
from qpq.link.certificates import MAX_CERTIFICATE, identity_of, make_certificate, sole_identity
from qpq.link.errors import CertificateError

ANNA = secret("anna")
DER = make_certificate(ANNA)


@given(st.binary(min_size=32, max_size=32))
def test_a_certificate_shows_the_identity_it_was_made_from(seed: bytes) -> None:
    owner = SecretIdentity(seed)
    assert sole_identity([make_certificate(owner)]) == owner.identity


def test_the_same_identity_gives_the_same_certificate() -> None:
    assert make_certificate(secret("anna")) == DER
    assert make_certificate(secret("ben")) != DER
    assert len(DER) == 212


@needs_cryptography
@given(st.binary(min_size=32, max_size=32))
def test_a_real_library_reads_it_and_believes_its_signature(seed: bytes) -> None:
    owner = SecretIdentity(seed)
    certificate = x509.load_der_x509_certificate(make_certificate(owner))
    key: Any = certificate.public_key()
    assert certificate.version is x509.Version.v3
    assert certificate.subject.rfc4514_string() == certificate.issuer.rfc4514_string() == "CN=qpq"
    assert certificate.not_valid_before_utc.isoformat() == "1970-01-01T00:00:00+00:00"
    assert certificate.not_valid_after_utc.isoformat() == "9999-12-31T23:59:59+00:00"
    assert key.public_bytes_raw() == owner.identity
    assert certificate.serial_number > 0
    certificate.verify_directly_issued_by(certificate)


@pytest.mark.skipif(which("openssl") is None, reason="no openssl on this machine")
def test_openssl_reads_it_too() -> None:
    shown = subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-noout", "-text"], input=DER, capture_output=True, check=True, timeout=20
    ).stdout.decode()
    assert "ED25519" in shown
    assert "Not After : Dec 31 23:59:59 9999 GMT" in shown


@needs_cryptography
def test_a_certificate_of_another_maker_is_read() -> None:
    assert identity_of(foreign(Ed25519PrivateKey.from_private_bytes(ANNA.seed), None)) == ANNA.identity


def foreign(key: Any, algorithm: Any) -> bytes:
    start, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2060, 1, 1, tzinfo=UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "somebody else" * 4)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(2**150).not_valid_before(start).not_valid_after(end)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


@needs_cryptography
def test_another_kind_of_key_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    der = foreign(key, hashes.SHA256())
    with pytest.raises(CertificateError, match="not Ed25519"):
        identity_of(der)
    swapped = DER.replace(bytes.fromhex("302a300506032b6570032100"), bytes.fromhex("302a300506032b656e032100"))
    with pytest.raises(CertificateError, match="a key that is not Ed25519"):
        identity_of(swapped)


@pytest.mark.parametrize(
    ("chain", "words"),
    [([], "empty"), ([DER, DER], "2 certificates"), ([DER + b"\0"], "bytes after"), ([b""], "not a certificate")],
)
def test_a_chain_is_one_certificate(chain: list[bytes], words: str) -> None:
    with pytest.raises(CertificateError, match=words):
        sole_identity(chain)


def test_a_certificate_has_a_size_limit() -> None:
    with pytest.raises(CertificateError, match="at most 1024"):
        identity_of(DER + bytes(MAX_CERTIFICATE))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("3081d13081", "308200d13081", "strict DER"),  # a longer length than needed
        ("3081d13081", "307fd13081", "not a certificate|cut|strict DER|bytes after"),
        ("3081d13081", "308013081", "not a certificate|cut|strict DER"),
        ("a003020102", "a003020100", "version 3"),
        ("0341008", "0340008", "wrong length|bytes after|cut"),
        ("300506032b6570034100", "300506032b6571034100", "not Ed25519"),
    ],
)
def test_what_is_not_strict_is_refused(old: str, new: str, words: str) -> None:
    text = DER.hex()
    if old not in text:
        old, new = "034100", "034000"
    changed = text.replace(old, new, 1)
    with pytest.raises(CertificateError, match=words):
        identity_of(bytes.fromhex(changed + "0" * (len(changed) % 2)))


@given(st.integers(0, len(DER) - 1))
def test_a_certificate_that_is_cut_anywhere_is_refused(end: int) -> None:
    with pytest.raises(CertificateError):
        identity_of(DER[:end])


@given(st.binary(max_size=1200))
def test_arbitrary_bytes_are_refused_or_read_and_nothing_else(data: bytes) -> None:
    with pytest.raises(CertificateError):
        identity_of(data)


@given(st.integers(0, len(DER) - 1), st.integers(1, 255))
def test_a_changed_certificate_is_refused_or_read_as_the_library_reads_it(position: int, change: int) -> None:
    data = bytearray(DER)
    data[position] ^= change
    try:
        identity = identity_of(bytes(data))
    except CertificateError:
        return
    try:
        key: Any = x509.load_der_x509_certificate(bytes(data)).public_key()
    except ValueError:
        return
    assert key.public_bytes_raw() == identity


def test_a_wiped_secret_makes_no_certificate() -> None:
    owner = SecretIdentity(os.urandom(32))
    owner.wipe()
    with pytest.raises(Exception, match="wiped"):
        make_certificate(owner)
