/* The hashes of FIPS 202 that mlkem-native asks for, over keccak.c. */
#ifndef QPQ_MLKEM_FIPS202_H
#define QPQ_MLKEM_FIPS202_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "keccak.h"
#include "utils.h"

typedef QpqKeccak mlk_shake128ctx;

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
    qpq_keccak_absorb(state, SHAKE128_RATE, QPQ_SHAKE_SUFFIX, input, length);
}

static inline void mlk_shake128_squeezeblocks(uint8_t *output, size_t blocks, mlk_shake128ctx *state)
{
    qpq_keccak_squeeze(state, SHAKE128_RATE, output, blocks * SHAKE128_RATE);
}

static inline void mlk_shake256(uint8_t *output, size_t output_length, const uint8_t *input, size_t input_length)
{
    qpq_keccak_sponge(SHAKE256_RATE, QPQ_SHAKE_SUFFIX, output, output_length, input, input_length);
}

static inline void mlk_sha3_256(uint8_t *output, const uint8_t *input, size_t length)
{
    qpq_keccak_sponge(SHA3_256_RATE, QPQ_SHA3_SUFFIX, output, 32, input, length);
}

static inline void mlk_sha3_512(uint8_t *output, const uint8_t *input, size_t length)
{
    qpq_keccak_sponge(SHA3_512_RATE, QPQ_SHA3_SUFFIX, output, 64, input, length);
}

#endif
