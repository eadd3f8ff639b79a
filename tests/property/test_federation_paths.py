"""The own path check beside that of ``cryptography``: what a domain is believed, and by whom.

The library's verifier keeps to the algorithms of the Web and so refuses every Ed25519 key. Each chain is therefore made
twice from one description, with Ed25519 keys for the own check and with P-256 keys for the library's; whether
the Ed25519 signatures hold, the library says as well, one certificate at a time.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from qpq.federation.errors import UntrustedError
from qpq.federation.path import check_authority, check_chain
from qpq.federation.x509 import CLIENT_AUTH, SERVER_AUTH, read

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = dt.datetime(2030, 6, 1, 12, tzinfo=dt.UTC)
DOMAIN = "berlin.example"
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
DAY = dt.timedelta(days=1)
USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """One certificate as it is to be; the key, the issuer's name and key are those of places in the chain."""

    name: str = ""
    key: int = 0
    issuer_name: str = ""
    signer: int = 0
    start: dt.datetime = NOW - 30 * DAY
    end: dt.datetime = NOW + 30 * DAY
    authority: bool | None = False
    constraints_critical: bool = True
    path_length: int | None = None
    usage: frozenset[str] | None = frozenset({"digital_signature"})
    purposes: tuple[Any, ...] | None = BOTH
    names: tuple[Any, ...] = (x509.DNSName(DOMAIN),)
    names_critical: bool = True
    subject_key: int | None = 0
    authority_key: int | None = 0
    more: tuple[tuple[Any, bool], ...] = ()
    broken: bool = False


@dataclass(frozen=True)
class Chain:
    """Leaf, perhaps an intermediate, root; what is shown and what is asked for."""

    specs: tuple[Spec, ...]
    shown: tuple[int, ...]
    trusted: tuple[int, ...]
    server: bool = True
    domain: str = DOMAIN


CA_USAGE = frozenset({"key_cert_sign", "crl_sign"})
CA: dict[str, Any] = {"authority": True, "usage": CA_USAGE, "purposes": None, "names": ()}


def sound(*, intermediate: bool, server: bool, subject: bool = False) -> Chain:
    root = Spec("root", 9, "root", 9, path_length=1, subject_key=9, authority_key=None, **CA)
    leaf = Spec("relay" if subject else "", 0, "root", 9, authority_key=9, names_critical=not subject)
    if not intermediate:
        return Chain((leaf, root), (0,), (1,), server)
    middle = Spec("middle", 5, "root", 9, path_length=0, subject_key=5, authority_key=9, **CA)
    leaf = replace(leaf, issuer_name="middle", signer=5, authority_key=5)
    return Chain((leaf, middle, root), (0, 1), (2,), server)


@functools.cache
def ed25519_key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes((number,)) * 32)


@functools.cache
def p256_key(number: int) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(number + 1000, ec.SECP256R1())


def x509_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def made(spec: Spec, keys: Callable[[int], Any]) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509_name(spec.name))
        .issuer_name(x509_name(spec.issuer_name))
        .public_key(keys(spec.key).public_key())
        .serial_number(77)
        .not_valid_before(spec.start)
        .not_valid_after(spec.end)
    )
    for extension, critical in extensions_of(spec, keys):
        builder = builder.add_extension(extension, critical)
    signer = keys(spec.signer)
    data = builder.sign(signer, None if isinstance(signer, Ed25519PrivateKey) else hashes.SHA256()).public_bytes(
        Encoding.DER
    )
    return data[:-1] + bytes((data[-1] ^ 1,)) if spec.broken else data


def extensions_of(spec: Spec, keys: Callable[[int], Any]) -> list[tuple[Any, bool]]:
    found: list[tuple[Any, bool]] = []
    if spec.authority is not None:
        length = spec.path_length if spec.authority else None
        found.append((x509.BasicConstraints(spec.authority, length), spec.constraints_critical))
    if spec.usage is not None:
        found.append((x509.KeyUsage(**{name: name in spec.usage for name in USAGES}), True))
    if spec.purposes is not None:
        found.append((x509.ExtendedKeyUsage(spec.purposes), False))
    if spec.names:
        found.append((x509.SubjectAlternativeName(spec.names), spec.names_critical))
    if spec.subject_key is not None:
        found.append((x509.SubjectKeyIdentifier.from_public_key(keys(spec.subject_key).public_key()), False))
    if spec.authority_key is not None:
        issuer = keys(spec.authority_key).public_key()
        found.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), False))
    return found + list(spec.more)


def ours(chain: Chain) -> str:
    """Return why the own check refuses a chain; empty: it does not."""
    ders = [made(spec, ed25519_key) for spec in chain.specs]
    purpose = SERVER_AUTH if chain.server else CLIENT_AUTH
    try:
        trusted = [read(ders[index]) for index in chain.trusted]
        for authority in trusted:
            check_authority(authority)
        leaf = check_chain([ders[index] for index in chain.shown], trusted, purpose, int(NOW.strftime("%Y%m%d%H%M%S")))
    except UntrustedError as fault:
        return str(fault)
    return "" if leaf.domain == chain.domain else "another domain"


def theirs(chain: Chain) -> str:
    """Return why the library refuses a chain; empty: it does not."""
    certificates = [x509.load_der_x509_certificate(made(spec, p256_key)) for spec in chain.specs]
    builder = verification.PolicyBuilder().time(NOW).max_chain_depth(1)
    try:
        builder = builder.store(verification.Store([certificates[index] for index in chain.trusted]))
        leaf, *others = [certificates[index] for index in chain.shown]
        if chain.server:
            builder.build_server_verifier(x509.DNSName(chain.domain)).verify(leaf, others)
        else:
            subjects = builder.build_client_verifier().verify(leaf, others).subjects or ()
            if chain.domain not in [str(subject.value).lower() for subject in subjects]:
                return "another domain"
        check_signatures(chain)
    except (verification.VerificationError, InvalidSignature, ValueError) as fault:
        return repr(fault)
    return ""


def check_signatures(chain: Chain) -> None:
    """Have the library check the Ed25519 signatures of the same chain; raises InvalidSignature."""
    ders = [x509.load_der_x509_certificate(made(spec, ed25519_key)) for spec in chain.specs]
    for lower, upper in itertools.pairwise(ders):
        lower.verify_directly_issued_by(upper)


class Verdict(Enum):
    """What is to become of a mutated chain: refused by both, by the own narrower check only, or by none."""

    BOTH = 0
    OURS = 1
    NONE = 2


@dataclass(frozen=True)
class Mutation:
    """A change of one certificate (0 the leaf, -1 the root, 1 the intermediate if there is one)."""

    at: tuple[int, ...]
    verdict: Verdict
    changes: dict[str, Any] = field(default_factory=dict)


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
CONSTRAINTS = x509.NameConstraints([x509.DNSName("example")], None)
LEAF, MIDDLE, ROOT, EACH = (0,), (1,), (-1,), (0, 1, -1)
MUTATIONS = {
    "expired": Mutation(EACH, Verdict.BOTH, {"end": NOW - DAY}),
    "expired a second ago": Mutation(EACH, Verdict.BOTH, {"end": NOW - dt.timedelta(seconds=1)}),
    "not valid yet": Mutation(EACH, Verdict.BOTH, {"start": NOW + dt.timedelta(seconds=1)}),
    "valid to this second": Mutation(EACH, Verdict.NONE, {"end": NOW}),
    "valid from this second": Mutation(EACH, Verdict.NONE, {"start": NOW}),
    "valid for ever": Mutation(EACH, Verdict.NONE, {"end": dt.datetime(9999, 12, 31, tzinfo=dt.UTC)}),
    "an authority as leaf": Mutation(LEAF, Verdict.BOTH, {"authority": True}),
    "a leaf that may sign others": Mutation(LEAF, Verdict.BOTH, {"usage": frozenset({"key_cert_sign"})}),
    "a leaf for secrecy only": Mutation(LEAF, Verdict.OURS, {"usage": frozenset({"key_agreement"})}),
    "a leaf without usage": Mutation(LEAF, Verdict.NONE, {"usage": None}),
    "a leaf without constraints": Mutation(LEAF, Verdict.NONE, {"authority": None}),
    "no authority": Mutation((1, -1), Verdict.BOTH, {"authority": False}),
    "constraints missing": Mutation((1, -1), Verdict.BOTH, {"authority": None}),
    "constraints not critical": Mutation((1, -1), Verdict.BOTH, {"constraints_critical": False}),
    "an authority for lists only": Mutation((1, -1), Verdict.BOTH, {"usage": frozenset({"crl_sign"})}),
    "an authority without usage": Mutation((1, -1), Verdict.BOTH, {"usage": None}),
    "an authority without key identifier": Mutation((1, -1), Verdict.OURS, {"subject_key": None}),
    "an authority for another purpose": Mutation(
        MIDDLE, Verdict.BOTH, {"purposes": (ExtendedKeyUsageOID.CODE_SIGNING,)}
    ),
    "for another purpose": Mutation(LEAF, Verdict.BOTH, {"purposes": (ExtendedKeyUsageOID.CODE_SIGNING,)}),
    "for any purpose": Mutation(LEAF, Verdict.BOTH, {"purposes": (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)}),
    "no purpose": Mutation(LEAF, Verdict.OURS, {"purposes": None}),
    "no names": Mutation(LEAF, Verdict.BOTH, {"names": ()}),
    "another domain": Mutation(LEAF, Verdict.BOTH, {"names": (x509.DNSName("munich.example"),)}),
    "a domain below": Mutation(LEAF, Verdict.BOTH, {"names": (x509.DNSName("a.berlin.example"),)}),
    "an address": Mutation(LEAF, Verdict.BOTH, {"names": (x509.UniformResourceIdentifier("https://berlin.example"),)}),
    "two domains": Mutation(LEAF, Verdict.OURS, {"names": (x509.DNSName(DOMAIN), x509.DNSName("munich.example"))}),
    "capital letters": Mutation(LEAF, Verdict.OURS, {"names": (x509.DNSName("Berlin.example"),)}),
    "no authority's key identifier": Mutation(LEAF, Verdict.BOTH, {"authority_key": None}),
    "no authority's key identifier above": Mutation(MIDDLE, Verdict.OURS, {"authority_key": None}),
    "another authority's key identifier": Mutation((0, 1), Verdict.OURS, {"authority_key": 3}),
    "another issuer": Mutation((0, 1), Verdict.BOTH, {"issuer_name": "somebody"}),
    "another signer": Mutation((0, 1), Verdict.BOTH, {"signer": 3}),
    "its own signer": Mutation(LEAF, Verdict.BOTH, {"signer": 0}),
    "a broken signature": Mutation((0, 1), Verdict.BOTH, {"broken": True}),
    "an unknown critical extension": Mutation(EACH, Verdict.BOTH, {"more": ((UNKNOWN, True),)}),
    "an unknown extension": Mutation(EACH, Verdict.NONE, {"more": ((UNKNOWN, False),)}),
    "name constraints": Mutation((1, -1), Verdict.OURS, {"more": ((CONSTRAINTS, True),)}),
    "name constraints that are not critical": Mutation((1, -1), Verdict.OURS, {"more": ((CONSTRAINTS, False),)}),
    "no room below": Mutation(ROOT, Verdict.BOTH, {"path_length": 0}),
    "room for many below": Mutation(ROOT, Verdict.NONE, {"path_length": None}),
}


def mutated(chain: Chain, mutation: Mutation, at: int) -> Chain:
    specs = list(chain.specs)
    specs[at] = replace(specs[at], **mutation.changes)
    return replace(chain, specs=tuple(specs))


@pytest.mark.parametrize("intermediate", [False, True])
@pytest.mark.parametrize("server", [False, True])
@pytest.mark.parametrize("subject", [False, True])
def test_a_sound_chain_is_believed_by_both(*, intermediate: bool, server: bool, subject: bool) -> None:
    chain = sound(intermediate=intermediate, server=server, subject=subject)
    assert ours(chain) == ""
    assert theirs(chain) == ""


@pytest.mark.parametrize("name", MUTATIONS)
@pytest.mark.parametrize("intermediate", [False, True])
@pytest.mark.parametrize("server", [False, True])
def test_a_single_change_is_judged_as_the_library_does_or_more_strictly(
    name: str, *, intermediate: bool, server: bool
) -> None:
    mutation = MUTATIONS[name]
    chain = sound(intermediate=intermediate, server=server)
    for at in mutation.at:
        if (at == 1 and not intermediate) or (name == "no room below" and not intermediate):
            continue
        changed = mutated(chain, mutation, at)
        assert bool(ours(changed)) is (mutation.verdict is not Verdict.NONE), (at, ours(changed))
        assert bool(theirs(changed)) is (mutation.verdict is Verdict.BOTH), (at, theirs(changed))


@pytest.mark.parametrize("intermediate", [False, True])
def test_names_beside_a_subject_are_not_critical_and_without_one_are(*, intermediate: bool) -> None:
    for subject in (False, True):
        chain = sound(intermediate=intermediate, server=True, subject=subject)
        changed = mutated(chain, Mutation(LEAF, Verdict.BOTH, {"names_critical": subject}), 0)
        assert ours(changed)
        assert theirs(changed)


def test_what_is_not_shown_or_not_trusted_leads_nowhere() -> None:
    chain = sound(intermediate=True, server=True)
    for changed in (replace(chain, shown=(0,)), replace(chain, shown=(1,))):
        assert ours(changed)
        assert theirs(changed)
    assert ours(replace(chain, trusted=(0,)))
    assert ours(replace(chain, shown=()))
    assert ours(replace(chain, shown=(0, 1, 2, 2)))
    assert ours(replace(chain, shown=(0, 1, 1))) == "more than one intermediate authority"
    apart = mutated(chain, Mutation(MIDDLE, Verdict.BOTH, {"name": "another"}), 1)
    assert ours(apart) == "a chain that does not hang together"
    assert theirs(apart)


def test_who_has_issued_the_own_certificate_is_no_authority_over_it() -> None:
    chain = sound(intermediate=False, server=True)
    assert ours(mutated(chain, Mutation(LEAF, Verdict.OURS, {"name": "root", "names_critical": False}), 0)) == (
        "a certificate that its own holder has issued"
    )


def test_the_root_may_be_shown_as_well() -> None:
    chain = sound(intermediate=True, server=True)
    assert ours(replace(chain, shown=(0, 1, 2))) == theirs(replace(chain, shown=(0, 1, 2))) == ""
    short = sound(intermediate=False, server=True)
    assert ours(replace(short, shown=(0, 1))) == ""


def test_an_intermediate_authority_may_be_what_is_trusted() -> None:
    chain = replace(sound(intermediate=True, server=True), trusted=(1,), shown=(0,))
    assert ours(chain) == theirs(chain) == ""


NAMES = st.sampled_from([DOMAIN, "munich.example", "a.berlin.example", "*.example", "berlin", "1.2.3.4"])
TIMES = st.integers(-60, 60).map(lambda days: NOW + days * DAY)


@st.composite
def specs(draw: st.DrawFn, base: Spec) -> Spec:
    """A certificate near ``base``: a few fields drawn anew."""
    start = draw(st.one_of(st.just(base.start), TIMES))
    end = draw(st.one_of(st.just(base.end), TIMES))
    fields: dict[str, Any] = {
        "authority": st.sampled_from([True, False, None]),
        "constraints_critical": st.booleans(),
        "path_length": st.sampled_from([None, 0, 1, 2]),
        "usage": st.one_of(st.none(), st.frozensets(st.sampled_from(USAGES[:7]), min_size=1)),
        "purposes": st.sampled_from([None, BOTH, BOTH[:1], BOTH[1:], (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)]),
        "names": st.lists(NAMES.map(x509.DNSName), max_size=2).map(tuple),
        "names_critical": st.booleans(),
        "name": st.sampled_from(["", "root", "middle", "relay"]),
        "issuer_name": st.sampled_from(["", "root", "middle", "relay"]),
        "signer": st.sampled_from([0, 5, 9]),
        "key": st.sampled_from([0, 5, 9]),
        "subject_key": st.sampled_from([None, 0, 5, 9]),
        "authority_key": st.sampled_from([None, 0, 5, 9]),
        "more": st.sampled_from([(), ((UNKNOWN, True),), ((UNKNOWN, False),), ((CONSTRAINTS, True),)]),
        "broken": st.booleans(),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(fields)), max_size=2, unique=True))
    return replace(base, start=min(start, end), end=end, **{name: draw(fields[name]) for name in chosen})


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    base = sound(intermediate=draw(st.booleans()), server=draw(st.booleans()), subject=draw(st.booleans()))
    return replace(base, specs=tuple(draw(specs(spec)) for spec in base.specs))


@settings(max_examples=400, deadline=None)
@given(chains())
def test_whatever_the_own_check_believes_the_library_believes(chain: Chain) -> None:
    if not ours(chain):
        assert theirs(chain) == ""


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600))
def test_bytes_that_are_no_certificate_are_refused_and_nothing_else_happens(data: bytes) -> None:
    with pytest.raises(UntrustedError):
        read(data)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_of_a_certificate_never_passes(place: int, change: int) -> None:
    chain = sound(intermediate=False, server=True)
    leaf, root = (made(spec, ed25519_key) for spec in chain.specs)
    data = bytearray(leaf)
    data[place % len(data)] ^= change
    with pytest.raises(UntrustedError):
        check_chain([bytes(data)], [read(root)], SERVER_AUTH, int(NOW.strftime("%Y%m%d%H%M%S")))
