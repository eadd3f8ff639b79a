"""Safety numbers: Signal's digits, the same for both people, and nothing but the right one matches."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpq.console.qr_tables import ALPHANUMERIC
from qpq.crypto import primitives
from qpq.crypto.errors import SafetyError, UnknownFormatError
from qpq.crypto.identity import SecretIdentity, text_id
from qpq.crypto.safety import groups, matches, party_digits, safety_number, scan_text

ANNA, BERT, EVE = (SecretIdentity(letter * 32).address for letter in (b"a", b"b", b"e"))
NUMBER = safety_number(ANNA, BERT)


def test_the_derivation_gives_the_digits_of_libsignals_published_vector() -> None:
    # libsignal, rust/protocol/src/fingerprint.rs: ALICE_IDENTITY, BOB_IDENTITY, DISPLAYABLE_FINGERPRINT_V1
    alice = bytes.fromhex("0506863bc66d02b40d27b8d49ca7c09e9239236f9d7d25d6fcca5ce13c7064d868")
    bob = bytes.fromhex("05f781b6fb32fed9ba1cf2de978d4d5da28dc34046ae814402b5c0dbd96fda907b")
    parties = (party_digits(alice, b"+14152222222"), party_digits(bob, b"+14153333333"))
    assert "".join(sorted(parties)) == "300354477692869396892869876765458257569162576843440918079131"


def test_the_derivation_is_what_the_module_says() -> None:
    digest = hashlib.sha512(b"\0\0" + ANNA + ANNA + ANNA).digest()
    digest = hashlib.sha512(digest + ANNA).digest()
    shown = "".join(f"{int.from_bytes(digest[at : at + 5], 'big') % 100_000:05}" for at in range(0, 30, 5))
    assert party_digits(ANNA, ANNA, iterations=2) == shown
    assert party_digits(ANNA, ANNA, iterations=1) != shown


def test_both_people_see_the_same_12_groups_of_5_digits() -> None:
    assert safety_number(BERT, ANNA) == NUMBER
    assert [len(group) for group in groups(NUMBER)] == [5] * 12
    assert "".join(groups(NUMBER)) == NUMBER
    assert NUMBER.isdigit()
    assert safety_number(ANNA, EVE) != NUMBER
    assert "".join(sorted((party_digits(ANNA, ANNA), party_digits(BERT, BERT)))) == NUMBER


@pytest.mark.parametrize("how", [" ".join, "-".join, "\n".join, "".join, "  ".join])
def test_digits_match_however_they_are_grouped(how: object) -> None:
    assert matches(how(groups(NUMBER)), ANNA, BERT, NUMBER)  # type: ignore[operator]


def test_a_single_wrong_digit_does_not_match() -> None:
    for at, digit in enumerate(NUMBER):
        wrong = NUMBER[:at] + str((int(digit) + 1) % 10) + NUMBER[at + 1 :]
        assert not matches(wrong, ANNA, BERT, NUMBER)


@pytest.mark.parametrize("given_text", ["", "1", NUMBER[:-1], NUMBER + "1", "x" * 60, "\u0661" * 60, "\u00b2" * 60])
def test_what_is_no_safety_number_is_refused(given_text: str) -> None:
    with pytest.raises(SafetyError, match="60 digits"):
        matches(given_text, ANNA, BERT, NUMBER)


def test_a_code_is_read_by_the_one_it_is_shown_to() -> None:
    code = scan_text(ANNA, BERT)
    assert set(code) <= set(ALPHANUMERIC)
    assert matches(code, BERT, ANNA, NUMBER)
    assert matches(f"  {code.lower()}\n", BERT, ANNA, NUMBER)
    assert not matches(code, ANNA, BERT, NUMBER), "that is the own screen"
    assert not matches(scan_text(EVE, BERT), BERT, ANNA, NUMBER), "somebody else's screen"
    assert not matches(scan_text(ANNA, EVE), BERT, ANNA, NUMBER), "she sees somebody else in your place"


@pytest.mark.parametrize(
    "code",
    [
        "QPQ-VERIFY:",
        "QPQ-VERIFY:1",
        "QPQ-VERIFY::A:B",
        "QPQ-VERIFY:x:A:B",
        scan_text(ANNA, BERT)[:-1],
        scan_text(ANNA, BERT) + ":",
        scan_text(ANNA, BERT) + "A",
        f"QPQ-VERIFY:1:{text_id(ANNA)}",
    ],
)
def test_a_code_that_was_cut_or_altered_is_refused(code: str) -> None:
    with pytest.raises(SafetyError, match="scan it again"):
        matches(code, BERT, ANNA, NUMBER)


def test_a_code_of_a_later_version_says_so() -> None:
    with pytest.raises(UnknownFormatError, match="newer qpq"):
        matches("QPQ-VERIFY:2:" + "A" * 9, BERT, ANNA, NUMBER)


def test_codes_and_digits_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr("qpq.crypto.safety.equal", lambda one, two: bool(seen.append((one, two))) or one == two)
    assert matches(NUMBER, ANNA, BERT, NUMBER)
    assert matches(scan_text(ANNA, BERT), BERT, ANNA, NUMBER)
    assert seen == [(NUMBER.encode(), NUMBER.encode()), (ANNA + BERT, ANNA + BERT)]


@given(st.text(max_size=200))
def test_no_text_is_more_than_refused(text: str) -> None:
    for given_text in (text, "QPQ-VERIFY:" + text, "QPQ-VERIFY:1:" + text):
        with contextlib.suppress(SafetyError, UnknownFormatError):
            assert matches(given_text, ANNA, BERT, NUMBER) is False


def test_sha512_is_that_of_fips_180_4() -> None:
    assert primitives.sha512(b"abc").hex().startswith("ddaf35a193617abacc417349ae204131")
    assert len(primitives.sha512(b"")) == 64
