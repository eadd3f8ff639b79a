/* The types ChaCha20Poly1305 (RFC 8439) and AESGCM (AES-128 only), as cryptography's of the same names.
 *
 * AES here is table-driven and not constant-time. It serves what QUIC fixes before keys are agreed on: Initial
 * packets and the Retry tag, whose keys are public, and Retry tokens, whose key lives as long as the process.
 */
#include "native.h"

#include "mbedtls/gcm.h"

#include "crypto_aead_chacha20poly1305.h"
#include "randombytes.h"
#include "utils.h"

#define TAG 16
#define NONCE crypto_aead_chacha20poly1305_ietf_NPUBBYTES
#define CHACHA_KEY crypto_aead_chacha20poly1305_ietf_KEYBYTES
#define AES_KEY 16
#define GCM_NONCE_MIN 8
#define GCM_NONCE_MAX 128

typedef struct {
    PyObject_HEAD
    unsigned char key[CHACHA_KEY];
} ChaCha;

typedef struct {
    PyObject_HEAD
    mbedtls_gcm_context gcm;
} Gcm;

typedef struct {
    Py_buffer nonce, data, aad;
} Call;

static void call_end(Call *call)
{
    PyBuffer_Release(&call->nonce);
    PyBuffer_Release(&call->data);
    PyBuffer_Release(&call->aad);
}

static int call_begin(Call *call, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"nonce", "data", "associated_data", NULL};
    PyObject *aad;
    call->aad.obj = NULL;
    call->aad.buf = NULL;
    call->aad.len = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*y*O", names, &call->nonce, &call->data, &aad)) {
        return -1;
    }
    if (aad != Py_None && PyObject_GetBuffer(aad, &call->aad, PyBUF_SIMPLE) < 0) {
        call->aad.obj = NULL;
        call_end(call);
        return -1;
    }
    return 0;
}

static PyObject *refuse(PyObject *self)
{
    NativeState *state = native_state(self);
    if (state != NULL) {
        PyErr_SetNone(state->invalid_tag);
    }
    return NULL;
}

/* The one argument of a constructor: a view of the key; -1 with an exception set. */
static int key_argument(PyObject *args, PyObject *kwargs, Py_buffer *key)
{
    static char *names[] = {"key", NULL};
    return PyArg_ParseTupleAndKeywords(args, kwargs, "y*", names, key) ? 0 : -1;
}

static PyObject *chacha_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_buffer key;
    ChaCha *self = NULL;
    if (key_argument(args, kwargs, &key) < 0) {
        return NULL;
    }
    if (key.len != (Py_ssize_t)CHACHA_KEY) {
        PyErr_SetString(PyExc_ValueError, "ChaCha20Poly1305 key must be 32 bytes.");
    } else if ((self = (ChaCha *)type->tp_alloc(type, 0)) != NULL) {
        memcpy(self->key, key.buf, CHACHA_KEY);
    }
    PyBuffer_Release(&key);
    return (PyObject *)self;
}

static void chacha_dealloc(ChaCha *self)
{
    PyTypeObject *type = Py_TYPE(self);
    sodium_memzero(self->key, sizeof self->key);
    type->tp_free(self);
    Py_DECREF(type);
}

static int chacha_nonce(const Call *call)
{
    if (call->nonce.len == (Py_ssize_t)NONCE) {
        return 0;
    }
    PyErr_SetString(PyExc_ValueError, "Nonce must be 12 bytes");
    return -1;
}

static PyObject *chacha_encrypt(ChaCha *self, PyObject *args, PyObject *kwargs)
{
    Call call;
    unsigned char *out;
    PyObject *value = NULL;
    if (call_begin(&call, args, kwargs) < 0) {
        return NULL;
    }
    if (chacha_nonce(&call) == 0 && (value = output_new(call.data.len + TAG, &out)) != NULL) {
        (void)crypto_aead_chacha20poly1305_ietf_encrypt(
            out, NULL, call.data.buf, (unsigned long long)call.data.len, call.aad.buf,
            (unsigned long long)call.aad.len, NULL, call.nonce.buf, self->key);
    }
    call_end(&call);
    return value;
}

static PyObject *chacha_decrypt(ChaCha *self, PyObject *args, PyObject *kwargs)
{
    Call call;
    unsigned char *out;
    PyObject *value = NULL;
    if (call_begin(&call, args, kwargs) < 0) {
        return NULL;
    }
    if (chacha_nonce(&call) < 0) {
        /* told already */
    } else if (call.data.len < TAG) {
        (void)refuse((PyObject *)self);
    } else if ((value = output_new(call.data.len - TAG, &out)) != NULL
               && crypto_aead_chacha20poly1305_ietf_decrypt(
                      out, NULL, NULL, call.data.buf, (unsigned long long)call.data.len, call.aad.buf,
                      (unsigned long long)call.aad.len, call.nonce.buf, self->key)
                      != 0) {
        Py_CLEAR(value);
        (void)refuse((PyObject *)self);
    }
    call_end(&call);
    return value;
}

static PyObject *chacha_generate_key(PyObject *Py_UNUSED(type), PyObject *Py_UNUSED(ignored))
{
    unsigned char *out;
    PyObject *key = output_new(CHACHA_KEY, &out);
    if (key != NULL) {
        randombytes_buf(out, CHACHA_KEY);
    }
    return key;
}

static PyObject *gcm_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_buffer key;
    Gcm *self = NULL;
    if (key_argument(args, kwargs, &key) < 0) {
        return NULL;
    }
    if (key.len == 24 || key.len == 32) {
        NativeState *state = PyType_GetModuleState(type);
        if (state != NULL) {
            PyErr_SetString(state->unsupported_algorithm, "this program has AES with keys of 128 bits only");
        }
    } else if (key.len != AES_KEY) {
        PyErr_SetString(PyExc_ValueError, "AESGCM key must be 128, 192, or 256 bits.");
    } else if ((self = (Gcm *)type->tp_alloc(type, 0)) != NULL) {
        mbedtls_gcm_init(&self->gcm);
        if (mbedtls_gcm_setkey(&self->gcm, MBEDTLS_CIPHER_ID_AES, key.buf, 8 * AES_KEY) != 0) {
            PyErr_SetString(PyExc_SystemError, "AES-128 is missing");
            Py_CLEAR(self);
        }
    }
    PyBuffer_Release(&key);
    return (PyObject *)self;
}

static void gcm_dealloc(Gcm *self)
{
    PyTypeObject *type = Py_TYPE(self);
    mbedtls_gcm_free(&self->gcm);
    type->tp_free(self);
    Py_DECREF(type);
}

static int gcm_nonce(const Call *call)
{
    if (call->nonce.len >= GCM_NONCE_MIN && call->nonce.len <= GCM_NONCE_MAX) {
        return 0;
    }
    PyErr_SetString(PyExc_ValueError, "Nonce must be between 8 and 128 bytes");
    return -1;
}

static PyObject *gcm_encrypt(Gcm *self, PyObject *args, PyObject *kwargs)
{
    Call call;
    unsigned char *out;
    PyObject *value = NULL;
    if (call_begin(&call, args, kwargs) < 0) {
        return NULL;
    }
    if (gcm_nonce(&call) == 0 && (value = output_new(call.data.len + TAG, &out)) != NULL
        && mbedtls_gcm_crypt_and_tag(&self->gcm, MBEDTLS_GCM_ENCRYPT, (size_t)call.data.len, call.nonce.buf,
                                     (size_t)call.nonce.len, call.aad.buf, (size_t)call.aad.len, call.data.buf,
                                     out, TAG, out + call.data.len)
               != 0) {
        Py_CLEAR(value);
        PyErr_SetString(PyExc_OverflowError, "too much data for AES-GCM");
    }
    call_end(&call);
    return value;
}

static PyObject *gcm_decrypt(Gcm *self, PyObject *args, PyObject *kwargs)
{
    Call call;
    unsigned char *out;
    PyObject *value = NULL;
    if (call_begin(&call, args, kwargs) < 0) {
        return NULL;
    }
    Py_ssize_t length = call.data.len - TAG;
    if (gcm_nonce(&call) < 0) {
        /* told already */
    } else if (length < 0) {
        (void)refuse((PyObject *)self);
    } else if ((value = output_new(length, &out)) != NULL
               && mbedtls_gcm_auth_decrypt(&self->gcm, (size_t)length, call.nonce.buf, (size_t)call.nonce.len,
                                           call.aad.buf, (size_t)call.aad.len,
                                           (const unsigned char *)call.data.buf + length, TAG, call.data.buf, out)
                      != 0) {
        Py_CLEAR(value);
        (void)refuse((PyObject *)self);
    }
    call_end(&call);
    return value;
}

static PyObject *gcm_generate_key(PyObject *Py_UNUSED(type), PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"bit_length", NULL};
    int bits;
    unsigned char *out;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i", names, &bits)) {
        return NULL;
    }
    if (bits != 128 && bits != 192 && bits != 256) {
        PyErr_SetString(PyExc_ValueError, "bit_length must be 128, 192, or 256");
        return NULL;
    }
    PyObject *key = output_new(bits / 8, &out);
    if (key != NULL) {
        randombytes_buf(out, (size_t)bits / 8);
    }
    return key;
}

#define KEYWORDS (METH_VARARGS | METH_KEYWORDS)
#define CALL(function) (PyCFunction)(void (*)(void))(function)
#define ENCRYPT_DOC PyDoc_STR("encrypt(nonce, data, associated_data) -> ciphertext and 16-byte tag")
#define DECRYPT_DOC PyDoc_STR("decrypt(nonce, data, associated_data) -> plaintext, or InvalidTag")

static PyMethodDef chacha_methods[] = {
    {"encrypt", CALL(chacha_encrypt), KEYWORDS, ENCRYPT_DOC},
    {"decrypt", CALL(chacha_decrypt), KEYWORDS, DECRYPT_DOC},
    {"generate_key", chacha_generate_key, METH_NOARGS | METH_STATIC, PyDoc_STR("generate_key() -> 32 bytes")},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef gcm_methods[] = {
    {"encrypt", CALL(gcm_encrypt), KEYWORDS, ENCRYPT_DOC},
    {"decrypt", CALL(gcm_decrypt), KEYWORDS, DECRYPT_DOC},
    {"generate_key", CALL(gcm_generate_key), KEYWORDS | METH_STATIC, PyDoc_STR("generate_key(bit_length) -> bytes")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot chacha_slots[] = {
    {Py_tp_new, chacha_new},
    {Py_tp_dealloc, chacha_dealloc},
    {Py_tp_methods, chacha_methods},
    {Py_tp_doc, (void *)PyDoc_STR("ChaCha20Poly1305(key)")},
    {0, NULL},
};

static PyType_Slot gcm_slots[] = {
    {Py_tp_new, gcm_new},
    {Py_tp_dealloc, gcm_dealloc},
    {Py_tp_methods, gcm_methods},
    {Py_tp_doc, (void *)PyDoc_STR("AESGCM(key), 16 bytes")},
    {0, NULL},
};

static PyType_Spec chacha_spec = {
    .name = "_qpq_native.ChaCha20Poly1305",
    .basicsize = sizeof(ChaCha),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = chacha_slots,
};

static PyType_Spec gcm_spec = {
    .name = "_qpq_native.AESGCM",
    .basicsize = sizeof(Gcm),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = gcm_slots,
};

int add_aead(PyObject *module)
{
    return add_type(module, &chacha_spec) < 0 || add_type(module, &gcm_spec) < 0 ? -1 : 0;
}
