/* A fixed piece of work that every machine does in the same way: arithmetic, table look-ups, branches, calls. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIZE = 4096 };

static uint32_t table[SIZE];

static uint32_t mix(uint32_t a, uint32_t b)
{
    return (a ^ (b << 7)) + (b >> 3);
}

static uint32_t drop(uint32_t a, uint32_t b)
{
    return a - (b & 0xffff);
}

int main(int argc, char **argv)
{
    uint32_t (*volatile calls[2])(uint32_t, uint32_t) = {mix, drop};
    uint32_t state = 1, rounds = argc > 1 ? (uint32_t)atol(argv[1]) : 1;
    for (uint32_t i = 0; i < rounds; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        uint32_t *at = &table[state % SIZE];
        *at = calls[state & 1](*at, state);
        if (*at & 0x100)
            state += *at;
    }
    printf("%u\n", state);
    return 0;
}
