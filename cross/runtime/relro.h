#ifndef QPQ_RELRO_H
#define QPQ_RELRO_H

/* Make read-only what the linker marked so (RELRO); 0 when done or when nothing is marked, -1 when the kernel refuses. */
int relro_protect(void);

#endif
