/* mlkem-native: ML-KEM-768 only, portable C, one translation unit, no randomness of its own. */
#ifndef QPQ_MLKEM_CONFIG_H
#define QPQ_MLKEM_CONFIG_H

#define MLK_CONFIG_PARAMETER_SET 768
#define MLK_CONFIG_NAMESPACE_PREFIX qpq_mlkem
#define MLK_CONFIG_INTERNAL_API_QUALIFIER static
#define MLK_CONFIG_NO_RANDOMIZED_API
#define MLK_CONFIG_NO_SUPERCOP
#define MLK_CONFIG_SERIAL_FIPS202_ONLY
#define MLK_CONFIG_FIPS202_CUSTOM_HEADER "mlkem_fips202.h"

#endif
