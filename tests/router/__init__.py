"""Routers in QEMU: the installed package boots, two of them find each other, one loses power (`make boot-check`)."""
