/* Decoder for raw LZMA streams (LZMA1 without header; parameters known to the caller). */

#ifndef QPQ_LZMA_H
#define QPQ_LZMA_H

#include <stddef.h>

enum { LZMA_LC = 3, LZMA_LP = 0, LZMA_PB = 0 };

/* Decode exactly `size` bytes into `out`. Returns 0, or -1 when the data is damaged or memory is short. */
int lzma_decode(const unsigned char *in, size_t in_size, unsigned char *out, size_t size);

#endif
