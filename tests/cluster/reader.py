"""Somebody who follows infra/README.md: a checkout, a shell, and the commands that it gives."""

import contextlib
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.pod_environment import ROOT

MANUAL = ROOT / "infra" / "README.md"
# of Docker there is the word alone: it notes what it is told, and that it is given a whole project
DOCKER = """#!/bin/sh
echo "$*" >> "$0.told"
[ "$1" != build ] || { for context; do :; done; test -f "$context/infra/docker/Dockerfile"; }
"""


def commands(heading: str = "") -> list[str]:
    """The commands of the first block below a heading, or of the manual, without remarks."""
    text = MANUAL.read_text()
    after = text.partition(f"\n## {heading}\n")[2] if heading else text
    block = re.search(r"```sh\n(.*?)```", after, re.DOTALL)
    assert block, heading
    lines = (re.sub(r"(^|\s+)# .*", "", line) for line in block[1].splitlines())
    return [line for line in lines if line]


class Reader:
    """A shell of its own in a checkout of its own.

    Args:
        folder: An empty folder.
        program: What `control_plane()` built, which is kubectl too.
        kubeconfig: The cluster, as its administrator.
    """

    def __init__(self, folder: Path, program: Path, kubeconfig: Path) -> None:
        self.home, self.checkout, own = folder / "home", folder / "checkout", folder / "bin"
        for path in (self.home, own):
            path.mkdir(parents=True)
        check_out(self.checkout)
        (own / "kubectl").symlink_to(program)
        self.docker = own / "docker"
        self.docker.touch(mode=0o755)
        self.docker.write_text(DOCKER)
        path = f"{own}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {
            "PATH": path, "HOME": str(self.home), "KUBECONFIG": str(kubeconfig), "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "true",
        }  # fmt: skip
        self._said: queue.Queue[str] = queue.Queue()
        self._number = 0

    @contextlib.contextmanager
    def at_work(self) -> Iterator["Reader"]:
        """The reader with a shell, which is ended with all that was left in its background."""
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], env=self.environment, cwd=self.checkout,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, bufsize=1, start_new_session=True,
        )  # fmt: skip
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            yield self
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._shell.pid, 15)
            self._shell.wait(20)

    def run(self, command: str, seconds: float = 120) -> str:
        """What a command says.

        Raises:
            AssertionError: If it fails or does not end in time; with what it said.
        """
        self._number += 1
        mark, said = f"ended {self._number}:", list[str]()
        assert self._shell.stdin
        self._shell.stdin.write(f"{{ {command}\n}} </dev/null; echo; echo '{mark}'$?\n")
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._said.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no end of {command} in {seconds} s: {said}") from None
            if line.startswith(mark):
                text = "".join(said).rstrip("\n")
                assert line.removeprefix(mark).strip() == "0", f"{command}\n{text}"
                return text
            said.append(line)

    def value(self, command: str) -> str:
        """What a command prints, without what the commands in the background say meanwhile."""
        path = self.home / "value"
        self.run(f"{command} > {path}")
        return path.read_text().strip()

    def _listen(self) -> None:
        assert self._shell.stdout
        for line in self._shell.stdout:
            self._said.put(line)


def check_out(folder: Path) -> None:
    """A clone of this project, with what is not committed of its infra/ as well."""
    clone = ["git", "clone", "--quiet", "--shared", str(ROOT), str(folder)]
    subprocess.run(clone, check=True, capture_output=True)
    caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "infra", folder / "infra", dirs_exist_ok=True, ignore=caches)
