# Between a client and its home server: ALPN capnp, TLS without a client certificate, one bidirectional QUIC stream that
# carries Cap'n Proto RPC (rpc.capnp); the bootstrap capability is NodeService. docs/protocol.md tells the rest.
#
# File id, ordinals, names and types are those of the reference where they are known. What is not known of it, and how
# this project fixed it:
#   - the order of @12 to @17 (only the six names are known): as its later protobuf messages list them;
#   - parameters known by name only: in the order of the sources that name them, `auth` last up to @20, and first from
#     @21 on and in createChannel, as in the methods of that age whose order is known;
#   - parameters added to methods later (auth of @6 and @7, identityKey of @9 and @11, ttlSecs): appended;
#   - integers of unknown width: as in the later protobuf messages.

@0xd5ca5648a9cc1c28;

struct Auth {
  version @0 :UInt16;      # 1
  accessToken @1 :Data;    # not empty
  deviceId @2 :Data;       # empty, or 16 bytes of a UUID
}

struct Envelope {
  seq @0 :UInt64;          # rises by one in each inbox
  data @1 :Data;
}

interface NodeService {
  uploadKeyPackage @0 (identityKey :Data, package :Data, auth :Auth) -> (fingerprint :Data);
  fetchKeyPackage @1 (identityKey :Data, auth :Auth) -> (package :Data);

  enqueue @2 (recipientKey :Data, payload :Data, channelId :Data, version :UInt16, auth :Auth, ttlSecs :UInt32)
    -> (seq :UInt64, deliveryProof :Data,
        timestamp :UInt64);  # ours: Unix seconds in the proof, so that the sender can check it; 0: no trusted clock
  fetch @3 (recipientKey :Data, channelId :Data, version :UInt16, auth :Auth, limit :UInt32)
    -> (payloads :List(Envelope));
  fetchWait @4 (recipientKey :Data, channelId :Data, version :UInt16, timeoutMs :UInt64, auth :Auth, limit :UInt32)
    -> (payloads :List(Envelope));
  health @5 () -> (status :Text);

  uploadHybridKey @6 (identityKey :Data, hybridPublicKey :Data, auth :Auth) -> ();
  fetchHybridKey @7 (identityKey :Data, auth :Auth) -> (hybridPublicKey :Data);

  opaqueRegisterStart @8 (username :Text, request :Data) -> (response :Data);
  opaqueRegisterFinish @9 (username :Text, upload :Data, identityKey :Data) -> (success :Bool);
  opaqueLoginStart @10 (username :Text, request :Data) -> (response :Data);
  opaqueLoginFinish @11 (username :Text, finalization :Data, identityKey :Data) -> (sessionToken :Data);

  publishEndpoint @12 (identityKey :Data, nodeAddr :Data, auth :Auth) -> ();
  resolveEndpoint @13 (identityKey :Data, auth :Auth) -> (nodeAddr :Data);
  peek @14 (recipientKey :Data, channelId :Data, version :UInt16, auth :Auth, limit :UInt32)
    -> (payloads :List(Envelope));
  ack @15 (recipientKey :Data, channelId :Data, version :UInt16, seqUpTo :UInt64, auth :Auth) -> ();
  fetchHybridKeys @16 (identityKeys :List(Data), auth :Auth) -> (keys :List(Data));
  batchEnqueue @17 (recipientKeys :List(Data), payload :Data, channelId :Data, version :UInt16, auth :Auth,
      ttlSecs :UInt32)
    -> (seqs :List(UInt64));

  createChannel @18 (auth :Auth, peerKey :Data) -> (channelId :Data, wasNew :Bool);
  resolveUser @19 (username :Text, auth :Auth) -> (identityKey :Data, inclusionProof :Data);
  resolveIdentity @20 (identityKey :Data, auth :Auth) -> (username :Text);
  uploadBlob @21 (auth :Auth, blobHash :Data, chunk :Data, offset :UInt64, totalSize :UInt64, mimeType :Text)
    -> (blobId :Data);
  downloadBlob @22 (auth :Auth, blobId :Data, offset :UInt64, length :UInt32)
    -> (chunk :Data, totalSize :UInt64, mimeType :Text);
  deleteAccount @23 (auth :Auth) -> (success :Bool);
}
