"""The first test vector of draft-connolly-cfrg-xwing-kem, for ``qpq selftest``."""

from __future__ import annotations

from binascii import a2b_base64

from qpq.crypto import xwing
from qpq.crypto.kem import standard_kem
from qpq.crypto.primitives import sha3_256, x25519_public

SHARED = "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384"
_SECRET = 32 + 2336
"""X25519 secret, ML-KEM-768 secret without what can be computed."""


def agrees() -> bool:
    """Whether the ciphertext gives the shared secret that the draft prints."""
    data = a2b_base64(_DATA)
    x25519_secret, kem_secret, rest = data[:32], data[32:_SECRET], data[_SECRET:]
    secret = b"".join((x25519_secret, kem_secret, sha3_256(kem_secret[1152:]), rest[:32]))
    return xwing.decapsulate(standard_kem(), secret, x25519_public(x25519_secret), rest[32:]).hex() == SHARED


# The draft's seed, expanded: X25519 secret (32), ML-KEM-768 secret (1152 + 1184), z (32); then the ciphertext (1120).
_DATA = (
    "zT8szmbtEw5ec6Dr1FThVIiIWioVRCUqIOD1i26PwnsgOMc9OjIwEXeOgFHuOjLGAc1l2sCo+alAgSPwZEiL62GKEUPUWpz4FsyVm4Ocuw8fnLsM"
    "lapceyqFA16IxGRPVVmNUXumw7XbCjI0IhhIcVB7w78Gykt945b8wUfi042F4yqggoxQe8LbycSThDnthyIHvL/+I2h6/Gt2Ebj9esJ601qKuybZ"
    "EHQBC2xzVaFRTKW6gTFrC1zduabYGaIahwDY+ZsHiEE9XDx9fKGbgAIImoqMonsFkF6UvGHj188ttpfFlisLSzk7sJu/+i6MbG6Twrw06kgXFlVJ"
    "2i1rqKRAN7gQt3wOGTSmlTcWMTQmGyNCyGg0a0HYCQOBwMAMMxvjiCK/4pa/yjWSGCDnZDvoqCvOWcxl1Sf66McDWUrYVxhP5Hna7Kskl5zxYoJW"
    "1I8l2n5qMGs5oKhSVAytGAxQwLTGd6Aui5t5ZAHF3BSlKCWgiMMbRHFVBE8LCBhzNZ8KUsRo5or9OU6JSKx5wpN4QKTfyB+vUhS92hwC1M7raSVg"
    "trhn18o7+69fHDMeNqnq5pawkl5n8ZQysJf4d6WZ2K7cMCuROBCX2Q0hiCRqlw7DWAqrFUMK10dye0Kn98PLexIMpozWZkd22Z1l8whspbyxmI8d"
    "vJmqwm1nAQvTCMDOl5Wei4ZIIS89Ji5N9bdOEMuwqz6gXEjfZLgS+BA1R3a8V3aS5SGZy3pgNMsD2GH5WzuOURRiO3HV8BQiI7oX21HUpZGySqRj"
    "ypataklgGDrXJJ0pSr+QcS+FyJ5WowZwh3wMWkhQOGwKgiOYBCtptnK9NZv2d0ppuhprmQ4U0asSgDWIei+c5mDGFJB/8hdadwhk4nQH4xIhgn84"
    "GBTY6sa+ar/bynG0crWJKcE3lzYlcr+qFl2GSp3McWENs7IztA47JWcm4xc7fH59dc+UKCulViK85nmWF8kS5RAw+CbRpsJ4dJzIZFLDYpeRemDu"
    "Jxv+BaxNJ520SkZxMyJ7gGp5lpRlFiXFCgZ5EJ5A9m9chLtqOU+YHGB7VLkMMILDhD2BSAIBejoM1DXQAEZdOZtrqSRTAXP7FERjWxqlzKS5040n"
    "t6jw1SR6sTQj+kZQSstmsG6WERG6wGk+4H0Ugpc11jqER6L07GB/ApZ8Yx5Su2hQM6u/2G9WIHJwdc0/RSug15NTZq7fJxLC2Sq5U0di0b3gM6Lz"
    "8G7n255fATHhNk2tc3Jb03CSdgXtOBlAGbnk9Ue6ti2rULLharavlMtsVR7kN5qsB3IpnLvjpYsI6bb3DKnsdG8ixKlOqXJgCVrk/KbJCi/SWpsl"
    "7F31sCddSE4HImodczSii74kilxWslJAy4Tf2yhHqIUeEH2JxVTGM4qOVavXN67fQQTMCFUPckqT2A2siZZj5QmRe5a98VyjAT8SYgMNyR6oeqvH"
    "yJUOwXSDSks1iBMjqiSgcwtxwEeiW6L1psQE9yzClJEO4M6QNRu4RKRICqJcZFL00KVROQotOgzIHImyGE4cSE41o2vGUDF3imyT5o2xwXziwB8A"
    "EGN39HziBSPiI2s1qMJLObEKoTI6lqkZos7YhABjOnsHExcT/BSytbGc/D2l+hqSxJ8lUT4P0w1rFhHJq5Y11whnJ6S30h00JE5mlpzxWzsqeFMp"
    "9hsJayd+oDc4NHmmtVbecjH+S3+pyawkwGmaABilJTQBus+pBcqBZXPlai0uBn6bcodTO6E6k33tsx+kS6ztQHaZI2EANK4x5hmhcCRRmbPFw5hk"
    "hZ/htMlxegfDBJW9+5igoALM9WwShs71BB3t48RM8Wv1YsdEhRgCaz2LmUBoCr04oVdf0ntY2gY7+sMsOcMIaTdMBcGusYmLazA8xovkVTRu4K9p"
    "ljYiShSMoq6hBGMRHHCfabaccM6FOHRmmMTGCprvADDHkkzuxCpdNoFvVF6uEyk0YLOss36g4T1w5Kp4aG2jmKg5fAjq+WiCET/k97rU2kCwUB4c"
    "dT7+cwU8hwFOhmHDMJmv6L7eQUpbGqJ9g5Kz4THppwwQVYeCQMrQ9A1f4834Ujbq2X4ql0SDY7KAjKr9UWzSUFLFw2JUPCUX5KzQ5g7AcWMAm2Ql"
    "/DInes7nHCS6tT7Z8p50xmoKNWSVWZjXa5apqLUNFjWk16Z+tC31ZE0zBFcpOoBC9TzHppKI8X7VWCfoKyjoJmWoahT72WZF7KgXLARPg7wNjAtM"
    "hiaYVjHKh6+CkGjxNYljyzM2ZMpIJ2O6OzuyCFd/m6asYsJfdlknQ7ZL5RkxdxTLQQLLey+aJbK08GFd4x3s2cpVAm1toLZREbFv5S/u2KSH4URG"
    "Km26k3KPUAtv/EnlFVae8l/tF6/1IFBzaCU1JYYPWL475hyWRgSmrIFOaTVZZAKlIKRnCz0oQxiGZZPRWkuwHDXj5YfuDGfSiA1vJAf7enBxK4ON"
    "65bF178rRLz2A4zL4z+89RpUpYT+kAg8kcem1D1PsV9Ixgwv1m4Kiq1K1k5cQruId8Dr7CteOHyKmI/cI7654WyHV3geChSZxh4TjCHyFsKdB2l5"
    "hxyqaUK6/AkFRL7pm1SxbLmpo2TWJG2fQszlPGa1nEXI+a6SmaddFRgMPJUhUakbehB3JCncTLrm/MYi+oAYxjQ5+JBjC5ko22u3+UOK5AZe001z"
    "1Ibz9S+Q8IB9yI392Mco6VTxrDXAbAAM5BoFglgOO7V7ZylyiQrF55iOeFBlcRbxtX0ICart7Avt4a4UgUgxHG9+MXNG5RifuM1jW5hvjAvdJ2Qc"
    "WEt3izqRGoC+HJaSq44buxKDlXPM4Z3xg7RYNbu1UFL5/GahZ47yo23qeEEebI1gUBtOYFktE2mKlDtQkYXbkS4uoQvgYXEjazJ8cXFglMlkposD"
    "N39ROgW82ZwfNGWDuwUpd6EKEq38dYA05WF9pMEnZYXld04fO5l4sJ0OnETTvIYVHEOq0YVxJxc0AiOsOB0hFQoEKU6XuxO72iG1oYK22paeGaf9"
    "Byc3+o6IClPCQo49BJt9IZdAUpbds2GRKnvPSCfO1hHQx6faEE3eQyIJUzn2SmHVuxCP8L9NeAyuUJ+yLCVpFBk/9zSQQlgSN9Uigogk7jvf0H+w"
    "Px+ULS6hef5yLwbMA95bafD8b6TkgnUxFoCH7yI+mwcMWninif1G1MYE1psROdTauDqoKNTWK5qDzv/h09O7HvMSZGQ8BwxXmJJ+QfsHkUonP4+W"
    "54Js1TdaKD19qIUwTF3gUWoPBlQkPcW5f4v+uDH2glEhmqvdcjvGUSBBrLrvivRCZVJJQrkC5o/9IyIc2nCxtV13apLRFD6joMR19j7miQFXxxFt"
    "rj9iv3L2Cs0ruMwxziug3jZPUrjtOMedcZcVljpd04QtjotDq3BOR1m1MnvwJ8Y8j6hXxJCNWop7iKx/K+OU2Tw3Bt3U5pjMbONwEB9NAhMlQji0"
    "ouiCG25BShzyD2wSRLaZBG9aAcqgoaVVFjALQNIEjHfMc6+6ea/uqdLAEYvfKtuIcNwyjFUWzEWxogWBQQOeLJChEKnhazGN+1O9SaEm1rc/IVeH"
    "UXuJF8wByr0QfQaFmFTui0+YYcIm03ZMhzOasWw2Z9L0k4TlVFbdQEFLcKavhBWF9MkMaHJdV3BO6O585uL5vlgtvumF4Dj/w0br+04iFYtshDdK"
    "mrSkTh+R3lqsUZf4m8XlRC9R+aWTexAro76uv24cWDgKSl/tzkpOUCb4j1KPWf/S20F1Kzo9kO+r5GOJm31AhwxTDIhB6HErczZo7QM62/r7LUnT"
    "ekTUBk5YY+sK8KCNR7PMiINzvAX3ozuEG8JYfFfraVVOijdnt1BpF7a3BJhyfxbqwaNuyNjPr3UVSfInfbJ36KVamlEGsjoCBrRyH6mzBIVSxb1b"
    "WU1uJH84wYxZGup/ViSccs57EXr8w6hiFYL5z3F4fhg97gk2eXbphAmtkhekl9+IgEI4TXcHprePX3+4QJ47U1F1NzRht3YALXmcutYoYL5wVz7L"
    "4Tskbg2n6TpSFo4Ptql1a4le9/AUeg3IG/pkSwiKkigWDA+azxN5opQc0owG68gOROF6ovgXcBCv14qXzgho0WKeuylMUVGBLFg9rriGhSIPTakR"
    "gRLgcEH8wk1VZKmf294ohp/gciOH16mk0W4cyFVZF+CZRKpeuqrsLPYmk6+tQqP1GPzmfSc8xsn7VHKzgOhXPsfeBqO6L9X5MdcltJMCbLCsvT/m"
    "LQDkx5DZZdegOjwLQiK6jCqaFuKsZY9XKuDnRur8T+ugI1dvCJQieKBB+4KnClldW6y/KXziApiYpx5cOw0cYii0hbGt5QmzX7yn7Kl7ITLny2vE"
    "ZTdRRrfc6slpMIrAwqyJ54Y+uJQwFbJDFMr7nHwOhf5UPVZljCE2Mlme+r/B7EndjIhUe7LMQMnTjL0wmbRUeEBWBTHQGIzR6cI6Dr7goD1Vd9Zr"
    "HSvLS6ryHMf+8eA4BsqWKZ3w37xW4bK0Pk/CDDf4NMSvYhJ+fa6Gw8JaL2lqyLWJ3scdWVv76Ute1LwH2ACzMHlv2ontt3vgKUE2E5NU64zTdZFX"
    "j5xgDdm+jsYhn91Qet8zl+1NaHB7jROyTOTNj7IoUb/p1jJAfzHtb3yxYA3lbxdXZ0DOKjL8UUUDAUXPuX5j4OQdNUJ0oHnT5vsuFQ=="
)
