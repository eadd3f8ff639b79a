/* Ed25519 (RFC 8032) and X25519 (RFC 7748) over libsodium. */
#include "native.h"

#include "crypto_scalarmult_curve25519.h"
#include "crypto_sign_ed25519.h"
#include "randombytes.h"
#include "utils.h"

#define KEY crypto_scalarmult_curve25519_BYTES
#define SIGNATURE crypto_sign_ed25519_BYTES

static PyObject *ed25519_public(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Shape shapes[] = {{"an Ed25519 seed", KEY}};
    unsigned char secret[crypto_sign_ed25519_SECRETKEYBYTES], *out;
    Inputs in;
    if (inputs_take(&in, args, nargs, shapes, 1) < 0) {
        return NULL;
    }
    PyObject *public = output_new(KEY, &out);
    if (public != NULL) {
        (void)crypto_sign_ed25519_seed_keypair(out, secret, INPUT(in, 0));
        sodium_memzero(secret, sizeof secret);
    }
    inputs_release(&in);
    return public;
}

static PyObject *ed25519_sign(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Shape shapes[] = {{"an Ed25519 secret key", crypto_sign_ed25519_SECRETKEYBYTES},
                                   {"a message", ANY_LENGTH}};
    unsigned char *out;
    Inputs in;
    if (inputs_take(&in, args, nargs, shapes, 2) < 0) {
        return NULL;
    }
    PyObject *signature = output_new(SIGNATURE, &out);
    if (signature != NULL) {
        (void)crypto_sign_ed25519_detached(out, NULL, INPUT(in, 1), (unsigned long long)INPUT_LENGTH(in, 1),
                                           INPUT(in, 0));
    }
    inputs_release(&in);
    return signature;
}

static PyObject *ed25519_verify(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Shape shapes[] = {
        {"an Ed25519 public key", KEY}, {"a signature", ANY_LENGTH}, {"a message", ANY_LENGTH}};
    Inputs in;
    if (inputs_take(&in, args, nargs, shapes, 3) < 0) {
        return NULL;
    }
    int good = INPUT_LENGTH(in, 1) == SIGNATURE
               && crypto_sign_ed25519_verify_detached(INPUT(in, 1), INPUT(in, 2),
                                                      (unsigned long long)INPUT_LENGTH(in, 2), INPUT(in, 0))
                      == 0;
    inputs_release(&in);
    return PyBool_FromLong(good);
}

static PyObject *ed25519_public_to_x25519(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Shape shapes[] = {{"an Ed25519 public key", KEY}};
    unsigned char *out;
    Inputs in;
    if (inputs_take(&in, args, nargs, shapes, 1) < 0) {
        return NULL;
    }
    PyObject *public = output_new(KEY, &out);
    if (public != NULL && crypto_sign_ed25519_pk_to_curve25519(out, INPUT(in, 0)) != 0) {
        Py_CLEAR(public);
        PyErr_SetString(PyExc_ValueError, "no point of the prime-order group");
    }
    inputs_release(&in);
    return public;
}

static PyObject *ed25519_seed_to_x25519(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Shape shapes[] = {{"an Ed25519 seed", KEY}};
    unsigned char *out;
    Inputs in;
    if (inputs_take(&in, args, nargs, shapes, 1) < 0) {
        return NULL;
    }
    PyObject *secret = output_new(KEY, &out);
    if (secret != NULL) {
        (void)crypto_sign_ed25519_sk_to_curve25519(out, INPUT(in, 0));
    }
    inputs_release(&in);
    return secret;
}

static PyObject *x25519_public(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Shape shapes[] = {{"an X25519 secret", KEY}};
    unsigned char *out;
    Inputs in;
    if (inputs_take(&in, args, nargs, shapes, 1) < 0) {
        return NULL;
    }
    PyObject *public = output_new(KEY, &out);
    if (public != NULL) {
        (void)crypto_scalarmult_curve25519_base(out, INPUT(in, 0));
    }
    inputs_release(&in);
    return public;
}

static PyObject *x25519(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Shape shapes[] = {{"an X25519 secret", KEY}, {"an X25519 public key", KEY}};
    unsigned char *out;
    Inputs in;
    if (inputs_take(&in, args, nargs, shapes, 2) < 0) {
        return NULL;
    }
    PyObject *shared = output_new(KEY, &out);
    if (shared != NULL && crypto_scalarmult_curve25519(out, INPUT(in, 0), INPUT(in, 1)) != 0) {
        Py_CLEAR(shared);
        PyErr_SetString(PyExc_ValueError, "the shared secret would be all zero");
    }
    inputs_release(&in);
    return shared;
}

#define FUNCTION(name, text) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, PyDoc_STR(text)}

static PyMethodDef curve_functions[] = {
    FUNCTION(ed25519_public, "ed25519_public(seed) -> 32 bytes"),
    FUNCTION(ed25519_sign, "ed25519_sign(seed + public, message) -> 64 bytes"),
    FUNCTION(ed25519_verify, "ed25519_verify(public, signature, message) -> bool; small order is refused"),
    FUNCTION(ed25519_public_to_x25519, "ed25519_public_to_x25519(public) -> 32 bytes, or ValueError"),
    FUNCTION(ed25519_seed_to_x25519, "ed25519_seed_to_x25519(seed) -> 32 bytes"),
    FUNCTION(x25519_public, "x25519_public(secret) -> 32 bytes"),
    FUNCTION(x25519, "x25519(secret, public) -> 32 bytes, or ValueError where they would be zero"),
    {NULL, NULL, 0, NULL},
};

int add_curve(PyObject *module)
{
    return PyModule_AddFunctions(module, curve_functions);
}
