/* Keccak (FIPS 202), the part of ML-KEM and of X-Wing that hashes. */
#include "keccak.h"

#include <string.h>

#include "utils.h"

static inline uint64_t rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

/* Keccak-f[1600] (FIPS 202 section 3.3), its loops left as loops: libsodium's takes 20 KB. */
static void permute(uint64_t *a)
{
    static const uint64_t iota[24] = {
        0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000, 0x000000000000808B,
        0x0000000080000001, 0x8000000080008081, 0x8000000000008009, 0x000000000000008A, 0x0000000000000088,
        0x0000000080008009, 0x000000008000000A, 0x000000008000808B, 0x800000000000008B, 0x8000000000008089,
        0x8000000000008003, 0x8000000000008002, 0x8000000000000080, 0x000000000000800A, 0x800000008000000A,
        0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
    };
    /* Along the cycle that pi makes of all lanes but the first: where each goes, and by how much rho turns it. */
    static const uint8_t place[24] = {10, 7, 11, 17, 18, 3, 5, 16, 8, 21, 24, 4, 15, 23, 19, 13, 12, 2, 20, 14, 22, 9, 6, 1};
    static const uint8_t turn[24] = {1, 3, 6, 10, 15, 21, 28, 36, 45, 55, 2, 14, 27, 41, 56, 8, 25, 43, 62, 18, 39, 61, 20, 44};
    uint64_t c[5], moved;
    for (unsigned round = 0; round < 24; round++) {
        for (unsigned x = 0; x < 5; x++) {
            c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
        }
        for (unsigned x = 0; x < 5; x++) {
            uint64_t d = c[(x + 4) % 5] ^ rotate(c[(x + 1) % 5], 1);
            for (unsigned y = 0; y < 25; y += 5) {
                a[x + y] ^= d;
            }
        }
        moved = a[1];
        for (unsigned i = 0; i < 24; i++) {
            uint64_t held = a[place[i]];
            a[place[i]] = rotate(moved, turn[i]);
            moved = held;
        }
        for (unsigned y = 0; y < 25; y += 5) {
            for (unsigned x = 0; x < 5; x++) {
                c[x] = a[x + y];
            }
            for (unsigned x = 0; x < 5; x++) {
                a[x + y] = c[x] ^ (~c[(x + 1) % 5] & c[(x + 2) % 5]);
            }
        }
        a[0] ^= iota[round];
    }
    sodium_memzero(c, sizeof c);
}

static void xor_byte(QpqKeccak *state, size_t at, uint8_t value)
{
    state->lane[at / 8] ^= (uint64_t)value << 8 * (at % 8);
}

size_t qpq_keccak_feed(QpqKeccak *state, size_t rate, size_t at, const uint8_t *input, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        xor_byte(state, at++, input[i]);
        if (at == rate) {
            permute(state->lane);
            at = 0;
        }
    }
    return at;
}

void qpq_keccak_end(QpqKeccak *state, size_t rate, uint8_t suffix, size_t at)
{
    xor_byte(state, at, suffix);
    xor_byte(state, rate - 1, 0x80);
}

void qpq_keccak_squeeze(QpqKeccak *state, size_t rate, uint8_t *output, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (i % rate == 0) {
            permute(state->lane);
        }
        output[i] = (uint8_t)(state->lane[i % rate / 8] >> 8 * (i % 8));
    }
}

void qpq_keccak_absorb(QpqKeccak *state, size_t rate, uint8_t suffix, const uint8_t *input, size_t length)
{
    memset(state, 0, sizeof *state);
    qpq_keccak_end(state, rate, suffix, qpq_keccak_feed(state, rate, 0, input, length));
}

void qpq_keccak_sponge(size_t rate, uint8_t suffix, uint8_t *output, size_t output_length, const uint8_t *input,
                       size_t input_length)
{
    QpqKeccak state;
    qpq_keccak_absorb(&state, rate, suffix, input, input_length);
    qpq_keccak_squeeze(&state, rate, output, output_length);
    sodium_memzero(&state, sizeof state);
}
