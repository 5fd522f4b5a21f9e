"""What stands for the images that are not ours: local programs that begin as the images do.

`python -m tests.cluster.images postgres INIT_FOLDER` is the entry point of the image of PostgreSQL,
with the PostgreSQL of this machine; `weed mini -FLAG=VALUE ...` is moto in place of SeaweedFS: it
takes only the flags that our manifest gives, and only requests signed with the store's key.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NOBODY = 65534
S3_PORT = 8333
FLAGS = {"-dir", "-bucket", "-ip", "-ip.bind", "-webdav", "-admin.ui", "-s3.port.iceberg"}


@dataclass(frozen=True)
class Image:
    """What an image brings beside its files.

    Args:
        entry_point: The command of a container that has none of its own.
        variables: Variables of its processes.
    """

    entry_point: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


def postgres_programs() -> Path | None:
    """The folder of PostgreSQL's programs, which Debian keeps off the PATH; None without any."""
    places = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), shutil.which("initdb")]
    found = next((Path(place) for place in places if place), None)
    return found and found.resolve().parent


def unavailable() -> str:
    """Which of the programs are not on this machine; empty where all are."""
    if postgres_programs() is None:
        return "needs PostgreSQL's initdb and postgres"
    return "" if shutil.which("redis-server") else "needs redis-server on the PATH"


def images() -> dict[str, Image]:
    """The images by the beginnings of their references."""
    init = "/docker-entrypoint-initdb.d"
    entry_point = ("python", "-m", "tests.cluster.images", "postgres", init)
    socket = {"PGHOST": "/var/run/postgresql"}
    return {"postgres:": Image(entry_point, socket)}


def write_programs(folder: Path) -> str:
    """Programs that containers call by name, as the front of a PATH."""
    folder.mkdir(parents=True)
    program = folder / "weed"
    program.touch(mode=0o755)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.cluster.images weed "$@"\n')
    return f"{folder}:{postgres_programs()}"


def postgres(init: Path) -> None:
    """Makes the database of POSTGRES_DB where there is none yet, then serves, as the image does."""
    data, user = Path(os.environ["PGDATA"]), os.environ["POSTGRES_USER"]
    socket, database = Path(os.environ["PGHOST"]), os.environ["POSTGRES_DB"]
    scripts = [script.read_text() for script in sorted(init.glob("*.sql"))]
    data.parent.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        data, socket = as_nobody(data, socket)
    os.environ["PGHOST"] = str(socket)
    os.chdir(data.parent)
    if not (data / "PG_VERSION").exists():
        secret = data.parent / "password"
        secret.touch(mode=0o600)
        secret.write_text(os.environ["POSTGRES_PASSWORD"])
        run("initdb", "-D", data, "-U", user, "--no-sync", f"--pwfile={secret}",
            "--auth-local=trust", "--auth-host=scram-sha-256")  # fmt: skip
        secret.unlink()
        quiet = f"-c listen_addresses='' -c unix_socket_directories={socket}"
        run("pg_ctl", "-D", data, "-o", quiet, "-w", "start")
        run("createdb", "-U", user, database)
        for script in scripts:
            run("psql", "-v", "ON_ERROR_STOP=1", "-U", user, "-d", database, "-c", script)
        run("pg_ctl", "-D", data, "-m", "fast", "-w", "stop")
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")
    served = ("-c", "listen_addresses=*", "-c", f"unix_socket_directories={socket}")
    os.execvp("postgres", ["postgres", "-D", str(data), "-c", "fsync=off", *served])


def as_nobody(data: Path, socket: Path) -> tuple[Path, Path]:
    """Goes on as a user whom PostgreSQL serves, and where that one finds both.

    They are mounted where anybody may go, in this container's own view of the machine.
    """
    place = Path("/mnt")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place)
    for name, folder in (("data", data.parent), ("socket", socket)):
        (place / name).mkdir()
        run("mount", "--bind", folder, place / name)
        os.chown(place / name, NOBODY, NOBODY)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    return place / "data" / data.name, place / "socket"


def run(*command: Any) -> None:
    subprocess.run([str(word) for word in command], check=True)


def weed(arguments: list[str]) -> None:
    """Serves a bucket at the port of SeaweedFS, until it is told to end.

    Raises:
        SystemExit: If it is told something else than our manifest tells it.
    """
    import threading

    import boto3
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    flags = dict(argument.split("=", 1) for argument in arguments[1:])
    if arguments[:1] != ["mini"] or not set(flags) <= FLAGS:
        sys.exit(f"received {arguments}; expected mini and some of {sorted(FLAGS)}")
    served = guarded(DomainDispatcherApplication(create_backend_app))
    server = make_server(flags["-ip.bind"], S3_PORT, served, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = {"endpoint_url": f"http://127.0.0.1:{S3_PORT}", "region_name": "us-east-1"}
    boto3.client("s3", **here).create_bucket(Bucket=flags["-bucket"])
    threading.Event().wait()


def guarded(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """The application for those who sign with the store's key, and its health for everybody."""
    key = os.environ["AWS_ACCESS_KEY_ID"]

    def answer(request: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if request["PATH_INFO"] == "/healthz":
            start("200 OK", [])
            return [b""]
        if f"Credential={key}/" not in request.get("HTTP_AUTHORIZATION", ""):
            start("403 Forbidden", [])
            return [b""]
        return application(request, start)

    return answer


if __name__ == "__main__":
    if sys.argv[1] == "postgres":
        postgres(Path(sys.argv[2]))
    else:
        weed(sys.argv[2:])
