/* What libsodium expects of its own core, without the parts a static program does not need.
 *
 * No sodium_init: every implementation pointer starts at the portable one, and nothing here picks another.
 * Randomness is the kernel's; getrandom waits until the pool is seeded, once, early in a router's first boot.
 * The name randombytes stays undefined: mlkem-native and libsodium mean different functions by it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "argon2-encoding.h"
#include "core.h"
#include "randombytes.h"

void sodium_misuse(void)
{
    abort();
}

void randombytes_buf(void *const buffer, const size_t size)
{
    unsigned char *next = buffer;
    size_t left = size;
    while (left > 0) {
        ssize_t got = getrandom(next, left, 0);
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            abort();
        }
        next += got;
        left -= (size_t)got;
    }
}

/* Argon2 links the printable form of its hashes, with base64, behind an argument that is always NULL here. */
int argon2_encode_string(char *text, size_t size, argon2_context *context, argon2_type type)
{
    (void)text;
    (void)size;
    (void)context;
    (void)type;
    return ARGON2_ENCODING_FAIL;
}
