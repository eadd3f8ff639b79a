/*
 * RELRO of a static program. Its ELF header says which pages are read-only once they are relocated; a dynamic linker
 * would protect them, and musl's static start, which relocates the program, does not. So the program does it itself,
 * before anything else.
 */

#define _GNU_SOURCE
#include "relro.h"

#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>

static int protect(struct dl_phdr_info *program, size_t size, void *nothing)
{
    (void)size;
    (void)nothing;
    const uintptr_t within_page = getauxval(AT_PAGESZ) - 1;
    for (int i = 0; i < program->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &program->dlpi_phdr[i];
        if (part->p_type != PT_GNU_RELRO)
            continue;
        uintptr_t from = (program->dlpi_addr + part->p_vaddr) & ~within_page;
        uintptr_t end = (program->dlpi_addr + part->p_vaddr + part->p_memsz) & ~within_page;
        if (from < end && mprotect((void *)from, end - from, PROT_READ))
            return -1;
    }
    return 0;
}

int relro_protect(void)
{
    return dl_iterate_phdr(protect, NULL);
}
