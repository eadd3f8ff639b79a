# The static binaries; included by the Makefile. $QPQ_CACHE (default ~/.cache/qpq) keeps what was fetched and built.
#
#   TARGET=mips_24kc         one target only: x86_64, aarch64_cortex-a53, arm_cortex-a7_neon-vfpv4, mips_24kc, mipsel_24kc
#   CC, AR, STRIP, CFLAGS    take the place of the target's own compiler

.PHONY: bench-binary bench-hot bench-sealing cross cross-again cross-pins cross-setup selftest size target-tests

CROSS := $(PY) -m cross

cross: $(VENV)/run.stamp ## build dist/<target>/qpq, one static ELF, for every target or TARGET
	@$(CROSS) build $(TARGET)

cross-again: $(VENV)/run.stamp ## build in another directory from an empty cache, and compare with dist/ byte for byte
	@$(CROSS) again $(TARGET)

size: $(VENV)/run.stamp ## what the binaries weigh, part by part; fails over budget; writes dist/size.json
	@$(CROSS) size $(TARGET) $(ARGS)

selftest: $(VENV)/run.stamp ## run the built binaries' self-test, under qemu-user where needed
	@$(CROSS) selftest $(TARGET)

target-tests: $(VENV)/dev.stamp ## run the core's and the stand-ins' tests on the targets' interpreters
	@$(CROSS) tests $(TARGET) --words="$(ARGS)"

bench-binary: $(VENV)/run.stamp ## the binary beside the node on a PC and Reticulum, and on an emulated router
	@$(PY) tests/bench/binary.py $(ARGS)

bench-sealing: $(VENV)/run.stamp ## agreement, ratchet, passphrase and their sizes, here and on an emulated router
	@$(PY) tests/bench/sealing.py $(ARGS)

bench-hot: $(VENV)/run.stamp ## what it would bring to compile single modules of the binary
	@$(PY) tests/bench/hot.py $(ARGS)

cross-pins: $(VENV)/run.stamp ## propose the newest pins of the sources
	@$(CROSS) pins

cross-setup: $(VENV)/run.stamp ## install what the cross build needs (Debian, as root)
	@$(CROSS) setup
