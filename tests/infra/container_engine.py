"""A container engine for tests: podman with all that it keeps in one folder, and no registry."""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.infra.dockerfile import CERTIFICATES, PATH, FileSystem
from tests.infra.image_builds import build_file

# what a build gives its first line to, so that `"$ENGINE" build ...` is podman's
ENGINE = """#!/bin/sh
shift
exec {podman} build --isolation chroot --layers=false {secrets} "$@"
"""
# one version of podman's runtime starts nothing where cgroups of both versions are mounted, though
# it is told to leave them alone; they are hidden from it
HIDING = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'


@dataclass(frozen=True)
class ContainerEngine:
    """An engine whose images, containers and temporary files lie in a folder."""

    folder: Path

    @staticmethod
    def usable() -> bool:
        """Whether there is a podman, and the right to mount what it makes."""
        return os.geteuid() == 0 and shutil.which("podman") is not None

    def words(self, *arguments: str) -> list[str]:
        """A command of the engine."""
        places = ["--root", f"{self.folder}/images", "--runroot", f"{self.folder}/running"]
        return ["podman", *places, "--storage-driver", "overlay", *arguments]

    def answer(self, *arguments: str) -> str:
        """What a command of the engine says.

        Raises:
            CalledProcessError: It failed.
        """
        done = subprocess.run(
            self.words(*arguments), env=self._environment(), stdout=subprocess.PIPE, text=True,
            check=True,
        )  # fmt: skip
        return done.stdout.strip()

    def add_base(self, reference: str, make: Callable[[str, Path], None]) -> str:
        """Makes an image of a folder, so that FROM finds it without a registry; its name."""
        folder = self.folder / "base"
        make(reference, folder)
        packed, named = self.folder / "base.tar", f"localhost/{reference}"
        # nothing of what somebody may have mounted there
        subprocess.run(["tar", "-C", folder, "--one-file-system", "-cf", packed, "."], check=True)
        subprocess.run(["rm", "-rf", "--one-file-system", folder], check=True)
        self.answer("import", "--change", f"ENV PATH={PATH}", str(packed), named)
        packed.unlink()
        return named

    def build(self, repository: Path, target: str, reference: str, base: str, log: Path) -> None:
        """The build command of the project with this engine.

        Args:
            repository: The checkout.
            target: Of the Dockerfile.
            reference: Of the image to build.
            base: Of the image to build on.
            log: File for what the engine says.

        Raises:
            CalledProcessError: It failed; its log says why.
        """
        secrets = []
        for name in CERTIFICATES:
            if path := os.environ.get(name):
                secrets = ["--secret", f"id=certificates,src={path}"]
        index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL")
        if index:
            (self.folder / "index").write_text(index)
            secrets += ["--secret", f"id=package_index,src={self.folder}/index"]
        engine = self.folder / "engine"
        engine.write_text(
            ENGINE.format(podman=shlex.join(self.words()), secrets=shlex.join(secrets))
        )
        engine.chmod(0o755)
        with log.open("w") as output:
            subprocess.run(
                [
                    build_file(repository), target, reference,
                    "--build-arg", f"PYTHON_IMAGE={base}",
                ],
                env={**self._environment(), "ENGINE": str(engine)},
                stdout=output, stderr=subprocess.STDOUT, check=True,
            )  # fmt: skip

    def files(self, reference: str) -> FileSystem:
        """The files of an image in a container of their own, and how it is to be started."""
        config = json.loads(self.answer("image", "inspect", reference))[0]["Config"]
        container = self.answer("create", "--network", "none", reference)
        return FileSystem(
            Path(self.answer("mount", container)),
            dict(word.split("=", 1) for word in config["Env"]),
            folder=config["WorkingDir"],
            user=config["User"],
            shown={
                "ENTRYPOINT": json.dumps(config["Entrypoint"]),
                "LABEL": shlex.join(f"{name}={value}" for name, value in config["Labels"].items()),
            },
        )

    def start(self, reference: str, *command: str, home: str) -> subprocess.Popen[str]:
        """A container whose file system is read-only but for /tmp and the home."""
        return subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", HIDING, "sh",
             *self.words("run", "--rm", "--read-only", "--tmpfs", "/tmp", "--tmpfs", home),
             "--network", "none", "--cgroups", "disabled",
             # what it raises by default not everybody may raise
             "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096",
             reference, *command],
            env=self._environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def remove(self) -> None:
        """Ends and removes all that there is."""
        for command in (["umount", "--all", "--force"], ["rm", "--all", "--force"]):
            subprocess.run(
                self.words(*command), env=self._environment(), stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, check=False,
            )  # fmt: skip
        shutil.rmtree(self.folder, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        # what a build keeps between two of its runs would stay elsewhere for ever
        temporary = self.folder / "temporary"
        temporary.mkdir(parents=True, exist_ok=True)
        return {**os.environ, "TMPDIR": str(temporary)}
