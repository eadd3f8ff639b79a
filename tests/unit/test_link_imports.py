"""What stands for libraries that links never use: it refuses to be used, and never stands in for anybody else."""

from __future__ import annotations

import ast
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aioquic import tls
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given, settings
from hypothesis import strategies as st
from link_world import STAND_INS, Node, World, host, linked, secret

from qpq.link.certificates import make_certificate
from qpq.link.errors import NotUsedError
from qpq.link.imports import NAMES_ONLY, Certificate, VerifyMode, load_aioquic, load_der_x509_certificate
from qpq.mesh.events import DialFailed, LinkUp

if TYPE_CHECKING:
    from collections.abc import Callable

if STAND_INS:
    pytest.skip("what links never use of cryptography is not in its stand-in", allow_module_level=True)

NODE = Path(__file__).resolve().parents[2] / "node"
ANNA = secret("anna")
KEY = Ed25519PrivateKey.from_private_bytes(ANNA.seed)
START = datetime(2020, 1, 1, tzinfo=UTC)


def certificate(
    build: Callable[[x509.CertificateBuilder], x509.CertificateBuilder] = lambda builder: builder, days: int = 3650
) -> bytes:
    """Return a certificate by the real library."""
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Fünkerei"),
            x509.NameAttribute(x509.NameOID.EMAIL_ADDRESS, "a@example.org"),
        ]
    )
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), 2**150, START, START + timedelta(days=days))
    return build(builder).sign(KEY, None).public_bytes(Encoding.DER)


def extended(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    """Add a critical extension and another."""
    names = x509.SubjectAlternativeName([x509.DNSName("node.example")])
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).add_extension(
        names, critical=False
    )


OWN = make_certificate(ANNA)
VALID = [OWN, certificate(), certificate(extended), certificate(days=20_000)]


# --- certificates: one reader, as strict as the real one ---------------------------------------


@pytest.mark.parametrize("der", VALID)
def test_a_valid_certificate_is_read_as_the_real_library_reads_it(der: bytes) -> None:
    real: Any = x509.load_der_x509_certificate(der).public_key()
    ours = load_der_x509_certificate(der)
    assert isinstance(ours.public_key(), Ed25519PublicKey)
    assert ours.public_key().public_bytes_raw() == real.public_bytes_raw() == ANNA.identity
    assert ours.public_bytes(Encoding.DER) == der


def judge(der: bytes) -> None:
    """Where ours accepts, the real library accepts, and finds the same key."""
    try:
        ours = load_der_x509_certificate(der).public_key()
    except ValueError:
        return
    real: Any = x509.load_der_x509_certificate(der).public_key()
    assert real.public_bytes_raw() == ours.public_bytes_raw()


def test_every_change_of_one_byte_is_refused_or_read_as_the_real_library_reads_it() -> None:
    for der in VALID:
        for position in range(len(der)):
            for change in (0x01, 0x02, 0x20, 0x80, 0xFF, der[position]):
                judge(der[:position] + bytes((der[position] ^ change,)) + der[position + 1 :])


@settings(max_examples=300)
@given(
    st.sampled_from(VALID),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.binary(max_size=4)), min_size=1, max_size=4),
)
@example(OWN, [(0, 0, b"")])
def test_a_mangled_certificate_is_refused_or_read_as_the_real_library_reads_it(
    der: bytes, edits: list[tuple[int, int, bytes]]
) -> None:
    for position, removed, added in edits:
        der = der[:position] + added + der[position + removed :]
    judge(der)


def tlv(tag: int, content: bytes) -> bytes:
    """Return one item of DER."""
    size = len(content)
    head = bytes((size,)) if size < 0x80 else b"\x81" + bytes((size,)) if size < 0x100 else b"\x82" + size.to_bytes(2)
    return bytes((tag,)) + head + content


ED25519 = bytes.fromhex("300506032b6570")
NAME = bytes.fromhex("300e310c300a06035504030c03717071")
TIMES = b"\x17\x0d700101000000Z\x18\x0f99991231235959Z"
SUBJECT_KEY = bytes.fromhex("302a300506032b6570032100") + ANNA.identity


def assembled(
    serial: bytes = b"\x01", name: bytes = NAME, times: bytes = TIMES, tail: bytes = b"", inner: bytes = ED25519
) -> bytes:
    """Return a certificate made of the given parts; its signature is nobody's."""
    version = bytes.fromhex("a003020102")
    body = version + tlv(2, serial) + inner + name + tlv(0x30, times) + NAME + SUBJECT_KEY + tail
    return tlv(0x30, tlv(0x30, body) + ED25519 + tlv(3, bytes(65)))


def named(tag: int, text: bytes, oid: bytes = b"\x55\x04\x03", extra: bytes = b"") -> bytes:
    """Return a name of one attribute."""
    return tlv(0x30, tlv(0x31, tlv(0x30, tlv(6, oid) + tlv(tag, text) + extra)))


def extension(content: bytes) -> bytes:
    """Return the extensions field with one extension."""
    return tlv(0xA3, tlv(0x30, tlv(0x30, content)))


EXTENSION = tlv(6, b"\x55\x1d\x13") + tlv(4, b"\x30\x00")
GOOD = {
    "plain": assembled(),
    "a leading zero that is needed": assembled(serial=b"\x00\x80"),
    "no name": assembled(name=b"\x30\x00"),
    "an ASCII name": assembled(name=named(0x16, b"a@b")),
    "a leap day": assembled(times=b"\x17\x0d200229000000Z\x17\x0d491231235959Z"),
    "an extension": assembled(tail=extension(EXTENSION)),
    "a critical extension": assembled(tail=extension(tlv(6, b"\x55\x1d\x13") + b"\x01\x01\xff" + tlv(4, b"\x30\x00"))),
}
BAD = {
    "no serial": assembled(serial=b""),
    "a negative serial": assembled(serial=b"\x80"),
    "zero": assembled(serial=b"\x00"),
    "a long serial": assembled(serial=b"\x01" * 21),
    "a padded serial": assembled(serial=b"\x00\x01"),
    "another algorithm inside": assembled(inner=bytes.fromhex("300506032b6571")),
    "a name that is not UTF-8": assembled(name=named(0x0C, b"\xff")),
    "a name that is not printable": assembled(name=named(0x13, b"a@b")),
    "a name that is not ASCII": assembled(name=named(0x16, b"\xe4")),
    "a name of another kind": assembled(name=named(0x1E, b"\xd8\x00")),
    "a name with more": assembled(name=named(0x0C, b"a", extra=b"\x05\x00")),
    "two attributes in one": assembled(
        name=tlv(0x30, tlv(0x31, 2 * tlv(0x30, tlv(6, b"\x55\x04\x03") + tlv(0x0C, b"a"))))
    ),
    "an empty identifier": assembled(name=named(0x0C, b"a", oid=b"")),
    "an identifier cut": assembled(name=named(0x0C, b"a", oid=b"\x55\x84")),
    "an identifier padded": assembled(name=named(0x0C, b"a", oid=b"\x55\x80\x01")),
    "an identifier of a huge arc": assembled(name=named(0x0C, b"a", oid=b"\x55" + b"\xff" * 4 + b"\x01")),
    "an identifier too long": assembled(name=named(0x0C, b"a", oid=b"\x55" * 64)),
    "one time": assembled(times=b"\x17\x0d700101000000Z"),
    "three times": assembled(times=TIMES + b"\x17\x0d700101000000Z"),
    "a time without seconds": assembled(times=b"\x17\x0b7001010000Z" + TIMES[15:]),
    "a time of a zone": assembled(times=b"\x17\x0d700101000000A" + TIMES[15:]),
    "a month 13": assembled(times=b"\x17\x0d701301000000Z" + TIMES[15:]),
    "a day 0": assembled(times=b"\x17\x0d700100000000Z" + TIMES[15:]),
    "no leap day": assembled(times=b"\x17\x0d210229000000Z" + TIMES[15:]),
    "an hour 24": assembled(times=b"\x17\x0d700101240000Z" + TIMES[15:]),
    "a minute 60": assembled(times=b"\x17\x0d700101006000Z" + TIMES[15:]),
    "a second 60": assembled(times=b"\x17\x0d700101000060Z" + TIMES[15:]),
    "a year in the wrong form": assembled(times=b"\x18\x0f19700101000000Z" + TIMES[15:]),
    "no extension in extensions": assembled(tail=tlv(0xA3, b"\x30\x00")),
    "false written out": assembled(tail=extension(tlv(6, b"\x55\x1d\x13") + b"\x01\x01\x00" + tlv(4, b""))),
    "an extension with more": assembled(tail=extension(EXTENSION + b"\x05\x00")),
    "bytes after the extensions": assembled(tail=extension(EXTENSION) + b"\x05\x00"),
    "bytes in the extensions": assembled(tail=tlv(0xA3, tlv(0x30, tlv(0x30, EXTENSION)) + b"\x05\x00")),
    "ids of issuers": assembled(tail=b"\x81\x02\x00\x00"),
    "a key cut": tlv(0x30, tlv(0x30, assembled()[12:-76][:-1]) + ED25519 + tlv(3, bytes(65))),
}


@pytest.mark.parametrize("case", GOOD)
def test_forms_that_exist_are_read_as_the_real_library_reads_them(case: str) -> None:
    real: Any = x509.load_der_x509_certificate(GOOD[case]).public_key()
    assert load_der_x509_certificate(GOOD[case]).public_key().public_bytes_raw() == real.public_bytes_raw()


@pytest.mark.parametrize("case", BAD)
def test_forms_that_do_not_exist_are_refused(case: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        load_der_x509_certificate(BAD[case])


def test_a_certificate_says_nothing_but_its_key_and_its_bytes() -> None:
    ours: Any = Certificate(OWN)
    for name in ("not_valid_before_utc", "not_valid_after_utc"):
        with pytest.raises(NotUsedError, match="CERT_NONE"):
            getattr(ours, name)
    with pytest.raises(NotUsedError, match="DER only"):
        ours.public_bytes(Encoding.PEM)
    for name in ("subject", "issuer", "extensions", "verify_directly_issued_by"):
        assert not hasattr(ours, name)


# --- what is not used refuses to be used --------------------------------------------------------


@pytest.mark.parametrize("library", ["certifi", "crypto", "dsa", "ec", "ed448", "padding", "rsa", "x448"])
def test_what_the_library_holds_instead_of_a_module_raises_when_it_is_called(library: str) -> None:
    module = getattr(tls, library)
    names = next(names for name, names in NAMES_ONLY.items() if name.rpartition(".")[2] == library)
    for name in names.split():
        if name == "generate_private_key":  # the rig's plain clients need it
            continue
        stand_in = getattr(module, name)
        for use in (stand_in, lambda stand_in=stand_in: stand_in.from_public_bytes):
            with pytest.raises(NotUsedError, match=f"{name}.* is not used by links"):
                use()
        assert not isinstance(object(), stand_in)


def test_chains_of_certificates_cannot_be_verified() -> None:
    with pytest.raises(NotUsedError, match="CERT_NONE"):
        tls.verify_certificate(Certificate(OWN))  # type: ignore[arg-type]
    with pytest.raises(NotUsedError, match="not used by links"):
        tls.load_pem_private_key(b"-----BEGIN PUBLIC KEY-----")
    with pytest.raises(NotUsedError, match="not used by links"):
        tls.load_pem_x509_certificates(b"-----BEGIN CERTIFICATE-----")
    with pytest.raises(NotUsedError, match="not used by links"):
        tls.service_identity.cryptography.verify_certificate_hostname(None, "node")


def test_a_client_that_forgets_to_switch_verification_off_gets_no_link() -> None:
    world = World()
    anna, ben = Node(world, "anna", host(1)), Node(world, "ben", host(2))
    anna.hub._client.verify_mode = VerifyMode.CERT_REQUIRED
    anna.dial(ben)
    world.run(5)
    assert anna.of(DialFailed)
    assert not anna.of(LinkUp)
    assert not ben.of(LinkUp)


@pytest.mark.parametrize("group", [tls.Group.SECP256R1, tls.Group.X448])
def test_a_server_that_answers_in_a_group_we_never_offered_is_refused(
    group: tls.Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = tls.push_server_hello

    def other(buf: tls.Buffer, hello: tls.ServerHello) -> None:
        hello.key_share = (group, b"\x04" + bytes(64))
        push(buf, hello)

    monkeypatch.setattr(tls, "push_server_hello", other)
    world = World()
    anna, ben = Node(world, "anna", host(1)), Node(world, "ben", host(2))
    anna.dial(ben)
    world.run(5)
    assert "invalid key share" in anna.of(DialFailed)[-1].reason
    assert not anna.of(LinkUp)


def test_keys_are_those_of_openssl() -> None:
    ours: Any = tls.x25519
    private, other = ours.X25519PrivateKey.generate(), X25519PrivateKey.generate()
    assert isinstance(private, X25519PrivateKey)
    public = private.public_key()
    raw = public.public_bytes(tls.Encoding.Raw, PublicFormat.Raw)
    assert isinstance(public, ours.X25519PublicKey)
    assert not isinstance(KEY.public_key(), ours.X25519PublicKey)
    read = ours.X25519PublicKey.from_public_bytes(raw)
    assert isinstance(read, X25519PublicKey)
    assert private.exchange(other.public_key()) == other.exchange(read)
    for wrong in (b"", raw[:31], raw + b"\0"):
        with pytest.raises(ValueError, match="32 bytes"):
            ours.X25519PublicKey.from_public_bytes(wrong)
    with pytest.raises(ValueError, match="shared key"):
        private.exchange(ours.X25519PublicKey.from_public_bytes(bytes(32)))


def test_whoever_imports_aioquic_has_it_loaded_lean_before() -> None:
    importing = 0
    for file in (NODE / "qpq" / "link").glob("*.py"):
        tree = ast.parse(file.read_text())
        names = [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
        names += [name.name for node in tree.body if isinstance(node, ast.Import) for name in node.names]
        if any(name.partition(".")[0] == "aioquic" for name in names):
            importing += 1
            first = next(n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module != "__future__")
            assert (first.module, first.names[0].name) == ("qpq.link", "imports"), file.name
    assert importing > 5


# --- nobody else gets a stand-in ------------------------------------------------------------------


def fresh(code: str) -> str:
    """Run ``code`` in a new interpreter; return what it prints."""
    argv = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(NODE)!r})\n{code}"]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_the_real_modules_can_be_imported_afterwards() -> None:
    names = [*NAMES_ONLY, "OpenSSL", "cryptography.x509", "ssl", "cryptography.hazmat.primitives.serialization"]
    code = f"""
import importlib, qpq.link.hub
names = {names!r}
print([name for name in names if name in sys.modules])
modules = [importlib.import_module(name) for name in names]
print([module.__name__ for module in modules if not hasattr(module, '__file__')])
import certifi, ssl
from cryptography import x509
print(certifi.where()[-4:], ssl.SSLContext.__name__, x509.Name.__name__)
"""
    assert fresh(code).splitlines() == ["[]", "[]", ".pem SSLContext Name"]


def test_what_was_imported_before_is_left_alone() -> None:
    code = """
import aioquic.tls, cryptography.x509
before = dict(sys.modules)
import qpq.link.imports
print(all(sys.modules[name] is module for name, module in before.items()))
print(aioquic.tls.x509 is cryptography.x509)
"""
    assert fresh(code).splitlines() == ["True", "True"]


def test_some_that_were_imported_before_are_used_with_the_rest_standing_in() -> None:
    code = """
import certifi, ssl, cryptography.hazmat.primitives.asymmetric.ec as ec
import qpq.link.imports, aioquic.tls as tls
print(tls.certifi is certifi, tls.ssl is ssl, tls.ec is ec, 'cryptography.x509' in sys.modules)
"""
    assert fresh(code) == "True True True False"


def test_loading_twice_changes_nothing() -> None:
    before = dict(sys.modules)
    load_aioquic()
    assert dict(sys.modules) == before


def test_links_come_up_and_import_nothing_more() -> None:
    rigs = str(Path(__file__).resolve().parents[1] / "rigs")
    code = f"""
sys.path.insert(0, {rigs!r})
import link_world
before = set(sys.modules)
link_world.linked()
print(*sorted(set(sys.modules) - before))
"""
    assert fresh(code) == ""


def test_two_nodes_with_stand_ins_link() -> None:
    _, anna, ben = linked()
    assert (anna.up.peer, ben.up.peer) == (ben.hub.own, anna.hub.own)
    assert tls.x509.Certificate is Certificate  # this process runs as a node does
