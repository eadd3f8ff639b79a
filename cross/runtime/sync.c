/* MIPS16e has no ll/sc, so GCC calls these functions for atomics; this file is compiled as plain MIPS32. */

#define NAMED(symbol) __asm__("__sync_" #symbol)

typedef volatile unsigned word;
typedef volatile unsigned char byte;

unsigned add_and_fetch(word *at, unsigned value) NAMED(add_and_fetch_4);
unsigned fetch_and_add(word *at, unsigned value) NAMED(fetch_and_add_4);
unsigned fetch_and_and(word *at, unsigned value) NAMED(fetch_and_and_4);
unsigned fetch_and_or(word *at, unsigned value) NAMED(fetch_and_or_4);
unsigned compare_and_swap(word *at, unsigned old, unsigned new) NAMED(val_compare_and_swap_4);
unsigned test_and_set(word *at, unsigned value) NAMED(lock_test_and_set_4);
unsigned char compare_and_swap_byte(byte *at, unsigned char old, unsigned char new) NAMED(val_compare_and_swap_1);
unsigned char test_and_set_byte(byte *at, unsigned char value) NAMED(lock_test_and_set_1);
unsigned char fetch_and_or_byte(byte *at, unsigned char value) NAMED(fetch_and_or_1);
unsigned char fetch_and_and_byte(byte *at, unsigned char value) NAMED(fetch_and_and_1);
void synchronize(void) NAMED(synchronize);

unsigned add_and_fetch(word *at, unsigned value) { return __sync_add_and_fetch(at, value); }
unsigned fetch_and_add(word *at, unsigned value) { return __sync_fetch_and_add(at, value); }
unsigned fetch_and_and(word *at, unsigned value) { return __sync_fetch_and_and(at, value); }
unsigned fetch_and_or(word *at, unsigned value) { return __sync_fetch_and_or(at, value); }
unsigned compare_and_swap(word *at, unsigned old, unsigned new) { return __sync_val_compare_and_swap(at, old, new); }
unsigned test_and_set(word *at, unsigned value) { return __sync_lock_test_and_set(at, value); }
unsigned char compare_and_swap_byte(byte *at, unsigned char old, unsigned char new)
{
    return __sync_val_compare_and_swap(at, old, new);
}
unsigned char test_and_set_byte(byte *at, unsigned char value) { return __sync_lock_test_and_set(at, value); }
unsigned char fetch_and_or_byte(byte *at, unsigned char value) { return __sync_fetch_and_or(at, value); }
unsigned char fetch_and_and_byte(byte *at, unsigned char value) { return __sync_fetch_and_and(at, value); }
void synchronize(void) { __sync_synchronize(); }
