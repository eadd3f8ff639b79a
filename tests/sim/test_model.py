"""The link model beside real aioquic over the same lossy wire: what the large runs rest on."""

from __future__ import annotations

import pytest

from sim.fit import watch
from sim.lines import ModelLines
from sim.quic import QuicLines

SEEDS = range(12)
TOLERANCE = {0.0: (0.02, 0.02), 0.1: (0.05, 0.4), 0.3: (0.06, 0.4), 0.5: (0.1, 0.5), 0.8: (0.1, 0.5)}
"""For each loss by which part the model's bytes, and its mean delivery delay, may differ from aioquic's.

Delays at high loss have a long tail: their mean over a dozen seeds differs that much between seeds alone.
"""


@pytest.mark.parametrize("loss", sorted(TOLERANCE))
def test_the_model_takes_the_bytes_and_the_time_that_aioquic_takes(loss: float) -> None:
    real, model = (watch(lines, loss, SEEDS) for lines in (QuicLines, ModelLines))
    bytes_off, delay_off = TOLERANCE[loss]
    assert len(model.delays) == len(real.delays), "both deliver everything"
    assert model.size == pytest.approx(real.size, rel=bytes_off)
    assert model.mean_delay == pytest.approx(real.mean_delay, rel=delay_off)
    # Not the median: of messages that lose half of their packets that is the edge between the first and its repair.
    assert model.delay(60) == pytest.approx(real.delay(60), rel=delay_off, abs=0.03)
    assert sum(model.rest_bytes) == pytest.approx(sum(real.rest_bytes), rel=0.25)


@pytest.mark.parametrize("loss", sorted(TOLERANCE))
def test_a_link_of_the_model_comes_up_with_the_bytes_of_aioquics(loss: float) -> None:
    real, model = (watch(lines, loss, range(60), messages=0, rest_s=0) for lines in (QuicLines, ModelLines))
    assert sum(model.link_bytes) == pytest.approx(sum(real.link_bytes), rel=0.25)
