"""Prefect's background services as a process of their own, with an answer that says they live.

`prefect server services start` does the same work and answers nobody: a process that hangs would
stay, and no schedule, automation or late run be looked at. Here the loop that does the work answers
requests as well, so that a cluster can tell.
"""

import asyncio
import contextlib
import signal
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nOK\n"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await reader.readline()
        writer.write(ANSWER)
        await writer.drain()
    writer.close()


async def serve(host: str, port: int) -> None:
    """Runs the services until this process is told to end.

    Args:
        host: The address on which it answers.
        port: The port on which it answers; 0 for any.
    """
    from prefect.cli._server_utils import _run_all_services

    services = asyncio.ensure_future(_run_all_services())
    loop = asyncio.get_running_loop()
    # the first process of a container is deaf to what it does not handle
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, services.cancel)
    async with await asyncio.start_server(_answer, host, port):
        with contextlib.suppress(asyncio.CancelledError):
            await services


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
