import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tasks.fitting.gathering import MissingProcessError, gather


def address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def gathered(pool: ThreadPoolExecutor, *indices: int, seconds: float) -> "list[Future[None]]":
    place = address()
    return [pool.submit(gather, place, 4, index, seconds) for index in indices]


def test_all_go_on_once_the_last_has_come() -> None:
    with ThreadPoolExecutor() as pool:
        place = address()
        early = [pool.submit(gather, place, 4, index, 10) for index in (3, 1, 0)]
        time.sleep(0.3)
        assert not any(future.done() for future in early)
        last = pool.submit(gather, place, 4, 2, 10)
        assert [future.result(10) for future in (*early, last)] == [None] * 4


def test_all_are_told_which_did_not_come() -> None:
    with ThreadPoolExecutor() as pool:
        for future in gathered(pool, 0, 2, seconds=1):
            with pytest.raises(MissingProcessError, match="of 4 processes, number 2, 4 did not"):
                future.result(10)


def test_that_the_first_did_not_come_is_said() -> None:
    with pytest.raises(MissingProcessError, match="the first process was not there at 127"):
        gather(address(), 2, 1, 0.1)


def test_one_that_is_started_anew_and_one_that_is_no_process_keep_nobody_out() -> None:
    with ThreadPoolExecutor() as pool:
        place = address()
        host, port = place.split(":")
        first = pool.submit(gather, place, 2, 0, 10)
        for said in (b"GET / HTTP/1.1\r\n\r\n", b"99\n"):
            time.sleep(0.1)
            with socket.create_connection((host, int(port))) as other:
                other.sendall(said)
        assert gather(place, 2, 1, 10) is None
        assert first.result(10) is None
