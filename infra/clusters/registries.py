"""Whether a registry has an image, asked as a node of the cluster would ask it.

By the pull and token protocols of the distribution specification: a registry that answers 401 says
where a token for the question is given, to a user that it knows or to anybody.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from infra.clusters.images import Reference
from infra.examinations.findings import reason

if TYPE_CHECKING:
    import httpx

UNAUTHORISED, NOT_FOUND, OK = 401, 404, 200
REGISTRY_SECONDS = 5.0
DOCKER_CONFIG = ".dockerconfigjson"
PARAMETER = re.compile(r'(\w+)="([^"]*)"')
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)
Login = tuple[str, str]


def read_logins(data: Mapping[str, str]) -> dict[str, Login]:
    """User and password by registry, from what an image pull secret holds.

    Args:
        data: As the API gives it, in Base64; what cannot be read gives nothing.
    """
    try:
        content = json.loads(base64.b64decode(data.get(DOCKER_CONFIG) or ""))
        entries = dict(content["auths"])
    except (ValueError, KeyError, TypeError):
        return {}
    found = {_host(place): _login(entry) for place, entry in entries.items()}
    return {host: login for host, login in found.items() if login}


async def ask_registry(reference: Reference, logins: Mapping[str, Login]) -> int | str:
    """The status with which a registry answers for an image, or why it does not.

    Args:
        reference: The image.
        logins: User and password by registry; without one it is asked as anybody may ask.
    """
    import httpx

    if not reference.registry:
        return "its reference names no registry, and which one the nodes ask is theirs"
    place = f"/v2/{reference.repository}/manifests/{reference.version}"
    address = f"{_scheme(reference.registry)}://{reference.registry}{place}"
    login = logins.get(reference.registry)
    try:
        async with httpx.AsyncClient(timeout=REGISTRY_SECONDS, follow_redirects=True) as client:
            headers = {"Accept": MANIFESTS}
            answer = await client.head(address, headers=headers)
            challenge = answer.headers.get("WWW-Authenticate", "")
            refused = answer.status_code == UNAUTHORISED
            if refused and (shown := await _authorization(client, challenge, login)):
                answer = await client.head(address, headers={**headers, "Authorization": shown})
            if answer.status_code == NOT_FOUND and not await _is_registry(client, reference):
                return "nodes know its registry by another address, which is not asked"
            return answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"its registry does not answer us: {reason(error)}"


async def _is_registry(client: "httpx.AsyncClient", reference: Reference) -> bool:
    """Whether a host speaks the protocol, and is not one from whose name nodes know the place."""
    answer = await client.get(f"{_scheme(reference.registry)}://{reference.registry}/v2/")
    return answer.status_code in (OK, UNAUTHORISED)


async def _authorization(client: "httpx.AsyncClient", challenge: str, login: Login | None) -> str:
    """What is to be shown for a challenge; empty where there is nothing."""
    kind, _, rest = challenge.partition(" ")
    asked = dict(PARAMETER.findall(rest))
    if kind.lower() == "basic" and login:
        return f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"
    realm = asked.pop("realm", "")
    if kind.lower() != "bearer" or _scheme(urlsplit(realm).netloc) != urlsplit(realm).scheme:
        # a password is sent to no address that others could listen to
        return ""
    answer = await client.get(realm, params=asked, auth=login)
    if answer.status_code != OK:
        return ""
    try:
        given = answer.json()
        token = given.get("token") or given.get("access_token")
    except (ValueError, AttributeError):
        return ""
    return f"Bearer {token}" if token else ""


def _scheme(host: str) -> str:
    return "http" if host.startswith(("localhost:", "127.")) else "https"


def _host(place: str) -> str:
    """The registry of an entry, which is written with or without a scheme and a path."""
    return (
        place.partition("://")[2].partition("/")[0] if "://" in place else place.partition("/")[0]
    )


def _login(entry: Any) -> Login | None:
    """User and password of an entry: as they are, or in Base64 as one text."""
    if not isinstance(entry, Mapping):
        return None
    user, password = entry.get("username"), entry.get("password")
    if not (user and password):
        try:
            text = base64.b64decode(str(entry.get("auth") or "")).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        user, _, password = text.partition(":")
    return (str(user), str(password)) if user and password else None
