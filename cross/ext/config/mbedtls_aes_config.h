/* mbedTLS, cut down to AES-128 encryption and GCM, with small tables in read-only memory. */
#ifndef QPQ_MBEDTLS_AES_CONFIG_H
#define QPQ_MBEDTLS_AES_CONFIG_H

#define MBEDTLS_AES_C
#define MBEDTLS_GCM_C
#define MBEDTLS_AES_ONLY_128_BIT_KEY_LENGTH
#define MBEDTLS_AES_ROM_TABLES
#define MBEDTLS_AES_FEWER_TABLES
#define MBEDTLS_BLOCK_CIPHER_NO_DECRYPT

#endif
