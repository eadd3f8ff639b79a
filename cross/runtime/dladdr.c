/*
 * Nuitka's runtime asks the dynamic linker which file its code lies in, to make paths that this program never uses.
 * A static program has no dynamic linker, and Nuitka does not look whether it got an answer: so it gets one.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

int dladdr(const void *address, Dl_info *info)
{
    *info = (Dl_info){.dli_fname = "/qpq", .dli_fbase = NULL, .dli_sname = NULL, .dli_saddr = (void *)address};
    return 1;
}
