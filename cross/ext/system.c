/* What libsodium expects of its own core, without the parts a static program does not need; and what keeps this
 * process's memory off disks.
 *
 * No sodium_init: every implementation pointer starts at the portable one, and nothing here picks another.
 * Randomness is the kernel's; getrandom waits until the pool is seeded, once, early in a router's first boot.
 * The name randombytes stays undefined: mlkem-native and libsodium mean different functions by it.
 */
#include "native.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>

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

#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4 /* Linux 4.4 */
#endif

enum { NO_DUMPS = 1, PRIVATE = 2, LOCKED = 4 };

/* Pages are locked as they come into use: what is mapped and never touched costs nothing. */
static PyObject *guard(PyObject *Py_UNUSED(module), PyObject *lock)
{
    const struct rlimit none = {0, 0};
    int done = 0;
    int wanted = PyObject_IsTrue(lock);
    if (wanted < 0) {
        return NULL;
    }
    if (setrlimit(RLIMIT_CORE, &none) == 0) {
        done |= NO_DUMPS;
    }
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0) {
        done |= PRIVATE;
    }
    if (wanted && mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0) {
        done |= LOCKED;
    }
    return PyLong_FromLong(done);
}

static PyMethodDef system_functions[] = {
    {"guard", guard, METH_O,
     PyDoc_STR("guard(lock): no core dumps, no looking in by others, with lock no swapping; bits 1, 2, 4 of what was done")},
    {NULL, NULL, 0, NULL},
};

int add_system(PyObject *module)
{
    return PyModule_AddFunctions(module, system_functions);
}
