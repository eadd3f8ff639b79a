/*
 * _qpq_store: the module that hands the program's bytecode to its importer (qpq_finder.py).
 *
 * Modules lie in groups, each compressed as a whole, in the order in which the program imports them. The two groups that
 * were used last are kept unpacked, until let_go() is called.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <marshal.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lzma.h"
#include "store.h"

/* The newest first. Two, since what dataclasses wrote for one class may serve a later one of the next group as well; the
 * older one is forgotten after so many modules that were not in it. */
enum { KEPT = 2, PATIENCE = 12 };

static struct {
    unsigned char *data;
    unsigned group;
} kept[KEPT];
static unsigned idle;

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

static void forget(unsigned at)
{
    free(kept[at].data);
    kept[at].data = NULL;
}

static int take_group(unsigned group)
{
    if (kept[0].data && kept[0].group == group) {
        if (++idle > PATIENCE)
            forget(1);
        return 0;
    }
    unsigned char *data = NULL;
    if (kept[1].data && kept[1].group == group)
        data = kept[1].data;
    else
        forget(1);
    kept[1] = kept[0];
    kept[0].data = data ? data : cold_unpack(group);
    kept[0].group = group;
    idle = 0;
    return kept[0].data ? 0 : -1;
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
    return PyMarshal_ReadObjectFromString((const char *)kept[0].data + row->at, row->size);
}

/* What was unpacked is freed, and of the compressed modules, which are part of this program's file, no page is held. */
static PyObject *let_go(PyObject *self, PyObject *none)
{
    (void)self;
    (void)none;
    for (unsigned at = 0; at < KEPT; at++)
        forget(at);
    const struct cold_group *last = &cold_groups[cold_group_count - 1];
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)cold_data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)cold_data + last->at + last->packed) / page * page;
    if (begin < end)
        madvise((void *)begin, end - begin, MADV_DONTNEED); /* where it is refused, nothing is lost */
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"is_package", is_package, METH_O, NULL},
    {"code", code, METH_O, NULL},
    {"let_go", let_go, METH_NOARGS, NULL},
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
