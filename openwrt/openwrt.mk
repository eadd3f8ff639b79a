# Packages for OpenWrt and Gluon; included by the Makefile.
#
#   TARGET=mips_24kc         one target only
#   USIGN_KEY=file           the secret key that signs opkg's index, APK_KEY=file the one for apk: openwrt/keys/README.md
#   UNSIGNED=1               a feed without signatures
#   SOURCE_DATE_EPOCH        the time stamp of everything packed (default: the last commit's)

.PHONY: boot-check feed package

MKPKG := $(PY) -m openwrt.mkpkg

package: cross ## pack dist/<target>/qpq for OpenWrt: .ipk (24.10, Gluon) and .apk (25.12)
	@$(MKPKG) package $(TARGET) --apk-key="$(APK_KEY)"

feed: cross ## dist/feed, which a web server gives to opkg and apk: USIGN_KEY=file APK_KEY=file, or UNSIGNED=1
	@$(MKPKG) feed $(TARGET) --usign-key="$(USIGN_KEY)" --apk-key="$(APK_KEY)" $(if $(UNSIGNED),--unsigned)

boot-check: $(VENV)/run.stamp ## boot the packages in QEMU, two routers each that meet, write, lose power and come back
	@PYTHONPATH=tests:tests/rigs $(PY) -m router $(TARGET)
