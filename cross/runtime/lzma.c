/*
 * LZMA decoding as the format's specification describes it (Igor Pavlov, "LZMA specification", 2015, public domain):
 * a range decoder over adaptive bits, literals predicted from the byte before, matches by length and distance.
 * The output buffer is the dictionary. Every read and every match is checked against its buffer.
 */

#include "lzma.h"

#include <stdint.h>
#include <stdlib.h>

enum {
    STATES = 12,
    POSITIONS = 1 << LZMA_PB,
    LITERAL_CODER = 0x300,
    LENGTH_LOW = 8,
    LENGTH_HIGH = 256,
    DISTANCE_SLOTS = 64,
    ALIGN_BITS = 4,
    FULL_DISTANCES = 128,
    FIRST_MODELLED_SLOT = 4,
    END_OF_MODELLED_SLOTS = 14,
    SHORTEST_MATCH = 2,
    HALF = 1 << 10,
};

typedef uint16_t bit;

struct lengths {
    bit choice, choice_high;
    bit low[POSITIONS][LENGTH_LOW];
    bit middle[POSITIONS][LENGTH_LOW];
    bit high[LENGTH_HIGH];
};

struct decoder {
    const unsigned char *in, *end;
    uint32_t range, code;
    int damaged;
    /* From here on all are probabilities, see lzma_decode. */
    bit is_match[STATES][POSITIONS];
    bit is_repeat[STATES], is_repeat0_long[STATES][POSITIONS];
    bit is_repeat0[STATES], is_repeat1[STATES], is_repeat2[STATES];
    bit slots[4][DISTANCE_SLOTS];
    bit distances[1 + FULL_DISTANCES];
    bit align[1 << ALIGN_BITS];
    struct lengths match, repeat;
    bit literals[LITERAL_CODER << (LZMA_LC + LZMA_LP)];
};

static void normalize(struct decoder *d)
{
    if (d->range >= 1u << 24)
        return;
    d->range <<= 8;
    if (d->in == d->end)
        d->damaged = 1;
    else
        d->code = d->code << 8 | *d->in++;
}

static unsigned decode_bit(struct decoder *d, bit *probability)
{
    normalize(d);
    uint32_t bound = (d->range >> 11) * *probability;
    if (d->code < bound) {
        d->range = bound;
        *probability += ((1 << 11) - *probability) >> 5;
        return 0;
    }
    d->range -= bound;
    d->code -= bound;
    *probability -= *probability >> 5;
    return 1;
}

static uint32_t decode_direct(struct decoder *d, unsigned count)
{
    uint32_t value = 0;
    while (count--) {
        normalize(d);
        d->range >>= 1;
        unsigned one = d->code >= d->range;
        if (one)
            d->code -= d->range;
        value = value << 1 | one;
    }
    return value;
}

static unsigned decode_tree(struct decoder *d, bit *tree, unsigned bits)
{
    unsigned index = 1;
    for (unsigned i = 0; i < bits; i++)
        index = index << 1 | decode_bit(d, &tree[index]);
    return index - (1u << bits);
}

static unsigned decode_tree_reversed(struct decoder *d, bit *tree, unsigned bits)
{
    unsigned index = 1, value = 0;
    for (unsigned i = 0; i < bits; i++) {
        unsigned one = decode_bit(d, &tree[index]);
        index = index << 1 | one;
        value |= one << i;
    }
    return value;
}

static unsigned decode_length(struct decoder *d, struct lengths *coder, unsigned position)
{
    if (!decode_bit(d, &coder->choice))
        return decode_tree(d, coder->low[position], 3);
    if (!decode_bit(d, &coder->choice_high))
        return 8 + decode_tree(d, coder->middle[position], 3);
    return 16 + decode_tree(d, coder->high, 8);
}

static uint32_t decode_distance(struct decoder *d, unsigned length)
{
    unsigned slot = decode_tree(d, d->slots[length < 4 ? length : 3], 6);
    if (slot < FIRST_MODELLED_SLOT)
        return slot;
    unsigned bits = (slot >> 1) - 1;
    uint32_t distance = (2u | (slot & 1)) << bits;
    if (slot < END_OF_MODELLED_SLOTS)
        return distance + decode_tree_reversed(d, d->distances + distance - slot, bits);
    distance += decode_direct(d, bits - ALIGN_BITS) << ALIGN_BITS;
    return distance + decode_tree_reversed(d, d->align, ALIGN_BITS);
}

static unsigned char decode_literal(struct decoder *d, unsigned state, const unsigned char *out, size_t at, uint32_t back)
{
    unsigned before = at ? out[at - 1] : 0;
    unsigned context = ((at & ((1u << LZMA_LP) - 1)) << LZMA_LC) + (before >> (8 - LZMA_LC));
    bit *coder = d->literals + (size_t)LITERAL_CODER * context;
    unsigned symbol = 1;
    if (state >= 7) {
        unsigned matched = out[at - back - 1];
        while (symbol < 0x100) {
            unsigned expected = matched >> 7 & 1;
            matched <<= 1;
            unsigned one = decode_bit(d, &coder[((1 + expected) << 8) + symbol]);
            symbol = symbol << 1 | one;
            if (expected != one)
                break;
        }
    }
    while (symbol < 0x100)
        symbol = symbol << 1 | decode_bit(d, &coder[symbol]);
    return (unsigned char)symbol;
}

static unsigned after_literal(unsigned state)
{
    return state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
}

/* Read which of the four last distances is repeated and move it to the front; returns 1 for a single byte. */
static int decode_repeat(struct decoder *d, unsigned state, unsigned position, uint32_t back[4])
{
    if (!decode_bit(d, &d->is_repeat0[state]))
        return !decode_bit(d, &d->is_repeat0_long[state][position]);
    unsigned which = 1;
    if (decode_bit(d, &d->is_repeat1[state]))
        which = 2 + decode_bit(d, &d->is_repeat2[state]);
    uint32_t distance = back[which];
    for (; which; which--)
        back[which] = back[which - 1];
    back[0] = distance;
    return 0;
}

static int decode_all(struct decoder *d, unsigned char *out, size_t size)
{
    uint32_t back[4] = {0, 0, 0, 0};
    unsigned state = 0;
    size_t at = 0;
    while (at < size && !d->damaged) {
        unsigned position = (unsigned)at & (POSITIONS - 1), length;
        if (!decode_bit(d, &d->is_match[state][position])) {
            if (state >= 7 && back[0] >= at)
                return -1;
            out[at] = decode_literal(d, state, out, at, back[0]);
            at++;
            state = after_literal(state);
            continue;
        }
        if (decode_bit(d, &d->is_repeat[state])) {
            if (decode_repeat(d, state, position, back)) {
                state = state < 7 ? 9 : 11;
                length = 1;
            } else {
                length = SHORTEST_MATCH + decode_length(d, &d->repeat, position);
                state = state < 7 ? 8 : 11;
            }
        } else {
            for (unsigned i = 3; i; i--)
                back[i] = back[i - 1];
            unsigned coded = decode_length(d, &d->match, position);
            state = state < 7 ? 7 : 10;
            back[0] = decode_distance(d, coded);
            length = SHORTEST_MATCH + coded;
        }
        if (back[0] >= at || length > size - at)
            return -1;
        for (; length; length--, at++)
            out[at] = out[at - back[0] - 1];
    }
    return d->damaged ? -1 : 0;
}

int lzma_decode(const unsigned char *in, size_t in_size, unsigned char *out, size_t size)
{
    struct decoder *d = malloc(sizeof *d);
    if (!d || in_size < 5) {
        free(d);
        return -1;
    }
    for (size_t i = offsetof(struct decoder, is_match); i < sizeof *d; i += sizeof(bit))
        *(bit *)((char *)d + i) = HALF;
    d->range = 0xffffffffu;
    d->code = (uint32_t)in[1] << 24 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 8 | in[4];
    d->in = in + 5;
    d->end = in + in_size;
    d->damaged = in[0] != 0;
    int result = decode_all(d, out, size);
    free(d);
    return result;
}
