import logging
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, text

from infra.interrupts import orderly_interrupts


class Interrupting(logging.Handler):
    """Is interrupted in the middle of a record, as by a Ctrl-C at that moment."""

    finished = False

    def emit(self, record: logging.LogRecord) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        self.finished = True


def log_and_wait(logger: logging.Logger) -> None:
    logger.error("a record")
    time.sleep(2)


def interrupt_and_wait() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(2)


def test_a_record_is_logged_to_its_end_and_then_the_interrupt_comes() -> None:
    logger, handler = logging.getLogger("interrupted"), Interrupting()
    logger.addHandler(handler)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), orderly_interrupts():
        log_and_wait(logger)
    assert handler.finished
    assert time.monotonic() - started < 1


def test_a_transaction_is_ended_and_then_the_interrupt_comes(tmp_path: Path) -> None:
    """Else its lock stays, and whoever says in the database how the run ended waits for it."""
    engine = create_engine(f"sqlite:///{tmp_path / 'mlflow.db'}")

    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)

    def write_and_wait() -> None:
        with engine.begin() as connection:
            connection.execute(text("create table records (number integer)"))
        event.listen(engine, "commit", interrupt)
        with engine.begin() as connection:
            connection.execute(text("insert into records values (1)"))
        time.sleep(2)

    with pytest.raises(KeyboardInterrupt), orderly_interrupts():
        write_and_wait()
    with sqlite3.connect(tmp_path / "mlflow.db", timeout=0) as other:
        other.execute("insert into records values (2)")
    assert other.execute("select number from records").fetchall() == [(1,), (2,)]


def test_elsewhere_it_comes_at_once_and_the_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), orderly_interrupts():
        interrupt_and_wait()
    assert signal.getsignal(signal.SIGINT) is before
