# Between the relays of two domains: ALPN quicproquo/federation/1, mutual TLS, one bidirectional QUIC stream that carries
# Cap'n Proto RPC (rpc.capnp); the bootstrap capability is FederationService. docs/protocol.md tells the rest.
#
# File id, ordinals, names and types of @0 to @5 are those of the reference. What stands behind "ours" was appended by
# this project: a peer that lacks it sends zeros and ignores what it gets.

@0xb7e3f4a1c9d82056;

struct FederationAuth {
  origin @0 :Text;  # domain of the calling relay; must be the one its certificate stands for
}

interface FederationService {
  relayEnqueue @0 (
      recipientKey :Data,      # 32 bytes: the recipient's Ed25519 key
      payload :Data,
      channelId :Data,         # empty: the recipient's inbox
      version :UInt16,         # 1
      auth :FederationAuth,
      ttlSecs :UInt32,         # ours: seconds left to live; 0: not told, the receiver's default holds
      hops :UInt8,             # ours: domains passed so far, the sender's included, so that loops end; 0: not told
      messageId :Data,         # ours: 32 bytes that name the message, for duplicates; empty: SHA-256 of the payload
      home :Text               # ours: the domain that a broadcast is from, which the caller may speak for; empty: its own
    ) -> (seq :UInt64);        # the receiver's own custody number

  # One payload for all recipients is what a group of MLS needs, whose members all open the same message. Users of this mesh
  # speak no MLS: an envelope is signed for one recipient and sealed in a session of two, so each has a payload of its own
  # and is handed over by relayEnqueue, many calls at once. Several different keys are refused with failed, before anything
  # is taken; a batch for one key, however often it is named, is taken, and answered as often.
  relayBatchEnqueue @1 (
      recipientKeys :List(Data),  # 1 to 64, all the same
      payload :Data,
      channelId :Data,
      version :UInt16,
      auth :FederationAuth,
      ttlSecs :UInt32,         # ours, as above
      hops :UInt8,             # ours, as above
      messageId :Data,         # ours, as above; one for all recipients
      home :Text               # ours, as above
    ) -> (seqs :List(UInt64)); # in the order of recipientKeys

  # What the keys are is ours: in the reference a package is one of MLS, and the hybrid key one of its own hybrid KEM. Here
  # they are what a session of this mesh begins with, a signed bundle of prekeys (docs/protocol.md), for a user of any node
  # of the relay's mesh: there is nothing else by which one could write to somebody who is away, and a relay that takes no
  # uploads of packages (node.capnp @0) has no others. A package has a one-time prekey and is given out once, as there.
  # Empty: nobody, or nobody who answers within 10 s; an empty package beside a hybrid key: no one-time prekeys are left.
  proxyFetchKeyPackage @2 (identityKey :Data, auth :FederationAuth) -> (package :Data);
  proxyFetchHybridKey @3 (identityKey :Data, auth :FederationAuth) -> (hybridPublicKey :Data);

  proxyResolveUser @4 (username :Text, auth :FederationAuth) -> (identityKey :Data);
  federationHealth @5 () -> (status :Text, serverDomain :Text);
}
