/* What libsodium's configure would have found out; included before each of its files (-include). */
#ifndef QPQ_SODIUM_CONFIG_H
#define QPQ_SODIUM_CONFIG_H

#define CONFIGURED 1
#define SODIUM_STATIC 1

/* Portable code only. Vector and assembler variants need a choice at run time and cost flash. */
#if defined(__SIZEOF_INT128__)
#define HAVE_TI_MODE 1
#endif
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define NATIVE_BIG_ENDIAN 1
#else
#define NATIVE_LITTLE_ENDIAN 1
#endif

#define HAVE_WEAK_SYMBOLS 1
#define HAVE_INLINE_ASM 1
#define HAVE_SYS_MMAN_H 1
#define HAVE_MMAP 1

#endif
