"""Signals end a command that runs until it is stopped."""

from __future__ import annotations

import signal
import time

import pytest

from fiftyone_deepcluster.cli.ending import interrupted_by_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_that_was_caught_comes_again(number):
    before = signal.getsignal(number)
    with interrupted_by_signals(again_after=0.1):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            time.sleep(30)
    assert signal.getsignal(number) is before


def test_nothing_comes_after_the_block():
    with pytest.raises(KeyboardInterrupt), interrupted_by_signals(again_after=0.1):
        signal.raise_signal(signal.SIGTERM)
    with interrupted_by_signals():
        time.sleep(0.3)
