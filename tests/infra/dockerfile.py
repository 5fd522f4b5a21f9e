"""Runs the instructions of a Dockerfile in folders, where no container engine is at hand.

Every stage is a folder that holds a whole file system; a RUN is executed in it by chroot, with the
mounts that a container has, in namespaces of its own. It knows what our Dockerfile uses and refuses
everything else, so that nothing is passed over in silence.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

# what a build is told of the network that it runs in
NETWORK = re.compile(r"(?i)^(https?|no|all)_proxy$|^(PIP|UV)_(INDEX|DEFAULT_INDEX|EXTRA_INDEX)")
CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# these change how a container is started, and nothing in its files
SHOWN = {"STOPSIGNAL", "HEALTHCHECK", "CMD", "ENTRYPOINT"}


@dataclass(frozen=True)
class Instruction:
    """One instruction: its name, its flags as (name, value), and the rest of its line."""

    name: str
    flags: tuple[tuple[str, str], ...]
    rest: str


@dataclass
class Stage:
    """What stands between one FROM and the next."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)


@dataclass
class FileSystem:
    """What a stage has made: a folder, and how a process in it is started."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    shown: dict[str, str] = field(default_factory=dict)

    @property
    def entry_point(self) -> list[str]:
        """The words before every command."""
        return [str(word) for word in json.loads(self.shown.get("ENTRYPOINT", "[]"))]

    @property
    def labels(self) -> dict[str, str]:
        """The labels, with the arguments put in."""
        words = shlex.split(substitute(self.shown.get("LABEL", ""), self.arguments))
        return dict(_pair(word) for word in words)


def parse(text: str) -> tuple[dict[str, str], list[Stage]]:
    """The arguments before the first stage, and the stages in their order."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            base, _, alias = rest.partition(" AS ")
            stages.append(Stage(alias.strip(), base.strip()))
        elif not stages:
            arguments.update([_pair(rest)])
        else:
            flags = []
            while found := re.match(r"\s*--([\w-]+)=(\S+)\s+", rest):
                flags.append((found[1], found[2]))
                rest = rest[found.end() :]
            stages[-1].instructions.append(Instruction(name, tuple(flags), rest.strip()))
    return arguments, stages


def substitute(text: str, values: Mapping[str, str]) -> str:
    """A text with $NAME and ${NAME} put in; a name that is not known becomes nothing."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found[1], ""), text)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip()


def start(
    system: FileSystem,
    command: list[str],
    *,
    user: str | None = None,
    environment: Mapping[str, str] | None = None,
    mounts: Mapping[str, Path] | None = None,
    writable: tuple[str, ...] | None = None,
) -> subprocess.Popen[str]:
    """Starts a command in a file system as a container would; its first process has the id 1.

    Args:
        system: The files and how they are used.
        command: Words of the command.
        user: uid:gid, instead of the stage's.
        environment: Variables beside the stage's.
        mounts: Folders and files of this machine: place inside -> path.
        writable: Where alone it can write, empty folders that go with it; None for everywhere.
    """
    root, whom = shlex.quote(str(system.root)), user or system.user
    lines = [
        "set -e",
        f"mkdir -p {root}/dev/shm {root}/dev/pts {root}/proc",
        f"mount --bind {root} {root}",
    ]
    for name in DEVICES:
        lines += [f"touch {root}/dev/{name}", f"mount --bind /dev/{name} {root}/dev/{name}"]
    for place, path in (mounts or {}).items():
        target = shlex.quote(f"{system.root}{place}")
        if path.is_dir():
            lines.append(f"mkdir -p {target}")
        else:
            lines.append(f'mkdir -p "$(dirname {target})"; touch {target}')
        lines.append(f"mount --bind {shlex.quote(str(path))} {target}")
    if writable is not None:
        lines.append(f"mount -o remount,bind,ro {root}")
        owner = "uid={},gid={}".format(*whom.split(":"))
        lines += [f"mount -t tmpfs -o {owner} none {root}{place}" for place in writable]
    lines += [
        f"mount -t tmpfs none {root}/dev/shm",
        f"mount -t devpts -o newinstance,ptmxmode=0666 none {root}/dev/pts",
        f"mount -t proc none {root}/proc",
    ]
    values = {"PATH": PATH, **system.environment, **(environment or {})}
    words = shlex.join([f"{name}={value}" for name, value in values.items()])
    inner = f'cd {shlex.quote(system.folder)} && exec "$@"'
    lines.append(
        f"exec chroot --userspec={whom} --groups={whom.partition(':')[2]} {root} "
        f"env -i {words} sh -c {shlex.quote(inner)} sh {shlex.join(command)}"
    )
    return subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--propagation", "private",
         "sh", "-c", "\n".join(lines)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def stop(process: subprocess.Popen[str], seconds: float = 30) -> int:
    """Asks a container to end, as its engine does, and gives the exit status of its first process.

    Raises:
        TimeoutExpired: It did not end in time; it is killed.
    """
    # what a signal is sent to is the first process; `unshare` itself only waits for it
    first = psutil.Process(process.pid).children() if process.poll() is None else []
    try:
        for inner in first:
            inner.terminate()
        # read until the end, or it could wait for ever for somebody to read
        if process.stdout and not process.stdout.closed:
            process.communicate(timeout=seconds)
    finally:
        # with it ends whatever is in its namespaces
        for inner in first:
            with contextlib.suppress(psutil.NoSuchProcess):
                inner.kill()
    return process.returncode


@dataclass
class Build:
    """Makes the stages of a Dockerfile, each when it is first needed.

    Args:
        dockerfile: The file.
        context: What COPY copies from.
        folder: Where the stages' file systems are made.
        base: Puts the file system of an image into a folder: (reference, folder).
        cache: What every cache mount is.
        arguments: Values for ARG.
        log: Told each instruction before it is run.
    """

    dockerfile: Path
    context: Path
    folder: Path
    base: Callable[[str, Path], None]
    cache: Path
    arguments: Mapping[str, str]
    log: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self._defaults, stages = parse(self.dockerfile.read_text())
        self._stages = {stage.name: stage for stage in stages}
        self._made: dict[str, FileSystem] = {}

    def make(self, name: str) -> FileSystem:
        """The file system of a stage, once all its instructions have been run."""
        if name not in self._made:
            stage = self._stages[name]
            system = self._begin(stage)
            for instruction in stage.instructions:
                self.log(f"[{name}] {instruction.name} {instruction.rest}")
                self._run(instruction, system)
            self._made[name] = system
        return self._made[name]

    def _begin(self, stage: Stage) -> FileSystem:
        root = self.folder / stage.name
        if stage.base not in self._stages:
            reference = substitute(stage.base, {**self._defaults, **self.arguments})
            root.mkdir(parents=True)
            self.base(reference, root)
            return FileSystem(root)
        former = self.make(stage.base)
        _copy(former.root, root)
        return FileSystem(
            root, dict(former.environment), dict(former.arguments), former.folder, former.user,
            dict(former.shown),
        )  # fmt: skip

    def _run(self, instruction: Instruction, system: FileSystem) -> None:
        known = {**system.arguments, **system.environment}
        match instruction.name:
            case "ARG":
                name, default = _pair(instruction.rest)
                system.arguments[name] = self.arguments.get(name, default)
            case "ENV":
                words = shlex.split(substitute(instruction.rest, {"PATH": PATH, **known}))
                system.environment.update(_pair(word) for word in words)
            case "WORKDIR":
                system.folder = os.path.normpath(Path(system.folder, instruction.rest))
                (system.root / system.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "USER":
                system.user = instruction.rest
            case "COPY":
                self._copy(instruction, system)
            case "RUN":
                self._execute(instruction, system)
            case "LABEL":
                labels = f"{system.shown.get('LABEL', '')} {instruction.rest}"
                system.shown["LABEL"] = labels.strip()
            case name if name in SHOWN:
                system.shown[name] = instruction.rest
            case name:
                raise NotImplementedError(f"{name} is not known here; teach it to this file")

    def _copy(self, instruction: Instruction, system: FileSystem) -> None:
        *sources, target = instruction.rest.split()
        flags = dict(instruction.flags)
        origin = self.make(flags.pop("from")).root if "from" in flags else self.context
        assert not flags, flags
        place = system.root / str(Path(system.folder, target)).lstrip("/")
        for source in sources:
            path = origin / source.lstrip("/")
            # a folder's content is copied into the target, a file's bytes under its name
            into = place / path.name if target.endswith("/") and path.is_file() else place
            into.parent.mkdir(parents=True, exist_ok=True)
            # the same bytes twice on the disk serve nobody: what is copied is not written to again
            _copy(path, into, "--link" if origin is not self.context else "--reflink=auto")

    def _execute(self, instruction: Instruction, system: FileSystem) -> None:
        mounts: dict[str, Path] = {}
        for flag, value in instruction.flags:
            assert flag == "mount", flag
            options = dict(_pair(part) for part in value.split(","))
            match options["type"]:
                case "bind":
                    origin = self.make(options["from"]).root if "from" in options else self.context
                    mounts[options["target"]] = origin / options["source"].lstrip("/")
                case "cache":
                    mounts[options["target"]] = self.cache
                case "secret":
                    # none is given: the build has to do without
                    continue
                case kind:
                    raise NotImplementedError(f"a mount of type {kind} is not known here")
        network = {name: value for name, value in os.environ.items() if NETWORK.match(name)}
        mounts |= {place: Path(place) for place in ("/etc/resolv.conf", "/etc/hosts")}
        for name in CERTIFICATES:
            if path := os.environ.get(name):
                network[name] = "/run/certificates.crt"
                mounts["/run/certificates.crt"] = Path(path)
        process = start(
            system,
            ["sh", "-c", instruction.rest],
            environment={**network, **system.arguments},
            mounts=mounts,
        )
        output, _ = process.communicate()
        self.log(output)
        if process.returncode:
            raise RuntimeError(f"RUN {instruction.rest} ended with {process.returncode}:\n{output}")


def _copy(source: Path, target: Path, how: str = "--reflink=auto") -> None:
    if source.is_file():
        shutil.copy2(source, target)
        return
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", how, f"{source}/.", target], check=True)
