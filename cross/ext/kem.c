/* ML-KEM-768 (FIPS 203) over mlkem-native; the randomness is always the caller's argument. */
#include "native.h"

#include "mlkem_native.h"
#include "utils.h"

#define SEED (2 * MLKEM_SYMBYTES)
#define PUBLIC MLKEM768_PUBLICKEYBYTES
#define SECRET MLKEM768_SECRETKEYBYTES
#define CIPHERTEXT MLKEM768_CIPHERTEXTBYTES

/* Give both objects as a pair, or pass on the error and drop them. */
static PyObject *pair(PyObject *first, PyObject *second, int failed, const char *reason)
{
    PyObject *both = NULL;
    if (first == NULL || second == NULL) {
        /* told already */
    } else if (failed) {
        PyErr_SetString(PyExc_ValueError, reason);
    } else {
        both = PyTuple_Pack(2, first, second);
    }
    Py_XDECREF(first);
    Py_XDECREF(second);
    return both;
}

static PyObject *mlkem768_keypair(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Shape shapes[] = {{"a seed", SEED}};
    unsigned char *pk, *sk;
    Inputs in;
    int failed = 0;
    if (inputs_take(&in, args, nargs, shapes, 1) < 0) {
        return NULL;
    }
    PyObject *public = output_new(PUBLIC, &pk);
    PyObject *secret = output_new(SECRET, &sk);
    if (public != NULL && secret != NULL) {
        failed = qpq_mlkem_keypair_derand(pk, sk, INPUT(in, 0));
    }
    inputs_release(&in);
    return pair(public, secret, failed, "no key comes from this seed");
}

static PyObject *mlkem768_encaps(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Shape shapes[] = {{"a public key", PUBLIC}, {"the coins", MLKEM_SYMBYTES}};
    unsigned char *ct, *ss;
    Inputs in;
    int failed = 0;
    if (inputs_take(&in, args, nargs, shapes, 2) < 0) {
        return NULL;
    }
    PyObject *ciphertext = output_new(CIPHERTEXT, &ct);
    PyObject *shared = output_new(MLKEM_BYTES, &ss);
    if (ciphertext != NULL && shared != NULL) {
        failed = qpq_mlkem_enc_derand(ct, ss, INPUT(in, 0), INPUT(in, 1));
    }
    inputs_release(&in);
    return pair(ciphertext, shared, failed, "invalid public key");
}

static PyObject *mlkem768_decaps(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Shape shapes[] = {{"a secret key", SECRET}, {"a ciphertext", CIPHERTEXT}};
    unsigned char *ss;
    Inputs in;
    if (inputs_take(&in, args, nargs, shapes, 2) < 0) {
        return NULL;
    }
    PyObject *shared = output_new(MLKEM_BYTES, &ss);
    if (shared != NULL && qpq_mlkem_dec(ss, INPUT(in, 1), INPUT(in, 0)) != 0) {
        Py_CLEAR(shared);
        PyErr_SetString(PyExc_ValueError, "invalid secret key");
    }
    inputs_release(&in);
    return shared;
}

#define FUNCTION(name, text) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, PyDoc_STR(text)}

static PyMethodDef kem_functions[] = {
    FUNCTION(mlkem768_keypair, "mlkem768_keypair(seed of 64 bytes) -> (public, secret)"),
    FUNCTION(mlkem768_encaps, "mlkem768_encaps(public, coins of 32 bytes) -> (ciphertext, shared), or ValueError"),
    FUNCTION(mlkem768_decaps, "mlkem768_decaps(secret, ciphertext) -> shared, or ValueError"),
    {NULL, NULL, 0, NULL},
};

int add_kem(PyObject *module)
{
    return PyModule_AddFunctions(module, kem_functions);
}
