/* What the interpreter frees is overwritten: bytes, str and bytearray, in which keys, passphrases and texts come and go.
 *
 * A key's lifetime is then that of the last reference to it, whoever made the copy: a slice, a json parser, a struct.
 * The hook is the type's own slot for giving memory back (tp_free; bytearray, which holds its memory by a pointer, has
 * tp_dealloc). Types derived from these have slots of their own and are not reached. Not seen here: the old place of an
 * object that the interpreter moves as it changes its length, and numbers.
 */
#include "native.h"

#include <string.h>

/* Shorter ones are no secrets, and the most frequent. */
enum { SHORTEST = 16 };

static freefunc give_back_bytes;
static freefunc give_back_text;
static destructor give_back_array;

/* This is called for every object, so it is not sodium_memzero, which goes three calls deep; the empty statement says
 * to the compiler that somebody reads the zeros.
 */
static inline void overwrite(void *from, Py_ssize_t size)
{
    if (size >= SHORTEST) {
        memset(from, 0, (size_t)size);
        __asm__ __volatile__("" : : "r"(from) : "memory");
    }
}

static void free_bytes(void *object)
{
    overwrite(PyBytes_AS_STRING(object), Py_SIZE((PyObject *)object));
    give_back_bytes(object);
}

/* A text that is not compact has given its characters back by now; only C code of long ago makes such. */
static void free_text(void *object)
{
    if (PyUnicode_IS_COMPACT(object)) {
        overwrite(PyUnicode_DATA(object), PyUnicode_GET_LENGTH(object) * (Py_ssize_t)PyUnicode_KIND(object));
    }
    give_back_text(object);
}

static void free_array(PyObject *object)
{
    PyByteArrayObject *array = (PyByteArrayObject *)object;
    if (array->ob_bytes != NULL && array->ob_exports == 0) {
        overwrite(array->ob_bytes, array->ob_alloc);
    }
    give_back_array(object);
}

void overwrite_what_is_freed(void)
{
    if (give_back_bytes != NULL) {
        return;
    }
    give_back_bytes = PyBytes_Type.tp_free;
    give_back_text = PyUnicode_Type.tp_free;
    give_back_array = PyByteArray_Type.tp_dealloc;
    PyBytes_Type.tp_free = free_bytes;
    PyUnicode_Type.tp_free = free_text;
    PyByteArray_Type.tp_dealloc = free_array;
}
