"""What has to be as it was for a training to come out bit for bit, and what of it is not."""

from pydantic import ValidationError

from tasks.appraisal import Lineage
from tasks.config import PipelineConfig
from tasks.devices import find_hardware, has_accelerator
from tasks.errors import ConfigError
from tasks.fingerprints import by_content, code_digest, environment_digest
from tasks.freshness import training_modules
from tasks.handoffs import PreparedData
from tasks.judgement import Hardware
from tasks.lineage import COMMIT, DIRTY, git_state
from tasks.models import is_estimator
from tasks.registry import PART_DIGEST, Registry

COMMIT_SHOWN = 12


def configuration_of(lineage: Lineage) -> PipelineConfig:
    """The configuration of then, with the precision that `auto` stood for.

    Whether operations are deterministic stays as it was: TensorFlow's deterministic ones sum in
    another order, so they would not give the bits of a training that was done without them.

    Raises:
        ConfigError: Today's code has other settings.
    """
    version = lineage.registered
    try:
        config = PipelineConfig.model_validate(lineage.configuration)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, each["loc"])) for each in error.errors()[:3])
        raise ConfigError(
            f"The configuration of v{version.version} of {version.name} has settings that today's "
            f"code does not take ({places}); expected those of this release. {checkout(lineage)}"
        ) from None
    precision = lineage.trained.hardware.precision
    if is_estimator(config.model.architecture) or config.training.precision == precision:
        return config
    training = config.training.model_dump() | {"precision": precision}
    return PipelineConfig.model_validate(config.model_dump() | {"training": training})


def cautions_about(registry: Registry, lineage: Lineage, config: PipelineConfig) -> tuple[str, ...]:
    """What is not as it was when a version was trained, and how to have it so, as sentences.

    Args:
        registry: Its registered model.
        lineage: How it came to be.
        config: Its configuration.
    """
    tags = registry.version(lineage.registered.version).tags
    found = []
    if tags.get(PART_DIGEST.format("code")) != code_digest(training_modules(config)):
        found.append(f"The code is not that of then. {checkout(lineage)}")
    if tags.get(PART_DIGEST.format("environment")) != environment_digest():
        found.append(
            "The lock file or the version of Python is not that of then, so libraries may compute "
            f"otherwise. {checkout(lineage)}"
        )
    if is_estimator(config.model.architecture):
        now = lineage.trained.hardware
    else:
        now = find_hardware(config.training.precision)
    found += other_machine(lineage.trained.hardware, now)
    if has_accelerator(lineage.trained.hardware) and not config.training.deterministic:
        found.append(
            "The training of then was not deterministic, and a GPU sums in another order each "
            "time. Versions of a pipeline with training.deterministic=true come out bit for bit."
        )
    if lineage.trained.resumed_from:
        found.append(
            f"The training of then was interrupted and went on after epoch "
            f"{lineage.trained.resumed_from}, with the rows in another order from there on; one "
            "that is not interrupted comes out close, not equal."
        )
    return tuple(found)


def other_machine(then: Hardware, now: Hardware) -> list[str]:
    """Whether other hardware or another backend computes now, in sentences.

    The last bits depend on the one, all of them on the other. The number of cores does not count:
    it decides who computes what, not in which order.
    """
    was, is_now = (f"{', '.join(each.devices)} {each.processor}".strip() for each in (then, now))
    found = []
    if was != is_now:
        found.append(
            f"The machine is not that of then: it was {was} ({then.cpu_count} cores), and is "
            f"{is_now} ({now.cpu_count} cores). Run it on one of the same type."
        )
    if then.backend != now.backend:
        found.append(
            f"The network was trained on {then.backend}, and is now on {now.backend}, which draws "
            f"other first weights from the same seed. Set KERAS_BACKEND={then.backend}."
        )
    return found


def other_rows(lineage: Lineage, prepared: PreparedData) -> tuple[str, ...]:
    """Whether the prepared rows are other ones than then, as a sentence."""
    if by_content(prepared) == by_content(lineage.prepared):
        return ()
    return (
        "The prepared rows are not those of then, though the snapshot is: the split or the "
        f"preparation computes otherwise now. {checkout(lineage)}",
    )


def checkout(lineage: Lineage) -> str:
    """How to have the code and the lock file of then."""
    commit = lineage.surroundings.get(COMMIT, "")
    if not commit:
        return "It was not under version control, so nobody can say where that code is."
    changes = (
        " It had changes on top of that commit, which no commit holds."
        if lineage.surroundings.get(DIRTY) == "true"
        else ""
    )
    if commit == git_state().get(COMMIT):
        return f"The commit is the same, {commit[:COMMIT_SHOWN]}; the changes on top of it differ."
    place = f"../roundhouse-{commit[:COMMIT_SHOWN]}"
    version = f"{lineage.registered.name}/{lineage.registered.version}"
    return (
        f"To have it: git worktree add {place} {commit} && cd {place} && make .venv/ready && "
        f".venv/bin/roundhouse reproduce {version}, with ROUNDHOUSE_HOME as it is here.{changes}"
    )
