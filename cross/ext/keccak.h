/* Keccak (FIPS 202) for SHA3-256 and for what mlkem-native asks for: one copy of the permutation in the program. */
#ifndef QPQ_KECCAK_H
#define QPQ_KECCAK_H

#include <stddef.h>
#include <stdint.h>

#define SHAKE128_RATE 168
#define SHAKE256_RATE 136
#define SHA3_256_RATE 136
#define SHA3_512_RATE 72

#define QPQ_SHAKE_SUFFIX 0x1F
#define QPQ_SHA3_SUFFIX 0x06

typedef struct {
    uint64_t lane[25];
} QpqKeccak;

/* Take in `length` bytes from position `at` of the block on; the position behind them is returned. */
size_t qpq_keccak_feed(QpqKeccak *state, size_t rate, size_t at, const uint8_t *input, size_t length);
/* End the input at position `at`. */
void qpq_keccak_end(QpqKeccak *state, size_t rate, uint8_t suffix, size_t at);
/* Give the next bytes of output; what is not a multiple of the rate ends it. */
void qpq_keccak_squeeze(QpqKeccak *state, size_t rate, uint8_t *output, size_t length);
/* Start anew with the whole input. */
void qpq_keccak_absorb(QpqKeccak *state, size_t rate, uint8_t suffix, const uint8_t *input, size_t length);
/* All of it at once. */
void qpq_keccak_sponge(size_t rate, uint8_t suffix, uint8_t *output, size_t output_length, const uint8_t *input,
                       size_t input_length);

#endif
