/* Argon2id version 1.3, one lane (RFC 9106), and random bytes. */
#include "native.h"

#include "crypto_pwhash_argon2id.h"
#include "randombytes.h"

static PyObject *argon2id(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer passphrase, salt;
    unsigned long long passes, memory;
    Py_ssize_t length;
    unsigned char *out;
    PyObject *value = NULL;
    if (!PyArg_ParseTuple(args, "y*y*KKn", &passphrase, &salt, &passes, &memory, &length)) {
        return NULL;
    }
    if (salt.len != crypto_pwhash_argon2id_SALTBYTES) {
        PyErr_Format(PyExc_ValueError, "a salt has 16 bytes, not %zd", salt.len);
    } else if (length < (Py_ssize_t)crypto_pwhash_argon2id_BYTES_MIN
               || passes < crypto_pwhash_argon2id_OPSLIMIT_MIN || passes > crypto_pwhash_argon2id_OPSLIMIT_MAX
               || memory < crypto_pwhash_argon2id_MEMLIMIT_MIN || memory > crypto_pwhash_argon2id_MEMLIMIT_MAX) {
        PyErr_SetString(PyExc_ValueError, "Argon2id cannot run with these parameters");
    } else if ((value = output_new(length, &out)) != NULL) {
        int failed;
        Py_BEGIN_ALLOW_THREADS
        failed = crypto_pwhash_argon2id(out, (unsigned long long)length, passphrase.buf,
                                        (unsigned long long)passphrase.len, salt.buf, passes, (size_t)memory,
                                        crypto_pwhash_argon2id_ALG_ARGON2ID13);
        Py_END_ALLOW_THREADS
        if (failed) {
            Py_CLEAR(value);
            PyErr_SetString(PyExc_MemoryError, "Argon2id did not get its memory");
        }
    }
    PyBuffer_Release(&salt);
    PyBuffer_Release(&passphrase);
    return value;
}

static PyObject *random_bytes(PyObject *Py_UNUSED(module), PyObject *size)
{
    unsigned char *out;
    Py_ssize_t length = PyLong_AsSsize_t(size);
    if (length == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (length < 0) {
        PyErr_SetString(PyExc_ValueError, "a negative number of bytes");
        return NULL;
    }
    PyObject *value = output_new(length, &out);
    if (value != NULL) {
        randombytes_buf(out, (size_t)length);
    }
    return value;
}

static PyMethodDef password_functions[] = {
    {"argon2id", argon2id, METH_VARARGS,
     PyDoc_STR("argon2id(passphrase, salt, passes, memory_bytes, length) -> bytes; ValueError, MemoryError")},
    {"random_bytes", random_bytes, METH_O, PyDoc_STR("random_bytes(length) -> bytes from the kernel")},
    {NULL, NULL, 0, NULL},
};

int add_password(PyObject *module)
{
    return PyModule_AddFunctions(module, password_functions);
}
