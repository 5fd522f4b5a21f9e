"""Runs small pipelines on planted personal values in one process, as `roundhouse run` does.

Usage: private_runs.py DATA. In DATA are the files of `planted.write_all`; the texts are fetched
from an address. Prints JSON: of each run, the error, or null.
"""

import contextlib
import functools
import http.server
import json
import sys
import threading
from collections.abc import Iterator

from infra.databases import prepare_databases
from infra.running import RunEnded, log_file, prefect_api, run_flow
from tasks.home import prepare_home
from tasks.settings import load_settings
from tests.planted import CONFIGURATIONS, plant


@contextlib.contextmanager
def address_of(folder: str) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def main() -> None:
    plant()
    folder = sys.argv[1]
    settings = load_settings()
    prepare_home(settings)
    prepare_databases(settings)
    failed: dict[str, str | None] = {}
    with prefect_api(settings) as server, address_of(folder) as address:
        for name, make in CONFIGURATIONS.items():
            try:
                with log_file(settings, name):
                    run_flow(make(address if name == "texts" else folder), server, force=False)
                failed[name] = None
            except RunEnded as error:
                failed[name] = str(error.__cause__)
    print(json.dumps(failed))


main()
