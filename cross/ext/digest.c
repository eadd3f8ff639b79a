/* SHA-256 and SHA-512 (FIPS 180-4), SHA3-256 (FIPS 202), HMAC-SHA-256 (RFC 2104), HKDF-SHA-256 expand (RFC 5869), BLAKE2b (RFC 7693). */
#include "native.h"

#include <string.h>

#include "crypto_auth_hmacsha256.h"
#include "crypto_generichash_blake2b.h"
#include "crypto_hash_sha256.h"
#include "crypto_hash_sha512.h"
#include "keccak.h"
#include "utils.h"

#define SHA256 crypto_hash_sha256_BYTES
#define MAX_EXPAND ((Py_ssize_t)(255 * SHA256))

typedef enum { KIND_SHA256, KIND_SHA512, KIND_SHA3_256, KIND_HMAC_SHA256 } Kind;

typedef struct {
    PyObject_HEAD
    Kind kind;
    union {
        crypto_hash_sha256_state sha256;
        crypto_hash_sha512_state sha512;
        struct {
            QpqKeccak keccak;
            size_t at; /* bytes of the block that are filled */
        } sha3;
        crypto_auth_hmacsha256_state hmac;
    } state;
} Digest;

static Py_ssize_t digest_size(const Digest *self)
{
    return self->kind == KIND_SHA512 ? (Py_ssize_t)crypto_hash_sha512_BYTES : (Py_ssize_t)SHA256;
}

static void digest_feed(Digest *self, const unsigned char *data, Py_ssize_t length)
{
    unsigned long long size = (unsigned long long)length;
    switch (self->kind) {
    case KIND_SHA256:
        (void)crypto_hash_sha256_update(&self->state.sha256, data, size);
        break;
    case KIND_SHA512:
        (void)crypto_hash_sha512_update(&self->state.sha512, data, size);
        break;
    case KIND_SHA3_256:
        self->state.sha3.at =
            qpq_keccak_feed(&self->state.sha3.keccak, SHA3_256_RATE, self->state.sha3.at, data, (size_t)length);
        break;
    case KIND_HMAC_SHA256:
        (void)crypto_auth_hmacsha256_update(&self->state.hmac, data, size);
        break;
    }
}

static PyObject *digest_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    const char *name;
    Py_buffer key = {.buf = NULL};
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) {
        PyErr_SetString(PyExc_TypeError, "Digest takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "s|y*", &name, &key)) {
        return NULL;
    }
    Digest *self = (Digest *)type->tp_alloc(type, 0);
    if (self == NULL) {
        PyBuffer_Release(&key);
        return NULL;
    }
    if (strcmp(name, "sha256") == 0 && key.buf == NULL) {
        self->kind = KIND_SHA256;
        (void)crypto_hash_sha256_init(&self->state.sha256);
    } else if (strcmp(name, "sha512") == 0 && key.buf == NULL) {
        self->kind = KIND_SHA512;
        (void)crypto_hash_sha512_init(&self->state.sha512);
    } else if (strcmp(name, "sha3_256") == 0 && key.buf == NULL) {
        self->kind = KIND_SHA3_256; /* its state is zero, as the memory is */
    } else if (strcmp(name, "hmac-sha256") == 0 && key.buf != NULL) {
        self->kind = KIND_HMAC_SHA256;
        (void)crypto_auth_hmacsha256_init(&self->state.hmac, key.buf, (size_t)key.len);
    } else {
        PyErr_Format(PyExc_ValueError, "no digest %s, or a key too many or too few", name);
        Py_CLEAR(self);
    }
    PyBuffer_Release(&key);
    return (PyObject *)self;
}

static void digest_dealloc(Digest *self)
{
    PyTypeObject *type = Py_TYPE(self);
    sodium_memzero(&self->state, sizeof self->state);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *digest_update(Digest *self, PyObject *data)
{
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    digest_feed(self, view.buf, view.len);
    PyBuffer_Release(&view);
    Py_RETURN_NONE;
}

static PyObject *digest_copy(Digest *self, PyObject *Py_UNUSED(ignored))
{
    PyTypeObject *type = Py_TYPE(self);
    Digest *other = (Digest *)type->tp_alloc(type, 0);
    if (other != NULL) {
        other->kind = self->kind;
        other->state = self->state;
    }
    return (PyObject *)other;
}

static PyObject *digest_digest(Digest *self, PyObject *Py_UNUSED(ignored))
{
    unsigned char *out;
    PyObject *value = output_new(digest_size(self), &out);
    if (value == NULL) {
        return NULL;
    }
    if (self->kind == KIND_SHA256) {
        crypto_hash_sha256_state state = self->state.sha256;
        (void)crypto_hash_sha256_final(&state, out);
        sodium_memzero(&state, sizeof state);
    } else if (self->kind == KIND_SHA512) {
        crypto_hash_sha512_state state = self->state.sha512;
        (void)crypto_hash_sha512_final(&state, out);
        sodium_memzero(&state, sizeof state);
    } else if (self->kind == KIND_SHA3_256) {
        QpqKeccak state = self->state.sha3.keccak;
        qpq_keccak_end(&state, SHA3_256_RATE, QPQ_SHA3_SUFFIX, self->state.sha3.at);
        qpq_keccak_squeeze(&state, SHA3_256_RATE, out, SHA256);
        sodium_memzero(&state, sizeof state);
    } else {
        crypto_auth_hmacsha256_state state = self->state.hmac;
        (void)crypto_auth_hmacsha256_final(&state, out);
        sodium_memzero(&state, sizeof state);
    }
    return value;
}

static PyObject *digest_hexdigest(Digest *self, PyObject *ignored)
{
    PyObject *value = digest_digest(self, ignored);
    if (value == NULL) {
        return NULL;
    }
    PyObject *text = PyObject_CallMethod(value, "hex", NULL);
    Py_DECREF(value);
    return text;
}

static PyObject *digest_get_name(Digest *self, void *Py_UNUSED(closure))
{
    static const char *const names[] = {"sha256", "sha512", "sha3_256", "hmac-sha256"};
    return PyUnicode_FromString(names[self->kind]);
}

static PyObject *digest_get_size(Digest *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSsize_t(digest_size(self));
}

static PyObject *digest_get_block_size(Digest *self, void *Py_UNUSED(closure))
{
    static const long sizes[] = {64, 128, SHA3_256_RATE, 64};
    return PyLong_FromLong(sizes[self->kind]);
}

static PyGetSetDef digest_attributes[] = {
    {"name", (getter)digest_get_name, NULL, NULL, NULL},
    {"digest_size", (getter)digest_get_size, NULL, NULL, NULL},
    {"block_size", (getter)digest_get_block_size, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef digest_methods[] = {
    {"update", (PyCFunction)digest_update, METH_O, PyDoc_STR("take in bytes")},
    {"copy", (PyCFunction)digest_copy, METH_NOARGS, PyDoc_STR("return another one in the same state")},
    {"digest", (PyCFunction)digest_digest, METH_NOARGS, PyDoc_STR("return the value over all bytes so far")},
    {"hexdigest", (PyCFunction)digest_hexdigest, METH_NOARGS, PyDoc_STR("return the same as text")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot digest_slots[] = {
    {Py_tp_new, digest_new},
    {Py_tp_dealloc, digest_dealloc},
    {Py_tp_methods, digest_methods},
    {Py_tp_getset, digest_attributes},
    {Py_tp_doc, (void *)PyDoc_STR("Digest('sha256' | 'sha512' | 'sha3_256') or Digest('hmac-sha256', key)")},
    {0, NULL},
};

static PyType_Spec digest_spec = {
    .name = "_qpq_native.Digest",
    .basicsize = sizeof(Digest),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = digest_slots,
};

/* hashlib's constructors: one optional argument by position; the flag usedforsecurity means nothing here. */
static PyObject *digest_of(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *names, Kind kind)
{
    NativeState *module_state = PyModule_GetState(module);
    PyTypeObject *type = (PyTypeObject *)module_state->digest_type;
    Py_buffer view = {.buf = NULL};
    for (Py_ssize_t i = 0; names != NULL && i < PyTuple_GET_SIZE(names); i++) {
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), "usedforsecurity") != 0) {
            nargs = 2;
        }
    }
    if (nargs > 1) {
        PyErr_SetString(PyExc_TypeError, "one argument by position at most, and usedforsecurity");
        return NULL;
    }
    if (nargs == 1 && PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    Digest *self = (Digest *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->kind = kind;
        if (kind == KIND_SHA256) {
            (void)crypto_hash_sha256_init(&self->state.sha256);
        } else if (kind == KIND_SHA512) {
            (void)crypto_hash_sha512_init(&self->state.sha512);
        }
        if (nargs == 1) {
            digest_feed(self, view.buf, view.len);
        }
    }
    PyBuffer_Release(&view);
    return (PyObject *)self;
}

static PyObject *sha256(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    return digest_of(module, args, nargs, names, KIND_SHA256);
}

static PyObject *sha512(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    return digest_of(module, args, nargs, names, KIND_SHA512);
}

static PyObject *sha3_256(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    return digest_of(module, args, nargs, names, KIND_SHA3_256);
}

static PyObject *hmac_sha256(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Shape shapes[] = {{"a key", ANY_LENGTH}, {"a message", ANY_LENGTH}};
    crypto_auth_hmacsha256_state state;
    unsigned char *out;
    Inputs in;
    if (inputs_take(&in, args, nargs, shapes, 2) < 0) {
        return NULL;
    }
    PyObject *value = output_new(SHA256, &out);
    if (value != NULL) {
        (void)crypto_auth_hmacsha256_init(&state, INPUT(in, 0), (size_t)INPUT_LENGTH(in, 0));
        (void)crypto_auth_hmacsha256_update(&state, INPUT(in, 1), (unsigned long long)INPUT_LENGTH(in, 1));
        (void)crypto_auth_hmacsha256_final(&state, out);
        sodium_memzero(&state, sizeof state);
    }
    inputs_release(&in);
    return value;
}

static void expand(unsigned char *out, size_t length, const Inputs *in)
{
    crypto_auth_hmacsha256_state keyed, state;
    unsigned char block[SHA256];
    (void)crypto_auth_hmacsha256_init(&keyed, INPUT(*in, 0), (size_t)INPUT_LENGTH(*in, 0));
    for (unsigned char counter = 1; length > 0; counter++) {
        state = keyed;
        if (counter > 1) {
            (void)crypto_auth_hmacsha256_update(&state, block, sizeof block);
        }
        (void)crypto_auth_hmacsha256_update(&state, INPUT(*in, 1), (unsigned long long)INPUT_LENGTH(*in, 1));
        (void)crypto_auth_hmacsha256_update(&state, &counter, 1);
        (void)crypto_auth_hmacsha256_final(&state, block);
        size_t part = length < sizeof block ? length : sizeof block;
        memcpy(out, block, part);
        out += part;
        length -= part;
    }
    sodium_memzero(&keyed, sizeof keyed);
    sodium_memzero(&state, sizeof state);
    sodium_memzero(block, sizeof block);
}

static PyObject *hkdf_sha256_expand(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Shape shapes[] = {{"a pseudorandom key", ANY_LENGTH}, {"an info", ANY_LENGTH}};
    unsigned char *out;
    Inputs in;
    if (nargs != 3) {
        PyErr_Format(PyExc_TypeError, "3 arguments are needed, %zd were given", nargs);
        return NULL;
    }
    Py_ssize_t length = PyLong_AsSsize_t(args[2]);
    if (length == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (length < 0 || length > MAX_EXPAND) {
        PyErr_Format(PyExc_ValueError, "HKDF gives 0 to %zd bytes, not %zd", MAX_EXPAND, length);
        return NULL;
    }
    if (inputs_take(&in, args, 2, shapes, 2) < 0) {
        return NULL;
    }
    PyObject *value = output_new(length, &out);
    if (value != NULL) {
        expand(out, (size_t)length, &in);
    }
    inputs_release(&in);
    return value;
}

static PyObject *blake2b(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer data, key = {.buf = NULL};
    int size = crypto_generichash_blake2b_BYTES_MAX;
    unsigned char *out;
    PyObject *value = NULL;
    if (!PyArg_ParseTuple(args, "y*|iy*", &data, &size, &key)) {
        return NULL;
    }
    if (size < 1 || size > (int)crypto_generichash_blake2b_BYTES_MAX
        || key.len > (Py_ssize_t)crypto_generichash_blake2b_KEYBYTES_MAX) {
        PyErr_SetString(PyExc_ValueError, "BLAKE2b gives 1 to 64 bytes, its key has at most 64");
    } else if ((value = output_new(size, &out)) != NULL) {
        (void)crypto_generichash_blake2b(out, (size_t)size, data.buf, (unsigned long long)data.len,
                                         key.len > 0 ? key.buf : NULL, (size_t)key.len);
    }
    PyBuffer_Release(&key);
    PyBuffer_Release(&data);
    return value;
}

static PyMethodDef digest_functions[] = {
    {"sha256", (PyCFunction)(void (*)(void))sha256, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("sha256(data=b'') -> Digest")},
    {"sha512", (PyCFunction)(void (*)(void))sha512, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("sha512(data=b'') -> Digest")},
    {"sha3_256", (PyCFunction)(void (*)(void))sha3_256, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("sha3_256(data=b'') -> Digest")},
    {"hmac_sha256", (PyCFunction)(void (*)(void))hmac_sha256, METH_FASTCALL,
     PyDoc_STR("hmac_sha256(key, message) -> 32 bytes")},
    {"hkdf_sha256_expand", (PyCFunction)(void (*)(void))hkdf_sha256_expand, METH_FASTCALL,
     PyDoc_STR("hkdf_sha256_expand(key, info, length) -> bytes")},
    {"blake2b", blake2b, METH_VARARGS, PyDoc_STR("blake2b(data, size=64, key=b'') -> bytes")},
    {NULL, NULL, 0, NULL},
};

int add_digest(PyObject *module)
{
    NativeState *state = PyModule_GetState(module);
    state->digest_type = PyType_FromModuleAndSpec(module, &digest_spec, NULL);
    if (state->digest_type == NULL || PyModule_AddType(module, (PyTypeObject *)state->digest_type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, digest_functions);
}
