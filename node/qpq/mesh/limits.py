"""The caps and waits of the core, each with its unit; the daemon fills them in by the machine's memory."""

from __future__ import annotations

from dataclasses import dataclass, field

KIB = 1024
MIB = 1024 * KIB
_WHOLE = 100


class Room:
    """How much of the caps may be used at present: ``percent``, less while memory is short.

    ``takes``: others' messages are taken into custody.
    """

    __slots__ = ("percent", "takes")

    def __init__(self) -> None:
        self.percent = _WHOLE
        self.takes = True

    def of(self, cap: int) -> int:
        """Return what there is of a cap, at least 1."""
        return max(1, cap * self.percent // _WHOLE)


@dataclass(frozen=True, slots=True)
class Limits:
    """Every number that bounds what peers, and local users, can make a node hold or do.

    The defaults suit a PC; ``daemon.memory`` gives those of a smaller machine.
    Counts are numbers, ``*_bytes`` bytes, ``*_s`` seconds.
    """

    room: Room = field(default_factory=Room, compare=False)
    """How much of the caps on links, routes, receipts and others' messages holds now; each core has its own."""

    # links
    max_links: int = 1000
    """Usable links; above it newcomers are refused or somebody gives way (mesh.admission)."""
    max_pending: int = 64
    """Links whose HELLO has not come; above it a newcomer is refused at once."""
    hello_s: float = 60.0
    """A link that has not said HELLO by then is closed, where there is room after four times as long."""
    turn_s: float = 600.0
    """The least turn of a leaf before another leaf may take its place."""
    full_retry_s: int = 60
    """What a refused newcomer is told to wait."""
    settled_s: float = 10.0
    """A link usable that long gives way to a newer one to the same peer."""
    peer_frames: float = 10_000.0
    """Frames a second a link may bring for long; bursts of two seconds' worth."""
    peer_bytes: float = 8.0 * MIB
    """Bytes a second a link may bring for long; bursts of two seconds' worth."""
    abuse_frames: float = 5_000.0
    """Frames over those rates, forgiven at a hundredth of them a second; beyond it the link is closed."""
    penalty_min_s: float = 10.0
    penalty_max_s: float = 3_600.0
    """How long a peer that misbehaved is kept away: from the first, doubling, to the last."""

    # dialling
    target_links: int = 5
    """Usable and dialling links on discovered peers that a node strives for."""
    max_candidates: int = 256
    """Discovered addresses; the oldest unproven one of the busiest source gives way."""
    max_static: int = 64
    """Addresses the configuration or the user asked for; more are refused."""
    addresses_a_peer: int = 4
    """Addresses kept for one identity that no link has proven; the oldest gives way."""
    gather_s: float = 0.3
    """The wait, half of it at least, before an address that discovery has just found is dialled."""
    max_dials: int = 8
    """Dials in flight."""
    dial_s: float = 90.0
    """A dial that has become nothing by then has failed."""
    backoff_min_s: float = 1.0
    backoff_max_s: float = 300.0
    """Ceiling of the first and the last back-off; the wait is drawn evenly from zero to the ceiling."""
    backoff_vain_s: float = 3_600.0
    cheap_dial_s: float = 5.0
    """The last ceiling after a dial that took this long, or a link over which nobody greeted: some 20 kB were sent in
    vain, so the wait grows fourfold, and longer."""
    backoff_spare_s: float = 14_400.0
    lossy_link: float = 0.8
    brief_link_s: float = 60.0
    """The last ceiling of such an address while other peers are linked, since this one can be done without; then a link
    was in vain too that did not last so long, or ``good_link_s`` where it lost more than that part of its packets."""
    nudge_s: float = 10.0
    """The longest back-off for a peer to whom a user has just written."""
    away_s: float = 120.0
    """A peer of which discovery was silent for so long has come back when it is heard again: it is dialled at once."""
    good_link_s: float = 300.0
    """Each such time that a link was of use takes back one doubling of the back-off."""
    stale_s: float = 3_600.0
    """A discovered address that fails and was not heard of for so long is forgotten."""
    max_penalties: int = 256
    """Identities that misbehaved; the one whose penalty ends first gives way."""

    # users
    max_users: int = 16
    """Users of this node, and addresses accepted from one neighbour; more are ignored."""
    announce_rate: float = 1.0
    """Announces a second a neighbour may send for long; bursts of twice its users."""

    # messages of local users
    outbox_count: int = 1_000
    outbox_bytes: int = 4 * MIB
    """Messages of one user on their way, and the bytes of their envelopes; more are refused."""
    recipient_count: int = 500
    """Messages of one user on their way to one recipient; more are refused."""
    window_count: int = 64
    window_bytes: int = 256 * KIB
    """Messages, and bytes, on one link without an answer; more wait."""
    answer_s: float = 30.0
    """A message without an answer for that long is sent again after a back-off."""
    retry_min_s: float = 5.0
    retry_max_s: float = 600.0
    """The first and the last wait before a recipient that refused for lack of room, or kept silent, is tried again."""
    hold_s: float = 3_600.0
    """The wait before a message is sent again that was refused for another reason, or taken into custody."""
    late_receipts: int = 1_024
    """Expired messages whose receipt may still come; the oldest is forgotten."""

    # messages for local users
    inbox_count: int = 50_000
    inbox_bytes: int = 64 * MIB
    """Messages one user may keep, and the bytes of their texts; more are refused, none is evicted."""
    sender_percent: int = 50
    """The part of an inbox that one sender may fill."""
    link_percent: int = 75
    """The part of an inbox that may come over one neighbour."""
    tombstones: int = 16_384
    """Envelopes known to have been delivered here; the one that expires first is forgotten."""

    # messages of others
    relay_bytes: int = 96 * MIB
    """Bytes of others' envelopes, with what each costs beside its own; who gives way is told in mesh.quotas."""
    relay_rate: float = 8.0 * MIB
    relay_burst: float = 32.0 * MIB
    """Bytes a second that one neighbour may bring to keep for long, and at once; more are refused."""
    deposit_s: float = 0.05
    """How long a receipt is waited for before what went on at once is stored and its keeping told: some hops."""
    spray_copies: int = 8
    """Copies of a message that may be carried about while there is no route."""
    spray_s: float = 3.0
    """How long a route is waited for before copies are handed to any neighbour; doubles while it is asked for anew."""
    meet_s: float = 1.0
    """How long a new neighbour has to tell whom it serves before it is handed copies."""
    silent_s: float = 2.0
    """How long a neighbour on a route may not even say that it has an envelope, where another route is known."""
    receipt_s: float = 3.0
    receipt_hop_s: float = 0.5
    receipt_max_s: float = 3_600.0
    """The wait for a receipt before another neighbour is tried, and what each hop adds; it doubles to the last."""
    proofs: int = 16_384
    """Receipts known of envelopes that were here; the one that expires first is forgotten."""
    proof_rate: float = 0.1
    proof_burst: int = 256
    """Receipts of envelopes never seen that a link may bring a second for long, and at once; more are dropped: they
    cannot be told from made-up ones, and each that is taken goes round the whole network."""

    # routes
    route_radius: int = 3
    """Links from a user's node within which its announce is told; farther ones are asked for (mesh.queries)."""
    routes: int = 2_048
    """Destinations in the table; one of the link that brought most gives way (mesh.routes)."""
    routes_told: int = 128
    """Destinations told to one neighbour; the farthest gives way. Beyond them it asks, and is answered at once."""
    route_rate: float = 10.0
    route_burst: int = 32
    """Routes a second told to one neighbour for long, and at once."""
    route_checks: int = 256
    """Announces in a neighbour's routes whose signatures are verified at once, and twice ``route_rate`` a second."""
    route_delay_s: float = 0.5
    route_spread_s: float = 1.5
    """The wait before a changed route is told, so that several go together, and what chance adds to it at most."""
    flap_min_s: float = 60.0
    flap_s: float = 600.0
    """How long a link that keeps failing must last before it counts for routes: from the first, doubling, to the last,
    which is also the life of a link that does not fail."""
    route_hold_s: float = 3.0
    """The wait, once a route is lost, before one is taken that could be a loop."""
    route_idle_s: float = 1_800.0
    """A route that was asked for and used no longer is forgotten; one in use gives way last."""
    route_sweep_s: float = 300.0
    """How often routes that were asked for are looked through."""
    scores: int = 256
    """Neighbours whose receipts are counted; the one heard of longest ago gives way."""
    score_s: float = 1_800.0
    """Half of what speaks against a neighbour is forgiven in that time."""
    searches: int = 256
    """Addresses asked for by this node; the one wanted longest ago gives way, what is only relayed first."""
    search_min_s: float = 4.0
    search_max_s: float = 3_600.0
    """The first and the last wait before an address is asked for again; one not wanted for the last is forgotten."""
    search_rate: float = 0.5
    search_burst: int = 16
    """Queries a second this node makes for long, and at once; for what is only relayed a quarter of that beside it."""
    query_rate: float = 2.0
    query_burst: int = 32
    """Queries a second one neighbour may bring for long, and at once; more are dropped."""
    late_queries: int = 64
    late_query_s: float = 1.5
    """Queries that came over lossy links and wait for the same over better ones, and for how long at most; more do not
    wait."""
    wide_rate: float = 0.1
    wide_burst: int = 16
    """Queries a second that leave this node over all its links for long, and at once; more go over the tree alone."""
    asker_rate: float = 0.5
    asker_burst: int = 16
    """The same of one asking node."""
    askers: int = 2_048
    """Asking nodes remembered, by which queries are known again; the one heard of longest ago gives way."""
    asked: int = 1_024
    asked_s: float = 60.0
    """Addresses asked for by others, and how long the answer is passed on; the oldest gives way."""
    renew_s: float = 60.0
    """The least time between two new announces of one user made because a query came again."""
    probes: int = 256
    """Probes on their way through this node; the oldest gives way."""
    pings: int = 32
    """Probes of this node's users; more are refused."""
    probe_s: float = 10.0
    """A probe that is not answered by then has failed."""
    probe_rate: float = 5.0
    probe_burst: int = 20
    """Probes a second one neighbour may bring for long, and at once; more are dropped."""

    # broadcasts
    flood_bytes: int = 2 * MIB
    """Bytes of channel envelopes kept, each with what it costs; who gives way: mesh.flooded."""
    flood_link_percent: int = 50
    flood_own_percent: int = 25
    """The part of them that may have come over one neighbour, and that may be from local users."""
    known_ids: int = 16_384
    """Ids that are not taken again beside those kept; the one that is over first is forgotten."""
    flood_rate: float = 64.0 * KIB
    """Bytes of channel envelopes a second one neighbour may bring for long; bursts of five seconds' worth."""
    flood_sender_percent: int = 50
    flood_senders: int = 32
    """The part of that rate for one sender, and senders told apart on one link; the one heard of longest ago goes."""
    ihave_s: float = 0.3
    """The wait before lazy links are told of new broadcasts, so that several go together."""
    ihave_ids: int = 256
    """Ids that wait to be told to one link; more are left to reconciliation."""
    graft_s: float = 0.7
    """The wait for a broadcast that was heard of, before it is asked for and before another link is asked."""
    missing_ids: int = 2_048
    missing_link: int = 64
    """Broadcasts waited for, and of them those of which one link told first; more are left to reconciliation."""
    deaf_s: float = 60.0
    """A link that told of ``missing_link`` broadcasts in a row that it did not give is not listened to for so long."""
    supply_rate: float = 16.0 * KIB
    """Bytes a second of what a neighbour missed; bursts of four seconds' worth. Every node takes that from a link."""
    supply_ids: int = 512
    """Things that wait for one link; more are found missing again."""
    supply_pause_s: float = 300.0
    """A neighbour without room is sent nothing that it missed for so long."""
    reconcile_min_s: float = 60.0
    reconcile_max_s: float = 3_600.0
    """The wait between comparisons on one link: from the first to the last, doubling while nothing comes of them."""
    reconcile_soon_s: float = 5.0
    """The wait where much came of one."""
    reconcile_burst: int = 64
    """Messages of comparisons from one link at once, and two a second for long; more are dropped."""
    reconcile_ids: int = 1_024
    """Things sent or asked for by comparisons that are remembered for one link; the oldest is forgotten."""
    channels: int = 256
    """Channels that users of this node read; more are not read."""

    # keys and sessions
    sessions: int = 4_096
    """Sessions of local users with others (about 2 KiB each); who gives way is told in mesh.pairs. 0: none are begun,
    taken up or asked for, and every message is sealed to the recipient's identity key."""
    strangers_percent: int = 25
    """The part of them for peers to whom no user here has ever written."""
    session_jump: int = 0
    """Numbers left out in every session after a start: more than what a store in RAM may have lost."""
    keys_wait_s: float = 5.0
    """How long a first message waits for the recipient's keys, where that can be reached."""
    keys_search_s: float = 2.5
    """How long it waits for a route over which keys could be asked for; less than ``spray_s``."""
    keys_again_s: float = 600.0
    """The wait before a peer that did not answer is asked for keys again."""
    keys_held: int = 16
    keys_held_bytes: int = 64 * KIB
    """Messages that wait for keys, and the bytes of their texts; more do not wait."""
    keys_asked: int = 256
    """Peers remembered as asked for keys; the one asked longest ago gives way."""
    keys_expected: int = 1_024
    """Envelopes that keys may come about; the oldest is forgotten."""
    keys_owed: int = 256
    """Peers that are to get keys once they can be reached; the oldest is forgotten."""
    keys_rate: float = 1.0
    keys_burst: int = 64
    """Bundles of keys made a second for long, and at once; more wait."""
    keys_seek_rate: float = 0.1
    keys_seek_burst: int = 8
    """Searches a second for peers that are to get keys, for long and at once; others get them when a route comes."""
    keys_told: int = 1_024
    """Peers remembered as having been sent keys; the one sent to longest ago is forgotten."""
    keys_wanted_s: float = 10.0
    keys_text_s: float = 3_600.0
    keys_renew_s: float = 600.0
    """The least time before one peer is sent keys again: when it asks, when it has none, when it cannot be read."""
    control_rate: float = 1.0
    control_burst: int = 64
    """Words about keys that one neighbour may bring a second for long, and at once, from all senders of one standing
    (mesh.ingress); more are refused for now."""
    agreement_rate: float = 1.0
    agreement_burst: int = 32
    """The same of sessions that others begin."""
    vain_rate: float = 50.0
    vain_burst: int = 256
    """The same of envelopes for users here that were verified and brought nothing."""
    vain_sender_percent: int = 25
    vain_senders: int = 32
    """The part of that for one sender, and senders told apart; the one that failed longest ago is forgotten."""
    put_off_s: float = 2.0
    """The wait between two that came from one neighbour and are not tried by their recipient's node now (LATER)."""
    pairs_proven: int = 1_024
    """Senders and recipients next door remembered because something of the one was taken by the other's node, so that
    what follows is not put off with strangers' (mesh.moving); those heard of longest ago are forgotten."""
    senders_opened: int = 1_024
    """Senders remembered because something of theirs was opened; the one heard of longest ago is forgotten."""
    controls: int = 256
    """Words about keys from here on their way; more are not sent."""
    prekey_s: int = 7 * 86_400
    prekey_keep_s: int = 30 * 86_400
    """Seconds of life after which a signed prekey is replaced, and for which it is kept after that: the longest ttl."""
    one_times: int = 64
    one_time_s: int = 30 * 86_400
    """One-time prekeys of one user that are out, and for how long they are good; with more out bundles have none."""
    bundles: int = 256
    bundle_s: int = 30 * 86_400
    """Bundles of others that were not used yet, and for how long they are good; the oldest gives way."""
    session_turn_s: int = 86_400
    """Seconds of life after which who only reads sends new keys."""
    unstored: int = 256
    """Messages opened in sessions whose keys could still be put back; of older ones they are gone."""

    # other domains
    outside_percent: int = 25
    """The part of an inbox that may come from other domains."""
    outward_window: int = 32
    """What is on its way from here to gateways; more waits in the outbox."""
    outward_rate: float = 5.0
    outward_burst: int = 500
    outward_users: int = 256
    """What one user may have a gateway carry a second for long, and at once; for how many users that is counted."""
    inward_count: int = 128
    inward_domain: int = 64
    """What a gateway has on its way into the mesh, from all domains and from one; more is refused for now."""
    outside_words: int = 128
    """Receipts, answers and questions on their way from here to gateways or from one; more are refused for now."""
    gateway_s: float = 15.0
    gateway_max_s: float = 1_800.0
    gateway_tired_s: float = 300.0
    """The wait for a gateway's receipt, at first and at most, and how long one that sent none is tried as the last."""
    outside_again_s: float = 3_600.0
    outside_turn_s: float = 60.0
    """The wait for the proof from over there before a message is sent once more; doubles each time. The second where
    the mesh has another gateway, whose turn it is then: the first may have an uplink that leads nowhere."""
    lookups: int = 32
    lookup_s: float = 20.0
    fetch_s: float = 10.0

    # time
    skew_s: float = 300.0
    """Two trusted clocks that differ by more are not both right: neither judges an envelope's age."""
    checkpoint_min_s: float = 60.0
    checkpoint_max_s: float = 3_600.0
    """How often the clock of ages is saved while something waits; the wait doubles from the first to the last."""
