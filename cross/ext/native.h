/* What the parts of the extension module _qpq_native share. */
#ifndef QPQ_NATIVE_H
#define QPQ_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* The exceptions that Python code knows as cryptography.exceptions.*, and the type Digest. */
typedef struct {
    PyObject *invalid_tag;
    PyObject *already_finalized;
    PyObject *unsupported_algorithm;
    PyObject *digest_type;
} NativeState;

/* The state of the module that made the type of `self`; the types here cannot be subclassed. */
NativeState *native_state(PyObject *self);

/* One expected argument: a bytes-like object of `length` bytes, of any length when it is ANY_LENGTH. */
#define ANY_LENGTH (-1)
typedef struct {
    const char *name;
    Py_ssize_t length;
} Shape;

#define MAX_INPUTS 4
typedef struct {
    Py_buffer views[MAX_INPUTS];
    int count;
} Inputs;

/* Take views of exactly `count` arguments; 0, or -1 with TypeError or ValueError set and nothing held. */
int inputs_take(Inputs *inputs, PyObject *const *args, Py_ssize_t nargs, const Shape *shapes, int count);
void inputs_release(Inputs *inputs);

#define INPUT(inputs, n) ((const unsigned char *)(inputs).views[n].buf)
#define INPUT_LENGTH(inputs, n) ((inputs).views[n].len)

/* A bytes object of `length` bytes to be filled in, and a pointer to them. */
PyObject *output_new(Py_ssize_t length, unsigned char **bytes);

/* The parts: each adds its functions or types; 0, or -1 with an exception set. */
int add_curve(PyObject *module);
int add_digest(PyObject *module);
int add_password(PyObject *module);
int add_aead(PyObject *module);
int add_cipher(PyObject *module);
int add_kem(PyObject *module);
int add_system(PyObject *module);

/* From now on the interpreter overwrites the bytes, texts and byte arrays that it frees. */
void overwrite_what_is_freed(void);

/* Make a type from its spec and add it under its last name. */
int add_type(PyObject *module, PyType_Spec *spec);

#endif
