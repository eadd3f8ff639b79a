/* _qpq_native: the primitives behind the stand-ins in node/qpq/shims, over libsodium, mbedTLS and mlkem-native.
 *
 * Arguments are checked here, lengths included, so no Python code can make a primitive read past a buffer.
 * Secrets that pass through C are wiped before a function returns; keys held by objects when these die, and so is what
 * Python code made of them (freed.c).
 * The GIL is kept throughout, except in Argon2id: everything else takes less time than giving it up.
 */
#include "native.h"

#include "utils.h"

static struct PyModuleDef native_module;

NativeState *native_state(PyObject *self)
{
    PyObject *module = PyType_GetModule(Py_TYPE(self));
    return module == NULL ? NULL : PyModule_GetState(module);
}

int inputs_take(Inputs *inputs, PyObject *const *args, Py_ssize_t nargs, const Shape *shapes, int count)
{
    inputs->count = 0;
    if (nargs != count) {
        PyErr_Format(PyExc_TypeError, "%d arguments are needed, %zd were given", count, nargs);
        return -1;
    }
    for (int i = 0; i < count; i++) {
        if (PyObject_GetBuffer(args[i], &inputs->views[i], PyBUF_SIMPLE) < 0) {
            inputs_release(inputs);
            return -1;
        }
        inputs->count = i + 1;
        if (shapes[i].length != ANY_LENGTH && inputs->views[i].len != shapes[i].length) {
            PyErr_Format(PyExc_ValueError, "%s has %zd bytes, not %zd", shapes[i].name, shapes[i].length,
                         inputs->views[i].len);
            inputs_release(inputs);
            return -1;
        }
    }
    return 0;
}

void inputs_release(Inputs *inputs)
{
    while (inputs->count > 0) {
        PyBuffer_Release(&inputs->views[--inputs->count]);
    }
}

PyObject *output_new(Py_ssize_t length, unsigned char **bytes)
{
    PyObject *object = PyBytes_FromStringAndSize(NULL, length);
    *bytes = object == NULL ? NULL : (unsigned char *)PyBytes_AS_STRING(object);
    return object;
}

int add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int failed = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return failed;
}

static PyObject *native_equal(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const Shape shapes[] = {{"left", ANY_LENGTH}, {"right", ANY_LENGTH}};
    Inputs in;
    if (inputs_take(&in, args, nargs, shapes, 2) < 0) {
        return NULL;
    }
    int same = INPUT_LENGTH(in, 0) == INPUT_LENGTH(in, 1)
               && sodium_memcmp(INPUT(in, 0), INPUT(in, 1), (size_t)INPUT_LENGTH(in, 0)) == 0;
    inputs_release(&in);
    return PyBool_FromLong(same);
}

static PyObject *native_wipe(PyObject *Py_UNUSED(module), PyObject *buffer)
{
    Py_buffer view;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    sodium_memzero(view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    Py_RETURN_NONE;
}

static PyMethodDef native_functions[] = {
    {"equal", (PyCFunction)(void (*)(void))native_equal, METH_FASTCALL,
     PyDoc_STR("equal(left, right): compare in time that tells nothing but the lengths")},
    {"wipe", native_wipe, METH_O, PyDoc_STR("wipe(buffer): overwrite a writable buffer with zeros")},
    {NULL, NULL, 0, NULL},
};

static int add_exception(PyObject *module, const char *name, PyObject **place)
{
    char full[64];
    PyOS_snprintf(full, sizeof full, "cryptography.exceptions.%s", name);
    *place = PyErr_NewException(full, NULL, NULL);
    return *place == NULL ? -1 : PyModule_AddObjectRef(module, name, *place);
}

static int native_exec(PyObject *module)
{
    overwrite_what_is_freed();
    NativeState *state = PyModule_GetState(module);
    if (add_exception(module, "InvalidTag", &state->invalid_tag) < 0
        || add_exception(module, "AlreadyFinalized", &state->already_finalized) < 0
        || add_exception(module, "UnsupportedAlgorithm", &state->unsupported_algorithm) < 0) {
        return -1;
    }
    return add_curve(module) < 0 || add_digest(module) < 0 || add_password(module) < 0 || add_aead(module) < 0
                   || add_cipher(module) < 0 || add_kem(module) < 0 || add_system(module) < 0
               ? -1
               : 0;
}

static int native_traverse(PyObject *module, visitproc visit, void *arg)
{
    NativeState *state = PyModule_GetState(module);
    Py_VISIT(state->invalid_tag);
    Py_VISIT(state->already_finalized);
    Py_VISIT(state->unsupported_algorithm);
    Py_VISIT(state->digest_type);
    return 0;
}

static int native_clear(PyObject *module)
{
    NativeState *state = PyModule_GetState(module);
    Py_CLEAR(state->invalid_tag);
    Py_CLEAR(state->already_finalized);
    Py_CLEAR(state->unsupported_algorithm);
    Py_CLEAR(state->digest_type);
    return 0;
}

static PyModuleDef_Slot native_slots[] = {
    {Py_mod_exec, (void *)native_exec},
    {0, NULL},
};

static struct PyModuleDef native_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_qpq_native",
    .m_doc = PyDoc_STR("Primitives over libsodium, mbedTLS (AES-128) and mlkem-native."),
    .m_size = sizeof(NativeState),
    .m_methods = native_functions,
    .m_slots = native_slots,
    .m_traverse = native_traverse,
    .m_clear = native_clear,
};

PyMODINIT_FUNC PyInit__qpq_native(void)
{
    return PyModuleDef_Init(&native_module);
}
