"""Whether there is anything to do: what changed since the version that was judged last."""

import json

from tasks import tracking
from tasks.config import PipelineConfig
from tasks.datasets import get_dataset
from tasks.fingerprints import code_digest, environment_digest, values_digest
from tasks.handoffs import Handoff, Source
from tasks.privacy import hashing_key_id
from tasks.registry import (
    CHAMPION,
    FINGERPRINT,
    JUDGED_AGAINST,
    PART_DIGEST,
    RECORDED,
    WITHDRAWN,
)
from tasks.services import service_errors
from tasks.settings import Settings
from tasks.sources import find_source

PARTS = ("source", "configuration", "code", "environment")


class Standing(Handoff):
    """How a pipeline stands against the versions in the registry.

    Args:
        fingerprint: Digest of what a run would train from: data, configuration, code, lock.
        parts: The digest of each of these.
        up_to_date: A version of this fingerprint exists and was judged against today's champion.
        reason: Why there is something to do, in a few words.
        sentence: The same for a person, as a sentence.
        version: The version of this fingerprint, if there is one.
        champion: Today's champion, if there is one.
    """

    fingerprint: str
    parts: dict[str, str]
    up_to_date: bool
    reason: str
    sentence: str
    version: int | None = None
    champion: int | None = None


def locate_source(config: PipelineConfig, settings: Settings) -> Source:
    """The source files of a pipeline, from where its configuration or the settings say."""
    return find_source(
        config.ingestion.dataset,
        location=config.ingestion.location,
        data_dir=settings.data_dir,
        checksum=config.ingestion.checksum,
        downloads=settings.downloads_folder,
        timeout_seconds=settings.timeout_seconds,
        privacy_key=hashing_key_id(get_dataset(config.ingestion.dataset), settings),
    )


def fingerprint_parts(config: PipelineConfig, source: Source) -> dict[str, str]:
    """The digests of what a version is made from, by name.

    Of initial weights the address counts, not the version that it stands for: else a pipeline that
    goes on from its own champion would never be up to date.
    """
    # where the data lies is not what it is: the content has its own digest
    ingestion = config.ingestion.model_copy(update={"location": None})
    return {
        "source": source.digest,
        "configuration": values_digest(config.model_copy(update={"ingestion": ingestion})),
        "code": code_digest(training_modules(config)),
        "environment": environment_digest(),
    }


def find_standing(config: PipelineConfig, source: Source, mlflow_uri: str) -> Standing:
    """Compares what would be trained now with the versions in the registry."""
    parts = fingerprint_parts(config, source)
    fingerprint = values_digest(json.dumps(parts, sort_keys=True))
    name = config.pipeline
    with service_errors(mlflow_uri):
        service = tracking.client(mlflow_uri)
        # versions found by a search do not carry their aliases; the registered model does
        models = service.search_registered_models(f"name = '{name}'")
        versions = service.search_model_versions(f"name = '{name}'") if models else []
    champion = int(models[0].aliases.get(CHAMPION, 0)) or None if models else None
    tags: dict[int, dict[str, str]] = {int(v.version): v.tags for v in versions}
    same = [number for number in tags if tags[number].get(FINGERPRINT) == fingerprint]
    # a forced training gives a second version of one fingerprint: the champion counts, or else
    # the newest
    found = max(same, key=lambda number: (number == champion, number), default=None)
    taken = [number for number in same if WITHDRAWN in tags[number] and found != champion]
    if taken and RECORDED in tags[max(taken)]:
        # the gate does not put it back, so there is nothing to judge
        nothing_to_do = _left_out(name, max(taken), champion, tags[max(taken)])
    else:
        nothing_to_do = _nothing_to_do(found, champion, tags[found]) if found else ""
    if nothing_to_do and tracking.is_left_open(mlflow_uri, name, fingerprint):
        nothing_to_do = ""
    newest = tags[max(tags)] if tags else None
    reason = "nothing changed" if nothing_to_do else _reason(parts, newest)
    return Standing(
        fingerprint=fingerprint,
        parts=parts,
        up_to_date=bool(nothing_to_do),
        reason=reason,
        sentence=nothing_to_do or f"to be trained: {reason}",
        version=found,
        champion=champion,
    )


def _nothing_to_do(version: int, champion: int | None, tags: dict[str, str]) -> str:
    """Why a version of this fingerprint needs no more work, as a sentence; empty if it does.

    A version is tagged with the champion it was judged against once the aliases have moved, and
    with the run that holds its lineage at the very end; one whose run broke off before lacks a tag,
    and the next run goes on with it.
    """
    if RECORDED not in tags:
        return ""
    if version == champion:
        return (
            f"up to date: champion v{champion} was trained from this data, configuration and code"
        )
    if tags.get(JUDGED_AGAINST) != str(champion or ""):
        return ""
    holder = f"v{champion} is" if champion else "there is none"
    return (
        f"up to date: v{version} was trained from this data, configuration and code and "
        f"did not become champion ({holder})"
    )


def _left_out(name: str, version: int, champion: int | None, tags: dict[str, str]) -> str:
    """Why a version that somebody took out of service is not judged again, as a sentence."""
    serves = f"v{champion} stays" if champion else "there is no"
    return (
        f"up to date: v{version} was trained from this data, configuration and code and "
        f"{tags[WITHDRAWN]}; {serves} champion until they change, or somebody puts it back: "
        f'roundhouse promote {name} {version} --because "..."'
    )


def _reason(parts: dict[str, str], tags: dict[str, str] | None) -> str:
    if tags is None:
        return "first training"
    changed = [name for name in PARTS if tags.get(PART_DIGEST.format(name)) != parts[name]]
    words = {"source": "data", "environment": "lock"}
    if changed:
        return f"{', '.join(words.get(name, name) for name in changed)} changed"
    if JUDGED_AGAINST not in tags:
        return "not judged to the end"
    return "champion changed" if RECORDED in tags else "not recorded to the end"


def training_modules(config: PipelineConfig) -> tuple[str, ...]:
    """The modules that decide what this pipeline trains.

    Those of other datasets and architectures do not count.
    """
    return (
        "flows.training",
        *TRAINING_MODULES,
        f"tasks.datasets.{config.ingestion.dataset}",
        f"data_checks.suites.{config.ingestion.dataset}",
        f"tasks.models.{config.model.architecture}",
    )


TRAINING_MODULES = (
    "data_checks.checks",
    "data_checks.evaluation",
    "data_checks.profile",
    "data_checks.report",
    "data_checks.runner",
    "data_checks.tags",
    "data_checks.texts",
    "tasks.asking",
    "tasks.attribution",
    "tasks.baselines",
    "tasks.boosting",
    "tasks.challenge",
    "tasks.clusters",
    "tasks.columns",
    "tasks.continuation",
    "tasks.conversion",
    "tasks.datasets.definition",
    "tasks.description",
    "tasks.devices",
    "tasks.evaluation",
    "tasks.explanation",
    "tasks.explained_rows",
    "tasks.explaining",
    "tasks.exporting",
    "tasks.fairness",
    "tasks.features",
    "tasks.first_node",
    "tasks.fitting",
    "tasks.formats",
    "tasks.gate",
    "tasks.generation",
    "tasks.identities",
    "tasks.image_decoding",
    "tasks.image_folders",
    "tasks.importance",
    "tasks.ingestion",
    "tasks.initialisation",
    "tasks.inputs",
    "tasks.judging",
    "tasks.layers",
    "tasks.masking",
    "tasks.membership",
    "tasks.metrics",
    # the package by its own file alone: its name would stand for every architecture
    "tasks.models.__init__",
    "tasks.models.archive",
    "tasks.models.ends",
    "tasks.models.initial",
    "tasks.models.pretrained",
    "tasks.network_training",
    "tasks.nodes",
    "tasks.outputs",
    "tasks.packaging",
    "tasks.preprocessing",
    "tasks.privacy",
    "tasks.promotion",
    "tasks.raw_rows",
    "tasks.registration",
    "tasks.resampling",
    "tasks.rescoring",
    "tasks.rules",
    "tasks.sequence_metrics",
    "tasks.selection",
    "tasks.served",
    "tasks.significance",
    "tasks.slice_comparison",
    "tasks.slice_rules",
    "tasks.slicing",
    "tasks.snapshots",
    "tasks.splitting",
    "tasks.tallies",
    "tasks.targets",
    "tasks.texts",
    "tasks.training",
    "tasks.treatments",
    "tasks.trees",
    "tasks.unseen",
    "tasks.versions",
    "tasks.validation",
    "tasks.verdicts",
    "tasks.verification",
    "tasks.vocabularies",
)
