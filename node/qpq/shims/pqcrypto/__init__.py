"""The part of ``pqcrypto`` that this program uses: ML-KEM-768."""
