"""Packages for OpenWrt and Gluon: the staged tree, .ipk, .apk, and a signed feed of both."""
