"""When a signal is heeded: where it leaves nothing half done."""

import os
import signal
import threading

import pytest

from flowruns.server.signals import Interrupts, handled_signals


def sent(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_waits_until_it_is_allowed(number: int) -> None:
    done = []
    with handled_signals((interrupts := Interrupts()).receive):
        sent(number)
        done.append("setup")
        with pytest.raises(KeyboardInterrupt), interrupts.allowed():
            done.append("within")
    assert done == ["setup"]


def test_signal_interrupts_what_is_allowed_and_not_what_comes_after() -> None:
    with handled_signals((interrupts := Interrupts()).receive):
        with interrupts.allowed():
            interrupts.too_late()
            sent()
        with pytest.raises(KeyboardInterrupt), interrupts.allowed():
            pytest.fail("it came before")


def test_second_signal_interrupts_anywhere() -> None:
    with handled_signals(Interrupts().receive):
        sent()
        with pytest.raises(KeyboardInterrupt):
            sent()


def test_handlers_are_those_of_before_in_the_end() -> None:
    before = signal.getsignal(signal.SIGINT)
    with handled_signals(Interrupts().receive):
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_other_thread_receives_no_signal_and_goes_on() -> None:
    done = []

    def work() -> None:
        with handled_signals((interrupts := Interrupts()).receive), interrupts.allowed():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
