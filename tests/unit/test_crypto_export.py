"""Exports: passphrases, damage, and texts made to harm."""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode

import pytest

from qpq.crypto import export, primitives
from qpq.crypto.errors import AuthenticationError, CryptoError, ExportError, PassphraseError, UnknownFormatError
from qpq.crypto.export import PREFIX, Cost, check_passphrase, open_export, seal_export

CHEAP = Cost(ops=1, memory_kib=8)
SALT, NONCE = bytes(range(16)), bytes(range(12))
TEXT = seal_export(b"data of anna", "correct horse", salt=SALT, nonce=NONCE, cost=CHEAP)


def armour(raw: bytes) -> str:
    return PREFIX + b64encode(raw).decode()


def dearmour(text: str) -> bytes:
    return b64decode(text.removeprefix(PREFIX))


def with_cost(ops: int, memory_kib: int) -> str:
    return armour(struct.pack(">II", ops, memory_kib) + dearmour(TEXT)[8:])


def test_an_export_opens_with_its_passphrase() -> None:
    assert open_export(TEXT, "correct horse") == b"data of anna"
    assert TEXT.startswith("qpq-identity-1:")
    assert TEXT.isascii()
    assert "\n" not in TEXT


def test_the_default_cost_is_above_the_recommended_least_and_fits_a_router() -> None:
    cost = Cost()
    assert cost.ops * cost.memory_kib >= 2 * 19 * 1024
    assert cost.memory_kib <= 16 * 1024
    text = seal_export(b"data", "correct horse", salt=SALT, nonce=NONCE)
    assert dearmour(text)[:8] == struct.pack(">II", cost.ops, cost.memory_kib)
    assert open_export(text, "correct horse") == b"data"


def test_a_wrong_passphrase_is_refused_and_says_so() -> None:
    with pytest.raises(AuthenticationError, match="wrong passphrase"):
        open_export(TEXT, "correct Horse")


def test_white_space_from_mail_and_terminals_does_not_matter() -> None:
    wrapped = "  " + "\r\n\t".join(TEXT[i : i + 20] for i in range(0, len(TEXT), 20)) + "\n\n"
    assert open_export(wrapped, "correct horse") == b"data of anna"


@pytest.mark.parametrize("length", range(len(TEXT)))
def test_every_cut_of_the_text_is_refused(length: int) -> None:
    with pytest.raises(CryptoError):
        open_export(TEXT[:length], "correct horse")


@pytest.mark.parametrize("place", range(8, len(dearmour(TEXT))))
def test_every_altered_byte_of_salt_nonce_and_ciphertext_is_refused(place: int) -> None:
    raw = bytearray(dearmour(TEXT))
    raw[place] ^= 1
    with pytest.raises(AuthenticationError):
        open_export(armour(bytes(raw)), "correct horse")


@pytest.mark.parametrize(("ops", "memory_kib"), [(2, 8), (1, 9), (1, 16)])
def test_altered_parameters_are_refused(ops: int, memory_kib: int) -> None:
    with pytest.raises(AuthenticationError):
        open_export(with_cost(ops, memory_kib), "correct horse")


@pytest.mark.parametrize(
    ("ops", "memory_kib"),
    [
        (0, 64),
        (17, 64),
        (2**32 - 1, 64),
        (1, 0),
        (1, 7),
        (1, 256 * 1024 + 1),
        (1, 2**32 - 1),
        (2**32 - 1, 2**32 - 1),
        (5, 256 * 1024),
        (16, 64 * 1024 + 1),
    ],
)
def test_hostile_parameters_are_refused_before_any_memory_is_asked_for(
    ops: int, memory_kib: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(primitives, "argon2id", lambda *_args, **_kwargs: pytest.fail("Argon2id ran"))
    with pytest.raises(ExportError, match="made to harm"):
        open_export(with_cost(ops, memory_kib), "correct horse")
    with pytest.raises(ExportError):
        seal_export(b"", "correct horse", salt=SALT, nonce=NONCE, cost=Cost(ops, memory_kib))


def test_a_small_machine_can_lower_the_cap_on_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_export(TEXT, "correct horse", memory_kib=8) == b"data of anna"
    monkeypatch.setattr(primitives, "argon2id", lambda *_args, **_kwargs: pytest.fail("Argon2id ran"))
    with pytest.raises(ExportError, match="needs 8 KiB of memory, more than the 7 KiB"):
        open_export(TEXT, "correct horse", memory_kib=7)


@pytest.mark.parametrize(
    "text",
    ["", "hello", "qpq-identity-", "qpq-identity-1", TEXT.removeprefix("qpq-"), "x" * 300_000],
)
def test_what_is_no_export_is_refused(text: str) -> None:
    with pytest.raises((ExportError, UnknownFormatError)):
        open_export(text, "correct horse")


def test_an_export_of_a_newer_version_is_named_as_such() -> None:
    with pytest.raises(UnknownFormatError, match="newer"):
        open_export(TEXT.replace("-1:", "-2:"), "correct horse")


@pytest.mark.parametrize("bad", ["*", "\u00e9", "=", "====", "-", "_", "\0"])
@pytest.mark.parametrize("place", [0, 10, 40])
def test_foreign_characters_are_refused(bad: str, place: int) -> None:
    at = len(PREFIX) + place
    with pytest.raises(ExportError, match="copy it again"):
        open_export(TEXT[:at] + bad + TEXT[at:], "correct horse")


def test_bits_beyond_the_end_are_refused() -> None:
    raw = bytes(60) + b"\0"
    text = armour(raw)
    assert text.endswith("AA==")
    with pytest.raises(ExportError, match="at its end"):
        open_export(text.removesuffix("AA==") + "AB==", "correct horse")


@pytest.mark.parametrize("passphrase", ["", "seven77", "1234567"])
def test_a_short_passphrase_is_refused(passphrase: str) -> None:
    with pytest.raises(PassphraseError, match="at least 8"):
        seal_export(b"", passphrase, salt=SALT, nonce=NONCE, cost=CHEAP)
    with pytest.raises(PassphraseError, match="at least 8"):
        open_export(TEXT, passphrase)


def test_a_passphrase_counts_characters_and_is_capped_in_bytes() -> None:
    assert check_passphrase("\u00e4" * 8) == "\u00e4".encode() * 8
    assert len(check_passphrase("x" * 1024)) == 1024
    with pytest.raises(PassphraseError, match="at most 1024"):
        check_passphrase("\u00e4" * 513)


def test_a_passphrase_that_is_no_text_is_refused() -> None:
    with pytest.raises(PassphraseError, match="UTF-8"):
        check_passphrase("passphrase\udcff")


def test_too_much_data_is_refused() -> None:
    with pytest.raises(ExportError, match="too much"):
        seal_export(bytes(export.MAX_DATA + 1), "correct horse", salt=SALT, nonce=NONCE, cost=CHEAP)


def test_the_most_data_comes_back() -> None:
    data = bytes(export.MAX_DATA)
    text = seal_export(data, "correct horse", salt=SALT, nonce=NONCE, cost=CHEAP)
    assert open_export(text, "correct horse") == data


@pytest.mark.parametrize(("salt", "nonce"), [(15, 12), (16, 11)])
def test_salt_and_nonce_of_another_length_are_refused(salt: int, nonce: int) -> None:
    with pytest.raises(CryptoError, match="bytes, not"):
        seal_export(b"", "correct horse", salt=bytes(salt), nonce=bytes(nonce), cost=CHEAP)
