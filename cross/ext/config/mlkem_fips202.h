/* The hashes of FIPS 202 that mlkem-native asks for, in as little code as possible. */
#ifndef QPQ_MLKEM_FIPS202_H
#define QPQ_MLKEM_FIPS202_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "utils.h"

#define SHAKE128_RATE 168
#define SHAKE256_RATE 136
#define SHA3_256_RATE 136
#define SHA3_512_RATE 72

#define QPQ_SHAKE_SUFFIX 0x1F
#define QPQ_SHA3_SUFFIX 0x06

typedef struct {
    uint64_t lane[25];
} mlk_shake128ctx;

static inline uint64_t qpq_rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

/* Keccak-f[1600] (FIPS 202 section 3.3), its loops left as loops: libsodium's takes 20 KB. */
static void qpq_keccak(uint64_t *a)
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
            uint64_t d = c[(x + 4) % 5] ^ qpq_rotate(c[(x + 1) % 5], 1);
            for (unsigned y = 0; y < 25; y += 5) {
                a[x + y] ^= d;
            }
        }
        moved = a[1];
        for (unsigned i = 0; i < 24; i++) {
            uint64_t held = a[place[i]];
            a[place[i]] = qpq_rotate(moved, turn[i]);
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

static inline void qpq_xor_byte(mlk_shake128ctx *state, size_t at, uint8_t value)
{
    state->lane[at / 8] ^= (uint64_t)value << 8 * (at % 8);
}

static void qpq_absorb(mlk_shake128ctx *state, size_t rate, uint8_t suffix, const uint8_t *input, size_t length)
{
    size_t at = 0;
    memset(state, 0, sizeof *state);
    for (size_t i = 0; i < length; i++) {
        qpq_xor_byte(state, at++, input[i]);
        if (at == rate) {
            qpq_keccak(state->lane);
            at = 0;
        }
    }
    qpq_xor_byte(state, at, suffix);
    qpq_xor_byte(state, rate - 1, 0x80);
}

static void qpq_squeeze(mlk_shake128ctx *state, size_t rate, uint8_t *output, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (i % rate == 0) {
            qpq_keccak(state->lane);
        }
        output[i] = (uint8_t)(state->lane[i % rate / 8] >> 8 * (i % 8));
    }
}

static void qpq_sponge(size_t rate, uint8_t suffix, uint8_t *output, size_t output_length, const uint8_t *input,
                       size_t input_length)
{
    mlk_shake128ctx state;
    qpq_absorb(&state, rate, suffix, input, input_length);
    qpq_squeeze(&state, rate, output, output_length);
    sodium_memzero(&state, sizeof state);
}

static inline void mlk_shake128_init(mlk_shake128ctx *state)
{
    memset(state, 0, sizeof *state);
}

static inline void mlk_shake128_release(mlk_shake128ctx *state)
{
    sodium_memzero(state, sizeof *state);
}

static inline void mlk_shake128_absorb_once(mlk_shake128ctx *state, const uint8_t *input, size_t length)
{
    qpq_absorb(state, SHAKE128_RATE, QPQ_SHAKE_SUFFIX, input, length);
}

static inline void mlk_shake128_squeezeblocks(uint8_t *output, size_t blocks, mlk_shake128ctx *state)
{
    qpq_squeeze(state, SHAKE128_RATE, output, blocks * SHAKE128_RATE);
}

static inline void mlk_shake256(uint8_t *output, size_t output_length, const uint8_t *input, size_t input_length)
{
    qpq_sponge(SHAKE256_RATE, QPQ_SHAKE_SUFFIX, output, output_length, input, input_length);
}

static inline void mlk_sha3_256(uint8_t *output, const uint8_t *input, size_t length)
{
    qpq_sponge(SHA3_256_RATE, QPQ_SHA3_SUFFIX, output, 32, input, length);
}

static inline void mlk_sha3_512(uint8_t *output, const uint8_t *input, size_t length)
{
    qpq_sponge(SHA3_512_RATE, QPQ_SHA3_SUFFIX, output, 64, input, length);
}

#endif
