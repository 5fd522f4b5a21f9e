"""What a run finds around it in the cluster: settings, secrets, volumes, and its image."""

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from infra.clusters.images import parse_reference
from infra.clusters.places import SERVERS, unfit_places
from infra.clusters.registries import Login, ask_registry, read_logins
from infra.clusters.variables import SECRETS, SETTINGS_MAP
from infra.examinations.findings import Finding
from tasks.remote import shown

if TYPE_CHECKING:
    from infra.clusters.examination import Place

PAIRS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
NOT_FOUND, UNAUTHORISED, FORBIDDEN, OK = 404, 401, 403, 200


async def settings_of_runs(place: "Place") -> list[Finding]:
    """Whether runs are told where everything is, and none of it on the disk of a pod."""
    from kubernetes_asyncio.client import ApiException, CoreV1Api

    api = CoreV1Api(place.client)
    what = f"config map {SETTINGS_MAP}"
    try:
        found = await api.read_namespaced_config_map(SETTINGS_MAP, place.namespace)
    except ApiException as error:
        if error.status != NOT_FOUND:
            raise
        cure = "kubectl apply -k infra/kubernetes/overlays/small (or external), which makes it"
        return [Finding(what, f"not in {place.namespace}", cure)]
    values: Mapping[str, str] = found.data or {}
    if wrong := unfit_places(values):
        return wrong
    servers, ours = values.get("ROUNDHOUSE_IMAGE"), place.wanted.settings.image
    if servers and ours and servers != ours:
        fact = f"the servers are of {servers}, and the runs would be of {ours}"
        cure = "set ROUNDHOUSE_IMAGE here to the servers' image, or bring them to the runs'"
        return [Finding(what, fact, cure)]
    findings = [Finding(what, "says where everything is, and nothing on the disk of a pod")]
    for name in SERVERS:
        findings += await _service(place, name, values[name])
    return findings


async def _service(place: "Place", name: str, address: str) -> list[Finding]:
    """Whether the service is there that an address names; what is outside is not looked at."""
    from kubernetes_asyncio.client import ApiException, CoreV1Api

    host = urlsplit(address).hostname or ""
    service, _, rest = host.partition(".")
    space = rest.split(".")[0] if rest else place.namespace
    if rest and not rest.endswith(("svc", "svc.cluster.local")) and rest != place.namespace:
        fact = f"{shown(address)} is outside of the cluster; whether pods reach it is not looked at"
        return [Finding(name, fact)]
    try:
        await CoreV1Api(place.client).read_namespaced_service(service, space)
    except ApiException as error:
        if error.status != NOT_FOUND:
            raise
        fact = f"{shown(address)} names the service {service}, which is not in {space}"
        cure = f"correct it in the config map {SETTINGS_MAP}, or apply the manifests"
        return [Finding(name, fact, cure)]
    return [
        Finding(name, f"the service of {shown(address)} is there; pods alone see if it answers")
    ]


async def secrets(place: "Place") -> list[Finding]:
    """Whether the secret of the runs has the keys that they need; what is in them is not shown."""
    from kubernetes_asyncio.client import ApiException, CoreV1Api

    what = f"secret {SECRETS}"
    try:
        found = await CoreV1Api(place.client).read_namespaced_secret(SECRETS, place.namespace)
    except ApiException as error:
        if error.status != NOT_FOUND:
            raise
        cure = (
            "make it from an env file: infra/README.md says how, or kubectl create secret generic "
        )
        return [Finding(what, f"not in {place.namespace}", f"{cure}{SECRETS} --from-env-file=...")]
    there = {key for key, value in (found.data or {}).items() if value}
    findings = [
        Finding(what, f"has no {key}, which is needed by {who}", f"add {key} to it")
        for key, who in place.wanted.secret_keys.items()
        if key not in there
    ]
    half = there & {*PAIRS}
    if len(half) == 1:
        missing = ({*PAIRS} - half).pop()
        findings.append(Finding(what, f"has {half.pop()} and no {missing}", f"add {missing} to it"))
    if findings:
        return findings
    store = "keys of the bucket" if half else "no keys of a bucket (pods use their cloud identity)"
    return [Finding(what, f"has {', '.join(place.wanted.secret_keys)} and {store}")]


async def volumes(place: "Place") -> list[Finding]:
    """Whether claims find their volumes, and those are there that profiles name."""
    from kubernetes_asyncio.client import CoreV1Api, StorageV1Api

    api = CoreV1Api(place.client)
    claims = (await api.list_namespaced_persistent_volume_claim(place.namespace)).items
    phases = {claim.metadata.name: claim.status.phase for claim in claims}
    findings = []
    for demand in place.wanted.demands:
        claim = demand.profile.claim
        if claim and claim not in phases:
            fact = f"{claim} is not in {place.namespace}, and the profile {demand.name} mounts it"
            cure = "make it, or correct `claim` in profiles.yaml"
            findings.append(Finding("persistent volume claim", fact, cure))
    classes = (await StorageV1Api(place.client).list_storage_class()).items
    usual = [c.metadata.name for c in classes if _is_default(c.metadata.annotations)]
    lost = [
        claim.metadata.name
        for claim in claims
        if claim.status.phase != "Bound" and not (claim.spec.storage_class_name or usual)
    ]
    if lost:
        fact = f"none is the default, and {', '.join(lost)} name none"
        cure = f"annotate one with {DEFAULT_CLASS}=true: kubectl get storageclass"
        return [*findings, Finding("storage class", fact, cure)]
    said = f"{usual[0]} is the default" if usual else "none is the default, and no claim needs one"
    return [*findings, Finding("storage class", f"{said}; {len(claims)} claims")]


def _is_default(annotations: Mapping[str, str] | None) -> bool:
    return (annotations or {}).get(DEFAULT_CLASS) == "true"


async def images(place: "Place") -> list[Finding]:
    """Whether images can be told apart, and their registry has them, as far as can be seen."""
    from kubernetes_asyncio.client import ApiException, CoreV1Api

    from infra.clusters.examination import RUN

    api = CoreV1Api(place.client)
    try:
        account = await api.read_namespaced_service_account(RUN, place.namespace)
        keys = [secret.name for secret in account.image_pull_secrets or ()]
    except ApiException as error:
        if error.status != NOT_FOUND:
            raise
        keys = []
    missing, logins = [], {}
    for key in keys:
        try:
            found = await api.read_namespaced_secret(key, place.namespace)
            logins.update(read_logins(found.data or {}))
        except ApiException as error:
            if error.status == NOT_FOUND:
                missing.append(key)
    if missing:
        fact = f"{RUN} pulls with {', '.join(missing)}, which is not in {place.namespace}"
        return [Finding("image", fact, "make the secret: kubectl create secret docker-registry")]
    wanted = place.wanted.images.items()
    return [await _image(image, keys, logins, soon=soon) for image, soon in wanted]


async def _image(
    image: str, keys: list[str], logins: Mapping[str, Login], *, soon: bool
) -> Finding:
    reference = parse_reference(image)
    status = await ask_registry(reference, logins)
    if status == OK:
        return Finding("image", f"{image} is in its registry")
    # some registries hide what is not shown to everybody
    if status == NOT_FOUND and (not keys or reference.registry in logins):
        fact = f"{image} is not in its registry"
        if not soon:
            fact = f"{fact}; no schedule of those that need it is active, and their runs would fail"
            return Finding("image", fact)
        cure = "push it, or correct ROUNDHOUSE_IMAGE or profiles.yaml"
        return Finding("image", fact, cure)
    if status in (UNAUTHORISED, FORBIDDEN) and reference.registry in logins:
        fact = f"{image}: its registry refuses the login of {', '.join(keys)} ({status})"
        return Finding("image", fact, "correct the secret, or the user's rights in the registry")
    keyed = f"pods pull with {', '.join(keys)}" if keys else "pods pull without a secret"
    why = f"its registry answered us {status}" if isinstance(status, int) else status
    return Finding("image", f"{image}: whether it is there was not seen ({why}); {keyed}")
