"""ML-KEM-768 from the text of FIPS 203, slow and with all randomness as arguments: it says what others should say.

The algorithm numbers are the standard's. For tests and test vectors only: it takes no care of time or memory.
"""

from __future__ import annotations

from hashlib import sha3_256, sha3_512, shake_128, shake_256

from qpq.crypto.errors import CryptoError

Q, K, DU, DV = 3329, 3, 10, 4
PUBLIC, SECRET, CIPHERTEXT = 1184, 2400, 1088
Poly = list[int]


def _reversed_bits(number: int) -> int:
    return int(f"{number:07b}"[::-1], 2)


ZETAS = [pow(17, _reversed_bits(i), Q) for i in range(128)]
GAMMAS = [pow(17, 2 * _reversed_bits(i) + 1, Q) for i in range(128)]


def encode(poly: Poly, bits: int) -> bytes:
    """Return algorithm 5."""
    number = sum(value << bits * i for i, value in enumerate(poly))
    return number.to_bytes(32 * bits, "little")


def decode(data: bytes, bits: int) -> Poly:
    """Return algorithm 6."""
    number, mask = int.from_bytes(data, "little"), (1 << bits) - 1
    return [(number >> bits * i & mask) % (Q if bits == 12 else 1 << bits) for i in range(256)]


def compress(poly: Poly, bits: int) -> Poly:
    return [((value << bits) + Q // 2) // Q % (1 << bits) for value in poly]


def decompress(poly: Poly, bits: int) -> Poly:
    return [(value * Q + (1 << bits - 1)) >> bits for value in poly]


def sample_uniform(seed: bytes, column: int, row: int) -> Poly:
    """Return algorithm 7."""
    stream = shake_128(seed + bytes((column, row))).digest(168 * 16)
    found: Poly = []
    for i in range(0, len(stream), 3):
        low = stream[i] | (stream[i + 1] & 15) << 8
        high = stream[i + 1] >> 4 | stream[i + 2] << 4
        found += [value for value in (low, high) if value < Q]
    assert len(found) >= 256
    return found[:256]


def sample_binomial(seed: bytes, nonce: int) -> Poly:
    """Return algorithm 8 with eta = 2."""
    number = int.from_bytes(shake_256(seed + bytes((nonce,))).digest(128), "little")
    quads = [number >> 4 * i & 15 for i in range(256)]
    return [((quad & 1) + (quad >> 1 & 1) - (quad >> 2 & 1) - (quad >> 3)) % Q for quad in quads]


def ntt(poly: Poly) -> Poly:
    """Return algorithm 9."""
    poly, at, length = poly[:], 1, 128
    while length >= 2:
        for start in range(0, 256, 2 * length):
            zeta, at = ZETAS[at], at + 1
            for j in range(start, start + length):
                turned = zeta * poly[j + length] % Q
                poly[j + length], poly[j] = (poly[j] - turned) % Q, (poly[j] + turned) % Q
        length //= 2
    return poly


def inverse_ntt(poly: Poly) -> Poly:
    """Return algorithm 10."""
    poly, at, length = poly[:], 127, 2
    while length <= 128:
        for start in range(0, 256, 2 * length):
            zeta, at = ZETAS[at], at - 1
            for j in range(start, start + length):
                held = poly[j]
                poly[j] = (held + poly[j + length]) % Q
                poly[j + length] = zeta * (poly[j + length] - held) % Q
        length *= 2
    return [value * 3303 % Q for value in poly]


def multiply(left: Poly, right: Poly) -> Poly:
    """Return algorithm 11."""
    product: Poly = []
    for i, gamma in enumerate(GAMMAS):
        a, b, c, d = *left[2 * i : 2 * i + 2], *right[2 * i : 2 * i + 2]
        product += [(a * c + b * d * gamma) % Q, (a * d + b * c) % Q]
    return product


def add(*polys: Poly) -> Poly:
    return [sum(values) % Q for values in zip(*polys, strict=True)]


def dot(left: list[Poly], right: list[Poly]) -> Poly:
    return add(*(multiply(a, b) for a, b in zip(left, right, strict=True)))


def matrix(seed: bytes) -> list[list[Poly]]:
    return [[sample_uniform(seed, column, row) for column in range(K)] for row in range(K)]


def keygen(seed: bytes, domain: bytes = bytes((K,))) -> tuple[bytes, bytes]:
    """Return public and secret key of the 64 bytes d || z (algorithms 13 and 16); the draft had no ``domain``."""
    expanded = sha3_512(seed[:32] + domain).digest()
    rho, sigma = expanded[:32], expanded[32:]
    secret = [ntt(sample_binomial(sigma, i)) for i in range(K)]
    error = [ntt(sample_binomial(sigma, K + i)) for i in range(K)]
    public = [add(dot(row, secret), error[i]) for i, row in enumerate(matrix(rho))]
    ek = b"".join(encode(poly, 12) for poly in public) + rho
    dk = b"".join(encode(poly, 12) for poly in secret)
    return ek, dk + ek + sha3_256(ek).digest() + seed[32:]


def _encrypt(ek: bytes, message: bytes, coins: bytes) -> bytes:
    """Return algorithm 14."""
    public = [decode(ek[384 * i : 384 * i + 384], 12) for i in range(K)]
    rows = matrix(ek[384 * K :])
    y = [ntt(sample_binomial(coins, i)) for i in range(K)]
    u = [add(inverse_ntt(dot([row[i] for row in rows], y)), sample_binomial(coins, K + i)) for i in range(K)]
    v = add(inverse_ntt(dot(public, y)), sample_binomial(coins, 2 * K), decompress(decode(message, 1), 1))
    return b"".join(encode(compress(poly, DU), DU) for poly in u) + encode(compress(v, DV), DV)


def _decrypt(dk: bytes, ciphertext: bytes) -> bytes:
    """Return algorithm 15."""
    u = [ntt(decompress(decode(ciphertext[320 * i : 320 * i + 320], DU), DU)) for i in range(K)]
    v = decompress(decode(ciphertext[320 * K :], DV), DV)
    secret = [decode(dk[384 * i : 384 * i + 384], 12) for i in range(K)]
    noisy = [(a - b) % Q for a, b in zip(v, inverse_ntt(dot(secret, u)), strict=True)]
    return encode(compress(noisy, 1), 1)


def encapsulate(ek: bytes, message: bytes) -> tuple[bytes, bytes]:
    """Return ciphertext and shared secret (algorithms 17 and 20); CryptoError for what is no public key."""
    if len(ek) != PUBLIC or any(encode(decode(part, 12), 12) != part for part in (ek[:384], ek[384:768], ek[768:1152])):
        raise CryptoError("no public key")
    expanded = sha3_512(message + sha3_256(ek).digest()).digest()
    return _encrypt(ek, message, expanded[32:]), expanded[:32]


def decapsulate(dk: bytes, ciphertext: bytes) -> bytes:
    """Return the shared secret (algorithms 18 and 21); CryptoError for a damaged secret key or a wrong length."""
    ek, rest = dk[1152:2336], dk[2336:]
    if len(dk) != SECRET or len(ciphertext) != CIPHERTEXT or sha3_256(ek).digest() != rest[:32]:
        raise CryptoError("no secret key or ciphertext")
    message = _decrypt(dk, ciphertext)
    expanded = sha3_512(message + rest[:32]).digest()
    if _encrypt(ek, message, expanded[32:]) == ciphertext:
        return expanded[:32]
    return shake_256(rest[32:] + ciphertext).digest(32)


class Seeded:
    """The port of qpq.crypto.kem with randomness that follows from a name: the same run gives the same bytes."""

    def __init__(self, name: bytes) -> None:
        self._name = name
        self.drawn: list[bytes] = []
        """What was drawn: 64 bytes d || z for a key, 32 for a ciphertext."""

    def _draw(self, size: int) -> bytes:
        self.drawn.append(shake_256(self._name + len(self.drawn).to_bytes(4, "big")).digest(size))
        return self.drawn[-1]

    def keygen(self) -> tuple[bytes, bytes]:
        return keygen(self._draw(64))

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        return encapsulate(public, self._draw(32))

    def decapsulate(self, secret: bytes, ciphertext: bytes) -> bytes:
        return decapsulate(secret, ciphertext)


class Fixed(Seeded):
    """The same with given randomness: one seed of 64 bytes, one message of 32."""

    def __init__(self, seed: bytes = b"", message: bytes = b"") -> None:
        super().__init__(b"")
        self._seed, self._message = seed, message

    def _draw(self, size: int) -> bytes:
        return self._seed if size == 64 else self._message
