/*
 * The program's main(): CPython without environment, site, search path or files, and the compiled entry module in it.
 *
 * What the interpreter needs before it can import (importlib, codecs, encodings) lies in group 0 of the compressed
 * modules; it is unpacked here and handed over as frozen modules. The symbols of CPython's own frozen.c are defined here,
 * so that the linker leaves that file, with its uncompressed modules, out.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relro.h"
#include "store.h"

enum { BOOT_GROUP = 0, MOST_FROZEN = 32, FAILED = 1 };

struct alias {
    const char *name;
    const char *original;
};

static struct _frozen boot_modules[MOST_FROZEN + 1];
static const struct _frozen nothing[1];
static const struct alias boot_aliases[] = {
    {"_frozen_importlib", "importlib._bootstrap"},
    {"_frozen_importlib_external", "importlib._bootstrap_external"},
    {NULL, NULL},
};

const struct _frozen *_PyImport_FrozenBootstrap = boot_modules;
const struct _frozen *_PyImport_FrozenStdlib = nothing;
const struct _frozen *_PyImport_FrozenTest = nothing;
const struct alias *_PyImport_FrozenAliases = boot_aliases;
const struct _frozen *PyImport_FrozenModules;

static int unpack_boot_modules(void)
{
    const unsigned char *data = cold_unpack(BOOT_GROUP);
    unsigned count = 0;
    if (!data)
        return -1;
    for (unsigned i = 0; i < cold_module_count; i++) {
        const struct cold_module *row = &cold_modules[i];
        if (row->group != BOOT_GROUP || count == MOST_FROZEN)
            continue;
        boot_modules[count].name = row->name;
        boot_modules[count].code = data + row->at;
        boot_modules[count].size = (int)row->size;
        boot_modules[count].is_package = row->is_package;
        count++;
    }
    return 0;
}

static PyStatus start(int argc, char **argv)
{
    PyPreConfig early;
    PyPreConfig_InitIsolatedConfig(&early);
    early.utf8_mode = 1;
    PyStatus status = Py_PreInitialize(&early);
    if (PyStatus_Exception(status))
        return status;

    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.optimization_level = 2;
    config.code_debug_ranges = 0;
    config.write_bytecode = 0;
    config.site_import = 0;
    config.pathconfig_warnings = 0;
    config.install_signal_handlers = 1;
    config.module_search_paths_set = 1;
    status = PyConfig_SetBytesArgv(&config, argc, argv);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    return status;
}

/* Import the entry module, call its main() and return the exit status. */
static int enter(void)
{
    int status = FAILED;
    PyObject *finder = PyImport_ImportModule("qpq_finder");
    PyObject *entry = finder ? PyImport_ImportModule("qpq_entry") : NULL;
    PyObject *result = entry ? PyObject_CallMethod(entry, "main", NULL) : NULL;
    if (result)
        status = (int)PyLong_AsLong(result);
    Py_XDECREF(result);
    Py_XDECREF(entry);
    Py_XDECREF(finder);
    if (PyErr_Occurred())
        PyErr_Print(); /* ends the process itself on SystemExit */
    return status;
}

int main(int argc, char **argv)
{
    if (relro_protect()) {
        fputs("qpq: the kernel refuses to make the program's constants read-only\n", stderr);
        return FAILED;
    }
    if (unpack_boot_modules()) {
        fputs("qpq: no memory to start, or the program file is damaged\n", stderr);
        return FAILED;
    }
    PyStatus status = start(argc, argv);
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
    int code = enter();
    return Py_FinalizeEx() < 0 && code == 0 ? FAILED : code;
}
