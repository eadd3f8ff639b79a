"""Names of domains and of users before the @."""

from __future__ import annotations

import pytest

from qpq.wire.domain import MAX_DOMAIN, MAX_USER, check_domain, check_user
from qpq.wire.errors import FieldError


@pytest.mark.parametrize("domain", ["berlin.example", "a", "x-1.y", "a" * 63, ".".join(["a" * 62] * 4)])
def test_labels_of_small_letters_digits_and_hyphens_are_a_domain(domain: str) -> None:
    check_domain(domain)


@pytest.mark.parametrize(
    "domain",
    ["", ".", "a.", ".a", "a..b", "-a", "a-", "A", "ä.de", "a_b", "a" * 64, "a." * (MAX_DOMAIN // 2 + 1)],
)
def test_whatever_else_is_none(domain: str) -> None:
    with pytest.raises(FieldError):
        check_domain(domain)


@pytest.mark.parametrize("name", ["", "a@b", "a\n", "ä" * (MAX_USER // 2 + 1)])
def test_a_users_name_has_bounds(name: str) -> None:
    with pytest.raises(FieldError):
        check_user(name)


def test_a_users_name_may_be_any_script() -> None:
    check_user("änne-1")
    check_user("x" * MAX_USER)
