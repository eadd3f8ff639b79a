/*
 * _qpq_store: the module that hands the program's bytecode to its importer (qpq_finder.py).
 *
 * Modules lie in groups, each compressed as a whole, in the order in which the program imports them. The group that was
 * unpacked last is kept until another is needed, or until its last module has been taken.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <marshal.h>

#include <stdlib.h>
#include <string.h>

#include "lzma.h"
#include "store.h"

static unsigned char *unpacked;
static unsigned unpacked_group;
static unsigned left_in_group;

unsigned char *cold_unpack(unsigned group)
{
    const struct cold_group *row = &cold_groups[group];
    unsigned char *data = malloc(row->size);
    if (data && lzma_decode(cold_data + row->at, row->packed, data, row->size)) {
        free(data);
        data = NULL;
    }
    return data;
}

static int by_name(const void *key, const void *row)
{
    return strcmp(key, ((const struct cold_module *)row)->name);
}

static const struct cold_module *find(const char *name)
{
    return bsearch(name, cold_modules, cold_module_count, sizeof *cold_modules, by_name);
}

static void forget_group(void)
{
    free(unpacked);
    unpacked = NULL;
}

static int take_group(unsigned group)
{
    if (unpacked && unpacked_group == group)
        return 0;
    forget_group();
    unpacked = cold_unpack(group);
    unpacked_group = group;
    left_in_group = 0;
    for (unsigned i = 0; i < cold_module_count; i++)
        left_in_group += cold_modules[i].group == group;
    return unpacked ? 0 : -1;
}

static PyObject *is_package(PyObject *self, PyObject *name)
{
    (void)self;
    const char *text = PyUnicode_AsUTF8(name);
    if (!text)
        return NULL;
    const struct cold_module *row = find(text);
    if (!row)
        Py_RETURN_NONE;
    return PyBool_FromLong(row->is_package);
}

static PyObject *code(PyObject *self, PyObject *name)
{
    (void)self;
    const char *text = PyUnicode_AsUTF8(name);
    if (!text)
        return NULL;
    const struct cold_module *row = find(text);
    if (!row)
        return PyErr_Format(PyExc_ImportError, "no module named %R", name);
    if (take_group(row->group))
        return PyErr_NoMemory();
    PyObject *result = PyMarshal_ReadObjectFromString((const char *)unpacked + row->at, row->size);
    if (--left_in_group == 0)
        forget_group();
    return result;
}

static PyMethodDef methods[] = {
    {"is_package", is_package, METH_O, NULL},
    {"code", code, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_qpq_store", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__qpq_store(void)
{
    PyObject *made = PyModule_Create(&module);
    if (made && (PyModule_AddStringConstant(made, "VERSION", QPQ_VERSION) ||
                 PyModule_AddStringConstant(made, "COMMIT", QPQ_COMMIT) ||
                 PyModule_AddStringConstant(made, "TARGET", QPQ_TARGET)))
        Py_CLEAR(made);
    return made;
}
