# Packages for OpenWrt and Gluon; included by the Makefile.
#
#   TARGET=mips_24kc         one target only
#   SOURCE_DATE_EPOCH        the time stamp of everything packed (default: the last commit's)

.PHONY: package

MKPKG := $(PY) -m openwrt.mkpkg

package: cross ## pack dist/<target>/qpq for OpenWrt: .ipk (24.10, Gluon) and .apk (25.12)
	@$(MKPKG) package $(TARGET)
