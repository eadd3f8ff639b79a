"""What comes over the control socket and stands in the configuration."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qpq.daemon import config, control_line, uci
from qpq.daemon.control_line import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable


def control(data: bytes) -> None:
    with contextlib.suppress(RequestError):
        request = control_line.decode(data)
        assert request.id >= 0
        control_line.answer(request.id, dict(request.args))


def grammar(data: bytes) -> None:
    with contextlib.suppress(uci.UciError):
        for section in uci.parse(data).sections:
            assert all(option.items for option in section.options.values())


def configuration(data: bytes) -> None:
    """Read a file and no environment: a bad value is a ConfigError, nothing else."""
    with contextlib.suppress(config.ConfigError):
        config.load([], {"HOME": "/nonexistent", "QPQ_CONFIG": "/etc/config/qpq"}, lambda _path: data)


TARGETS: dict[str, Callable[[bytes], None]] = {"control": control, "uci": grammar, "config": configuration}
