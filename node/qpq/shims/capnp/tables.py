"""Layouts of the structs in schemas/*.capnp: made by schemas/make_tables.py, not by hand.

A struct is (words of data, pointers, fields), a field (name, kind, offset, more). For numbers the offset counts bits
and ``more`` is the default, for pointers it counts pointers and ``more`` is the struct, or a list's (kind, more).
"""

# fmt: off
# FederationAuth
_S0 = (0, 1, (
    ("origin", "text", 0, None),
))

# FederationService.relayEnqueue$Params
_S1 = (1, 6, (
    ("recipientKey", "data", 0, None),
    ("payload", "data", 1, None),
    ("channelId", "data", 2, None),
    ("version", "u16", 0, 0),
    ("auth", "struct", 3, _S0),
    ("ttlSecs", "u32", 32, 0),
    ("hops", "u8", 16, 0),
    ("messageId", "data", 4, None),
    ("home", "text", 5, None),
))

# FederationService.relayEnqueue$Results
_S2 = (1, 0, (
    ("seq", "u64", 0, 0),
))

# FederationService.relayBatchEnqueue$Params
_S3 = (1, 6, (
    ("recipientKeys", "list", 0, ("data", None)),
    ("payload", "data", 1, None),
    ("channelId", "data", 2, None),
    ("version", "u16", 0, 0),
    ("auth", "struct", 3, _S0),
    ("ttlSecs", "u32", 32, 0),
    ("hops", "u8", 16, 0),
    ("messageId", "data", 4, None),
    ("home", "text", 5, None),
))

# FederationService.relayBatchEnqueue$Results
_S4 = (0, 1, (
    ("seqs", "list", 0, ("u64", 0)),
))

# FederationService.proxyFetchKeyPackage$Params
_S5 = (0, 2, (
    ("identityKey", "data", 0, None),
    ("auth", "struct", 1, _S0),
))

# FederationService.proxyFetchKeyPackage$Results
_S6 = (0, 1, (
    ("package", "data", 0, None),
))

# FederationService.proxyFetchHybridKey$Params
_S7 = (0, 2, (
    ("identityKey", "data", 0, None),
    ("auth", "struct", 1, _S0),
))

# FederationService.proxyFetchHybridKey$Results
_S8 = (0, 1, (
    ("hybridPublicKey", "data", 0, None),
))

# FederationService.proxyResolveUser$Params
_S9 = (0, 2, (
    ("username", "text", 0, None),
    ("auth", "struct", 1, _S0),
))

# FederationService.proxyResolveUser$Results
_S10 = (0, 1, (
    ("identityKey", "data", 0, None),
))

# FederationService.federationHealth$Params
_S11 = (0, 0, ())

# FederationService.federationHealth$Results
_S12 = (0, 2, (
    ("status", "text", 0, None),
    ("serverDomain", "text", 1, None),
))

# Auth
_S13 = (1, 2, (
    ("version", "u16", 0, 0),
    ("accessToken", "data", 0, None),
    ("deviceId", "data", 1, None),
))

# NodeService.uploadKeyPackage$Params
_S14 = (0, 3, (
    ("identityKey", "data", 0, None),
    ("package", "data", 1, None),
    ("auth", "struct", 2, _S13),
))

# NodeService.uploadKeyPackage$Results
_S15 = (0, 1, (
    ("fingerprint", "data", 0, None),
))

# NodeService.fetchKeyPackage$Params
_S16 = (0, 2, (
    ("identityKey", "data", 0, None),
    ("auth", "struct", 1, _S13),
))

# NodeService.fetchKeyPackage$Results
_S17 = (0, 1, (
    ("package", "data", 0, None),
))

# NodeService.enqueue$Params
_S18 = (1, 4, (
    ("recipientKey", "data", 0, None),
    ("payload", "data", 1, None),
    ("channelId", "data", 2, None),
    ("version", "u16", 0, 0),
    ("auth", "struct", 3, _S13),
    ("ttlSecs", "u32", 32, 0),
))

# NodeService.enqueue$Results
_S19 = (2, 1, (
    ("seq", "u64", 0, 0),
    ("deliveryProof", "data", 0, None),
    ("timestamp", "u64", 64, 0),
))

# NodeService.fetch$Params
_S20 = (1, 3, (
    ("recipientKey", "data", 0, None),
    ("channelId", "data", 1, None),
    ("version", "u16", 0, 0),
    ("auth", "struct", 2, _S13),
    ("limit", "u32", 32, 0),
))

# Envelope
_S21 = (1, 1, (
    ("seq", "u64", 0, 0),
    ("data", "data", 0, None),
))

# NodeService.fetch$Results
_S22 = (0, 1, (
    ("payloads", "list", 0, ("struct", _S21)),
))

# NodeService.fetchWait$Params
_S23 = (2, 3, (
    ("recipientKey", "data", 0, None),
    ("channelId", "data", 1, None),
    ("version", "u16", 0, 0),
    ("timeoutMs", "u64", 64, 0),
    ("auth", "struct", 2, _S13),
    ("limit", "u32", 32, 0),
))

# NodeService.fetchWait$Results
_S24 = (0, 1, (
    ("payloads", "list", 0, ("struct", _S21)),
))

# NodeService.health$Params
_S25 = (0, 0, ())

# NodeService.health$Results
_S26 = (0, 1, (
    ("status", "text", 0, None),
))

# NodeService.uploadHybridKey$Params
_S27 = (0, 3, (
    ("identityKey", "data", 0, None),
    ("hybridPublicKey", "data", 1, None),
    ("auth", "struct", 2, _S13),
))

# NodeService.uploadHybridKey$Results
_S28 = (0, 0, ())

# NodeService.fetchHybridKey$Params
_S29 = (0, 2, (
    ("identityKey", "data", 0, None),
    ("auth", "struct", 1, _S13),
))

# NodeService.fetchHybridKey$Results
_S30 = (0, 1, (
    ("hybridPublicKey", "data", 0, None),
))

# NodeService.opaqueRegisterStart$Params
_S31 = (0, 2, (
    ("username", "text", 0, None),
    ("request", "data", 1, None),
))

# NodeService.opaqueRegisterStart$Results
_S32 = (0, 1, (
    ("response", "data", 0, None),
))

# NodeService.opaqueRegisterFinish$Params
_S33 = (0, 3, (
    ("username", "text", 0, None),
    ("upload", "data", 1, None),
    ("identityKey", "data", 2, None),
))

# NodeService.opaqueRegisterFinish$Results
_S34 = (1, 0, (
    ("success", "bool", 0, 0),
))

# NodeService.opaqueLoginStart$Params
_S35 = (0, 2, (
    ("username", "text", 0, None),
    ("request", "data", 1, None),
))

# NodeService.opaqueLoginStart$Results
_S36 = (0, 1, (
    ("response", "data", 0, None),
))

# NodeService.opaqueLoginFinish$Params
_S37 = (0, 3, (
    ("username", "text", 0, None),
    ("finalization", "data", 1, None),
    ("identityKey", "data", 2, None),
))

# NodeService.opaqueLoginFinish$Results
_S38 = (0, 1, (
    ("sessionToken", "data", 0, None),
))

# NodeService.publishEndpoint$Params
_S39 = (0, 3, (
    ("identityKey", "data", 0, None),
    ("nodeAddr", "data", 1, None),
    ("auth", "struct", 2, _S13),
))

# NodeService.publishEndpoint$Results
_S40 = (0, 0, ())

# NodeService.resolveEndpoint$Params
_S41 = (0, 2, (
    ("identityKey", "data", 0, None),
    ("auth", "struct", 1, _S13),
))

# NodeService.resolveEndpoint$Results
_S42 = (0, 1, (
    ("nodeAddr", "data", 0, None),
))

# NodeService.peek$Params
_S43 = (1, 3, (
    ("recipientKey", "data", 0, None),
    ("channelId", "data", 1, None),
    ("version", "u16", 0, 0),
    ("auth", "struct", 2, _S13),
    ("limit", "u32", 32, 0),
))

# NodeService.peek$Results
_S44 = (0, 1, (
    ("payloads", "list", 0, ("struct", _S21)),
))

# NodeService.ack$Params
_S45 = (2, 3, (
    ("recipientKey", "data", 0, None),
    ("channelId", "data", 1, None),
    ("version", "u16", 0, 0),
    ("seqUpTo", "u64", 64, 0),
    ("auth", "struct", 2, _S13),
))

# NodeService.ack$Results
_S46 = (0, 0, ())

# NodeService.fetchHybridKeys$Params
_S47 = (0, 2, (
    ("identityKeys", "list", 0, ("data", None)),
    ("auth", "struct", 1, _S13),
))

# NodeService.fetchHybridKeys$Results
_S48 = (0, 1, (
    ("keys", "list", 0, ("data", None)),
))

# NodeService.batchEnqueue$Params
_S49 = (1, 4, (
    ("recipientKeys", "list", 0, ("data", None)),
    ("payload", "data", 1, None),
    ("channelId", "data", 2, None),
    ("version", "u16", 0, 0),
    ("auth", "struct", 3, _S13),
    ("ttlSecs", "u32", 32, 0),
))

# NodeService.batchEnqueue$Results
_S50 = (0, 1, (
    ("seqs", "list", 0, ("u64", 0)),
))

# NodeService.createChannel$Params
_S51 = (0, 2, (
    ("auth", "struct", 0, _S13),
    ("peerKey", "data", 1, None),
))

# NodeService.createChannel$Results
_S52 = (1, 1, (
    ("channelId", "data", 0, None),
    ("wasNew", "bool", 0, 0),
))

# NodeService.resolveUser$Params
_S53 = (0, 2, (
    ("username", "text", 0, None),
    ("auth", "struct", 1, _S13),
))

# NodeService.resolveUser$Results
_S54 = (0, 2, (
    ("identityKey", "data", 0, None),
    ("inclusionProof", "data", 1, None),
))

# NodeService.resolveIdentity$Params
_S55 = (0, 2, (
    ("identityKey", "data", 0, None),
    ("auth", "struct", 1, _S13),
))

# NodeService.resolveIdentity$Results
_S56 = (0, 1, (
    ("username", "text", 0, None),
))

# NodeService.uploadBlob$Params
_S57 = (2, 4, (
    ("auth", "struct", 0, _S13),
    ("blobHash", "data", 1, None),
    ("chunk", "data", 2, None),
    ("offset", "u64", 0, 0),
    ("totalSize", "u64", 64, 0),
    ("mimeType", "text", 3, None),
))

# NodeService.uploadBlob$Results
_S58 = (0, 1, (
    ("blobId", "data", 0, None),
))

# NodeService.downloadBlob$Params
_S59 = (2, 2, (
    ("auth", "struct", 0, _S13),
    ("blobId", "data", 1, None),
    ("offset", "u64", 0, 0),
    ("length", "u32", 64, 0),
))

# NodeService.downloadBlob$Results
_S60 = (1, 2, (
    ("chunk", "data", 0, None),
    ("totalSize", "u64", 0, 0),
    ("mimeType", "text", 1, None),
))

# NodeService.deleteAccount$Params
_S61 = (0, 1, (
    ("auth", "struct", 0, _S13),
))

# NodeService.deleteAccount$Results
_S62 = (1, 0, (
    ("success", "bool", 0, 0),
))

FILES = {
    "federation.capnp": {
        "FederationService": {
            "relayEnqueue": (_S1, _S2),
            "relayBatchEnqueue": (_S3, _S4),
            "proxyFetchKeyPackage": (_S5, _S6),
            "proxyFetchHybridKey": (_S7, _S8),
            "proxyResolveUser": (_S9, _S10),
            "federationHealth": (_S11, _S12),
        },
    },
    "node.capnp": {
        "NodeService": {
            "uploadKeyPackage": (_S14, _S15),
            "fetchKeyPackage": (_S16, _S17),
            "enqueue": (_S18, _S19),
            "fetch": (_S20, _S22),
            "fetchWait": (_S23, _S24),
            "health": (_S25, _S26),
            "uploadHybridKey": (_S27, _S28),
            "fetchHybridKey": (_S29, _S30),
            "opaqueRegisterStart": (_S31, _S32),
            "opaqueRegisterFinish": (_S33, _S34),
            "opaqueLoginStart": (_S35, _S36),
            "opaqueLoginFinish": (_S37, _S38),
            "publishEndpoint": (_S39, _S40),
            "resolveEndpoint": (_S41, _S42),
            "peek": (_S43, _S44),
            "ack": (_S45, _S46),
            "fetchHybridKeys": (_S47, _S48),
            "batchEnqueue": (_S49, _S50),
            "createChannel": (_S51, _S52),
            "resolveUser": (_S53, _S54),
            "resolveIdentity": (_S55, _S56),
            "uploadBlob": (_S57, _S58),
            "downloadBlob": (_S59, _S60),
            "deleteAccount": (_S61, _S62),
        },
    },
}
