"""CPython's core and the extension modules the program may use, as static libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cross import cache, fetch
from cross.process import jobs, run
from cross.recipe import host, sqlite, zlib

if TYPE_CHECKING:
    from pathlib import Path

    from cross.toolchain import Toolchain

# Extension modules that need a library which is not here, or that no program on a router has a use for. Of the others
# only those that are imported come into the program (cross.link).
LEFT_OUT = (
    "_ssl",
    "_hashlib",
    "_uuid",
    "_ctypes",
    "_curses",
    "_curses_panel",
    "_dbm",
    "_gdbm",
    "_tkinter",
    "_lzma",
    "_bz2",
    "readline",
    "nis",
    "syslog",
    "_crypt",
    "_elementtree",
    "pyexpat",
    "_codecs_cn",
    "_codecs_hk",
    "_codecs_iso2022",
    "_codecs_jp",
    "_codecs_kr",
    "_codecs_tw",
    "_multibytecodec",
    "unicodedata",
    "_decimal",
    "_zoneinfo",
    "_statistics",
    "_interpchannels",
    "_interpqueues",
    "_interpreters",
    "_lsprof",
    "_multiprocessing",
    "_posixshmem",
    "cmath",
)
HASHES = "Modules/_hacl/libHacl_Hash_SHA2.a"
OPTIONS = (
    "--disable-shared",
    "--without-doc-strings",
    "--disable-test-modules",
    "--with-ensurepip=no",
    "--with-pkg-config=no",
    "--without-mimalloc",
    "--with-hash-algorithm=siphash13",
    "--without-readline",
    "--enable-ipv6",
    "--without-c-locale-coercion",
)
ANSWERS = {
    "MODULE_BUILDTYPE": "static",
    "PKG_CONFIG": "/bin/false",
    "LINKFORSHARED": " ",
    "ac_cv_file__dev_ptmx": "yes",
    "ac_cv_file__dev_ptc": "no",
    "ac_cv_buggy_getaddrinfo": "no",
    "ac_cv_func_dlopen": "no",
    "ac_cv_lib_dl_dlopen": "no",
    "ac_cv_lib_sqlite3_sqlite3_serialize": "no",
    "ac_cv_lib_sqlite3_sqlite3_load_extension": "no",
}


def build(tools: Toolchain) -> Path:
    """Return the build directory: libpython3.13.a, pyconfig.h and Modules/_hacl/libHacl_Hash_*.a."""
    libraries = (sqlite.build(tools), zlib.build(tools))
    inputs = [
        fetch.pins()["cpython"].sha256,
        tools.key,
        *(path.name for path in libraries),
        cache.code_of("recipe/cpython.py"),
    ]
    return cache.step(f"cpython-{tools.target.name}", inputs, lambda folder: _make(tools, folder, *libraries))


def _make(tools: Toolchain, folder: Path, sqlite_folder: Path, zlib_folder: Path) -> None:
    # A relative path to the source, the same on every machine: make passes it to the compiler as VPATH.
    (folder / "source").symlink_to(fetch.unpacked("cpython"))
    build = folder / "build"
    build.mkdir()
    flags = [*tools.flags, f"-ffile-prefix-map={folder}=.", f"-ffile-prefix-map={cache.cache_dir()}=.", "-DNDEBUG"]
    env = {
        **tools.env,
        **ANSWERS,
        **{f"py_cv_module_{name}": "n/a" for name in LEFT_OUT},
        "CC": tools.cc,
        "AR": tools.ar,
        "RANLIB": ":",
        "CFLAGS": "",
        "OPT": " ".join(flags),
        "LDFLAGS": "-static-pie -pie" if tools.target.pie and tools.runtime else tools.static,
        "LIBSQLITE3_CFLAGS": f"-I{sqlite.amalgamation()}",
        "LIBSQLITE3_LIBS": f"-L{sqlite_folder} -lsqlite3",
        "ZLIB_CFLAGS": f"-I{fetch.unpacked('zlib')}",
        "ZLIB_LIBS": f"-L{zlib_folder} -lz",
    }
    crossing = [f"--host={tools.target.host}", "--build=x86_64-pc-linux-gnu", f"--with-build-python={host.python()}"]
    run(["../source/configure", *crossing, *OPTIONS], cwd=build, env=env, log=folder / "configure.txt")
    run(["make", f"-j{jobs()}", "libpython3.13.a", HASHES], cwd=build, env=env, log=folder / "make.txt")


def flags(folder: Path) -> list[str]:
    """Return the flags of code that is compiled against this CPython."""
    source = fetch.unpacked("cpython")
    return [f"-I{folder / 'build'}", f"-I{source / 'Include'}", f"-I{source / 'Include' / 'internal'}", "-DNDEBUG"]
