"""qpq selftest: what is right passes, what is wrong fails, and its envelope is the one of the vectors."""

from __future__ import annotations

import json
from binascii import a2b_base64
from hashlib import sha256, shake_256
from pathlib import Path

import pytest
from test_crypto_kem import XWING

import mlkem768
from qpq.__main__ import main
from qpq.daemon import selftest, selftest_xwing
from qpq.errors import QpqError

VECTORS = Path(__file__).resolve().parents[2] / "schemas" / "vectors"


def test_this_machine_computes_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(selftest.CHECKS) + 1
    assert all(line.startswith("ok: ") for line in lines[:-1])
    assert lines[-1].startswith(f"selftest: {len(selftest.CHECKS)} right, 0 wrong")


@pytest.mark.parametrize("fault", [QpqError("it fell over"), None])
def test_a_wrong_answer_is_told_and_fails(
    fault: QpqError | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check() -> bool:
        if fault is not None:
            raise fault
        return False

    monkeypatch.setattr(selftest, "CHECKS", (("arithmetic", check), ("patience", lambda: True)))
    assert selftest.run() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("WRONG: arithmetic")
    assert ("it fell over" in lines[0]) is (fault is not None)
    assert lines[2].startswith("selftest: 1 right, 1 wrong")


def test_its_envelope_is_the_first_of_the_vectors() -> None:
    first = json.loads((VECTORS / "envelope.json").read_text())["envelopes"][0]
    assert (first["hex"], first["id"]) == (selftest.ENVELOPE, selftest.ENVELOPE_ID)


def test_its_x_wing_is_the_first_vector_of_the_draft() -> None:
    seed, _, shared, _, ciphertext_hash = XWING[0]
    expanded = shake_256(bytes.fromhex(seed)).digest(96)
    secret = mlkem768.keygen(expanded[:64])[1]
    data = a2b_base64(selftest_xwing._DATA)
    assert data[:-1120] == expanded[64:] + secret[:2336] + secret[2368:]
    assert sha256(data[-1120:]).hexdigest() == ciphertext_hash
    assert shared == selftest_xwing.SHARED
