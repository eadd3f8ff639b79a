/* The modules that the program carries as compressed bytecode; the tables are written by cross/program/pack.py. */

#ifndef QPQ_STORE_H
#define QPQ_STORE_H

#include <stdint.h>

struct cold_module {
    const char *name;
    uint32_t at;   /* offset in its group, bytes */
    uint32_t size; /* of the marshalled code, bytes */
    uint8_t group;
    uint8_t is_package;
};

struct cold_group {
    uint32_t at;     /* offset in cold_data, bytes */
    uint32_t packed; /* bytes there */
    uint32_t size;   /* bytes unpacked */
};

extern const unsigned char cold_data[];
extern const struct cold_group cold_groups[];
extern const unsigned cold_group_count;
/* Sorted by name (strcmp). Group 0 holds what the interpreter needs before it can import anything. */
extern const struct cold_module cold_modules[];
extern const unsigned cold_module_count;

/* Return the unpacked bytes of a group, to be freed by the caller, or NULL. */
unsigned char *cold_unpack(unsigned group);

#endif
