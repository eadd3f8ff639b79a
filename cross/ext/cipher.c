/* The type CipherContext: ChaCha20 as a stream, and AES-128 block by block; both for QUIC's header protection.
 *
 * A peer chooses the ChaCha20 counter (RFC 9001 section 5.4.4), so every value of it must be answered: the
 * keystream comes from the variant whose counter may wrap, behind the limit that cryptography keeps.
 */
#include "native.h"

#include <string.h>

#include "mbedtls/aes.h"

#include "crypto_stream_chacha20.h"
#include "private/chacha20_ietf_ext.h"
#include "utils.h"

#define CHACHA_KEY crypto_stream_chacha20_ietf_KEYBYTES
#define CHACHA_NONCE 16
#define CHACHA_COUNTER 4
#define CHACHA_BLOCK 64
#define CHACHA_BLOCKS (UINT64_C(1) << 32)
#define AES_KEY 16
#define AES_BLOCK 16

typedef struct {
    PyObject_HEAD
    int is_stream;
    int finalized;
    union {
        struct {
            unsigned char key[CHACHA_KEY];
            unsigned char nonce[CHACHA_NONCE];
            uint64_t used; /* bytes of keystream since the nonce was set */
        } stream;
        struct {
            mbedtls_aes_context aes;
            unsigned char pending[AES_BLOCK];
            Py_ssize_t held; /* bytes in pending, fewer than a block */
        } block;
    } u;
} Context;

static PyObject *context_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_buffer key, nonce = {.buf = NULL};
    Context *self = NULL;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) {
        PyErr_SetString(PyExc_TypeError, "CipherContext takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "y*|y*", &key, &nonce)) {
        return NULL;
    }
    if (nonce.buf != NULL ? key.len != (Py_ssize_t)CHACHA_KEY || nonce.len != CHACHA_NONCE : key.len != AES_KEY) {
        PyErr_SetString(PyExc_ValueError, "a key of 32 bytes and a nonce of 16 for ChaCha20, a key of 16 for AES");
    } else if ((self = (Context *)type->tp_alloc(type, 0)) == NULL) {
        /* told already */
    } else if (nonce.buf != NULL) {
        self->is_stream = 1;
        memcpy(self->u.stream.key, key.buf, CHACHA_KEY);
        memcpy(self->u.stream.nonce, nonce.buf, CHACHA_NONCE);
    } else {
        mbedtls_aes_init(&self->u.block.aes);
        if (mbedtls_aes_setkey_enc(&self->u.block.aes, key.buf, 8 * AES_KEY) != 0) {
            PyErr_SetString(PyExc_SystemError, "AES-128 is missing");
            Py_CLEAR(self);
        }
    }
    PyBuffer_Release(&nonce);
    PyBuffer_Release(&key);
    return (PyObject *)self;
}

static void context_dealloc(Context *self)
{
    PyTypeObject *type = Py_TYPE(self);
    sodium_memzero(&self->u, sizeof self->u);
    type->tp_free(self);
    Py_DECREF(type);
}

static int check_open(Context *self)
{
    if (!self->finalized) {
        return 0;
    }
    NativeState *state = native_state((PyObject *)self);
    if (state != NULL) {
        PyErr_SetString(state->already_finalized, "Context was already finalized.");
    }
    return -1;
}

/* XOR `length` bytes with the keystream from where it is; the caller has checked that the counter does not wrap. */
static void stream_xor(Context *self, unsigned char *out, const unsigned char *in, size_t length)
{
    const unsigned char *nonce = self->u.stream.nonce;
    uint32_t counter = (uint32_t)nonce[0] | (uint32_t)nonce[1] << 8 | (uint32_t)nonce[2] << 16
                       | (uint32_t)nonce[3] << 24;
    size_t offset = (size_t)(self->u.stream.used % CHACHA_BLOCK);
    counter += (uint32_t)(self->u.stream.used / CHACHA_BLOCK);
    self->u.stream.used += length;
    if (offset > 0) {
        unsigned char block[CHACHA_BLOCK] = {0};
        size_t part = length < CHACHA_BLOCK - offset ? length : CHACHA_BLOCK - offset;
        memcpy(block + offset, in, part);
        (void)crypto_stream_chacha20_ietf_ext_xor_ic(block, block, offset + part, nonce + CHACHA_COUNTER, counter,
                                                     self->u.stream.key);
        memcpy(out, block + offset, part);
        sodium_memzero(block, sizeof block);
        out += part;
        in += part;
        length -= part;
        counter++;
    }
    if (length > 0) {
        (void)crypto_stream_chacha20_ietf_ext_xor_ic(out, in, length, nonce + CHACHA_COUNTER, counter,
                                                     self->u.stream.key);
    }
}

static PyObject *stream_update(Context *self, const Py_buffer *data)
{
    const unsigned char *nonce = self->u.stream.nonce;
    uint64_t first = (uint64_t)nonce[0] | (uint64_t)nonce[1] << 8 | (uint64_t)nonce[2] << 16
                     | (uint64_t)nonce[3] << 24;
    uint64_t end = self->u.stream.used + (uint64_t)data->len;
    unsigned char *out;
    if (first + (end + CHACHA_BLOCK - 1) / CHACHA_BLOCK > CHACHA_BLOCKS) {
        PyErr_SetString(PyExc_ValueError, "Exceeded the maximum number of bytes that can be encrypted with ChaCha20 "
                                          "for this nonce. The 32-bit counter portion of the nonce would overflow.");
        return NULL;
    }
    PyObject *value = output_new(data->len, &out);
    if (value != NULL && data->len > 0) {
        stream_xor(self, out, data->buf, (size_t)data->len);
    }
    return value;
}

static PyObject *block_update(Context *self, const Py_buffer *data)
{
    const unsigned char *in = data->buf;
    Py_ssize_t left = data->len, held = self->u.block.held;
    unsigned char *out;
    PyObject *value = output_new((held + left) / AES_BLOCK * AES_BLOCK, &out);
    if (value == NULL) {
        return NULL;
    }
    while (left > 0) {
        Py_ssize_t part = left < AES_BLOCK - held ? left : AES_BLOCK - held;
        memcpy(self->u.block.pending + held, in, (size_t)part);
        in += part;
        left -= part;
        held += part;
        if (held == AES_BLOCK) {
            (void)mbedtls_aes_crypt_ecb(&self->u.block.aes, MBEDTLS_AES_ENCRYPT, self->u.block.pending, out);
            out += AES_BLOCK;
            held = 0;
        }
    }
    self->u.block.held = held;
    return value;
}

static PyObject *context_update(Context *self, PyObject *data)
{
    Py_buffer view;
    if (check_open(self) < 0 || PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyObject *value = self->is_stream ? stream_update(self, &view) : block_update(self, &view);
    PyBuffer_Release(&view);
    return value;
}

static PyObject *context_finalize(Context *self, PyObject *Py_UNUSED(ignored))
{
    if (check_open(self) < 0) {
        return NULL;
    }
    if (!self->is_stream && self->u.block.held > 0) {
        PyErr_SetString(PyExc_ValueError,
                        "The length of the provided data is not a multiple of the block length.");
        return NULL;
    }
    self->finalized = 1;
    return PyBytes_FromStringAndSize(NULL, 0);
}

static PyObject *context_reset_nonce(Context *self, PyObject *nonce)
{
    Py_buffer view;
    if (check_open(self) < 0 || PyObject_GetBuffer(nonce, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyObject *value = NULL;
    if (!self->is_stream) {
        NativeState *state = native_state((PyObject *)self);
        if (state != NULL) {
            PyErr_SetString(state->unsupported_algorithm,
                            "This algorithm or mode does not support resetting the nonce.");
        }
    } else if (view.len != CHACHA_NONCE) {
        PyErr_SetString(PyExc_ValueError, "Nonce must be 16 bytes long");
    } else {
        memcpy(self->u.stream.nonce, view.buf, CHACHA_NONCE);
        self->u.stream.used = 0;
        value = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&view);
    return value;
}

static PyMethodDef context_methods[] = {
    {"update", (PyCFunction)context_update, METH_O, PyDoc_STR("update(data) -> what of it can be given out")},
    {"finalize", (PyCFunction)context_finalize, METH_NOARGS, PyDoc_STR("finalize() -> b'', or ValueError")},
    {"reset_nonce", (PyCFunction)context_reset_nonce, METH_O, PyDoc_STR("reset_nonce(nonce): begin anew (ChaCha20)")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot context_slots[] = {
    {Py_tp_new, context_new},
    {Py_tp_dealloc, context_dealloc},
    {Py_tp_methods, context_methods},
    {Py_tp_doc, (void *)PyDoc_STR("CipherContext(key, nonce) is ChaCha20, CipherContext(key) AES-128 in ECB mode")},
    {0, NULL},
};

static PyType_Spec context_spec = {
    .name = "_qpq_native.CipherContext",
    .basicsize = sizeof(Context),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = context_slots,
};

int add_cipher(PyObject *module)
{
    return add_type(module, &context_spec);
}
