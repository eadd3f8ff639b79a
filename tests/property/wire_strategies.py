"""What hypothesis draws for the tests of the wire: CBOR values, envelopes, frames."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from qpq.crypto.identity import Address, Identity
from qpq.wire.beacon import Beacon
from qpq.wire.body import Body
from qpq.wire.cbor import MAX_UINT
from qpq.wire.crossing import FoundBody, InwardBody, LookupBody, MarkBody, OutwardBody, ProofBody, RefusalBody
from qpq.wire.envelope import MAX_TIME, MAX_TTL, Envelope, Mode
from qpq.wire.frames import Bye, Custody, CustodyCode, Hello, Receipt, Role, Transfer
from qpq.wire.frames_mesh import Announce, Graft, IHave, Probe, ProbeKind, Prune, Query, Reconcile, Retract, Route

U8 = st.integers(0, 2**8 - 1)
U16 = st.integers(0, 2**16 - 1)
U32 = st.integers(0, 2**32 - 1)
UINT = st.one_of(
    st.integers(0, 300),
    st.sampled_from([2**n - d for n in (8, 16, 32, 64) for d in (0, 1) if n < 64 or d]),
    st.integers(0, MAX_UINT),
)
BYTES16 = st.binary(min_size=16, max_size=16)
BYTES32 = st.binary(min_size=32, max_size=32)
BYTES64 = st.binary(min_size=64, max_size=64)

VALUES = st.recursive(
    st.one_of(UINT, st.booleans(), st.binary(max_size=300), st.text(max_size=100)),
    lambda inner: st.one_of(st.lists(inner, max_size=30), st.dictionaries(UINT, inner, max_size=30)),
    max_leaves=40,
)

# few distinct keys, so that references are common, and more than the table holds, so that slots are evicted
KEYS = st.integers(0, 400).map(lambda number: number.to_bytes(32, "big"))


def _envelope(channel: bool) -> st.SearchStrategy[Envelope]:
    return st.builds(
        Envelope,
        mode=st.just(Mode.CHANNEL) if channel else st.sampled_from([Mode.UNICAST, Mode.SEALED_SENDER]),
        urgent=st.booleans(),
        sender=KEYS.map(Address),
        recipient=BYTES16 if channel else KEYS,
        ttl=st.integers(1, MAX_TTL),
        max_hops=st.integers(1, 255),
        timestamp=st.integers(0, MAX_TIME),
        commitment=BYTES16,
        payload=st.binary(max_size=600),
        signature=BYTES64,
    )


ENVELOPES = st.booleans().flatmap(_envelope)
_LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
DOMAINS = st.lists(_LABELS, min_size=1, max_size=4).map(".".join)
_TEXTS = st.text(max_size=60)
_CROSSING = st.one_of(
    *(
        st.builds(kind, secret=BYTES16, domain=DOMAINS, envelope=st.binary(min_size=1, max_size=600))
        for kind in (OutwardBody, InwardBody)
    ),
    st.builds(ProofBody, secret=BYTES16, domain=DOMAINS, user=KEYS.map(Address), proof=BYTES16, digest=BYTES32),
    st.builds(LookupBody, secret=BYTES16, name=st.from_regex(r"[a-zäöü0-9._-]{1,20}", fullmatch=True), domain=DOMAINS),
    st.builds(
        FoundBody,
        secret=BYTES16,
        token=BYTES16,
        address=st.one_of(st.just(b""), BYTES32),
        domain=st.one_of(st.just(""), DOMAINS),
        reason=_TEXTS,
    ),
    st.builds(RefusalBody, secret=BYTES16, about=BYTES32, reason=_TEXTS),
    st.builds(MarkBody, secret=BYTES16, domain=DOMAINS, sender=KEYS.map(Address), message_id=BYTES16),
)
BODIES = st.one_of(st.builds(Body, secret=BYTES16, text=st.text(max_size=200), message_id=BYTES16), _CROSSING)
BEACONS = st.builds(Beacon, node=BYTES32.map(Identity), port=st.integers(1, 65_535), boot=U32)

HELLOS = st.tuples(st.integers(1, 255), st.integers(1, 255)).flatmap(
    lambda versions: st.builds(
        Hello,
        version_min=st.just(min(versions)),
        version_max=st.just(max(versions)),
        features=st.integers(0, 2**64 - 1),
        boot=U32,
        time=st.integers(0, MAX_TIME),
        time_trusted=st.booleans(),
        load=U8,
        links=U16,
        role=st.sampled_from(Role),
        max_frame=st.integers(1024, 2**32 - 1),
        store_free=U32,
        extensions=st.dictionaries(U16, st.binary(max_size=32), max_size=16),
    )
)
TRANSFERS = st.builds(Transfer, hops=U8, copies=U8, age=U32, envelope=ENVELOPES)
RECEIPTS = st.builds(Receipt, st.lists(st.tuples(BYTES16, BYTES32), min_size=1, max_size=16).map(tuple))
CUSTODIES = st.builds(
    Custody, st.lists(st.tuples(BYTES32, st.sampled_from(CustodyCode)), min_size=1, max_size=16).map(tuple)
)
ANNOUNCES = st.builds(
    Announce,
    hops=U8,
    address=KEYS.map(Address),
    node=KEYS.map(Identity),
    boot=U32,
    counter=U32,
    capabilities=U32,
    kem_hash=st.one_of(st.just(b""), st.binary(min_size=12, max_size=12)),
    signature=BYTES64,
)
BYES = st.builds(
    Bye, code=U16, retry_after=U32, reason=st.text(max_size=128).filter(lambda reason: len(reason.encode()) <= 128)
)
ROUTES = st.builds(
    Route, hops=st.integers(1, 255), cost=U16, announce=ANNOUNCES.map(lambda announce: replace(announce, hops=0))
)
RETRACTS = st.builds(Retract, st.lists(KEYS.map(Address), min_size=1, max_size=16).map(tuple))
QUERIES = st.builds(
    Query,
    hops=U8,
    target=KEYS.map(Address),
    asker=KEYS.map(Identity),
    boot=U32,
    counter=U32,
    signature=BYTES64,
)
SHORT_IDS = st.lists(BYTES16, min_size=1, max_size=32).map(tuple)
PROBES = st.builds(
    Probe,
    kind=st.sampled_from(ProbeKind),
    hops=U8,
    trace=st.booleans(),
    token=st.binary(min_size=8, max_size=8),
    target=KEYS.map(Address),
    path=st.lists(KEYS.map(Identity), max_size=64).map(tuple),
)
KEYED = st.one_of(TRANSFERS, ANNOUNCES, ROUTES, RETRACTS, QUERIES, PROBES)
FRAMES = st.one_of(
    HELLOS,
    RECEIPTS,
    CUSTODIES,
    BYES,
    KEYED,
    st.builds(IHave, SHORT_IDS),
    st.builds(Graft, st.booleans(), SHORT_IDS),
    st.just(Prune()),
    st.builds(Reconcile, st.binary(min_size=1, max_size=900)),
)
