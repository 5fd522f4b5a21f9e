"""References of images: which can be told apart, and where they come from."""

import re
from dataclasses import dataclass

from tasks.errors import ConfigError

NAME = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?"
TAG, DIGEST = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", r"sha256:[0-9a-f]{64}"
# of the form of the UI: a tag or a digest, and no tag that moves
PATTERN = rf"^(?!.*:latest$)({HOST}/)?{NAME}(/{NAME})*(:{TAG}(@{DIGEST})?|@{DIGEST})$"
EXAMPLE = "registry.example.org/roundhouse:1.2.3"


@dataclass(frozen=True)
class Reference:
    """The reference of an image.

    Args:
        registry: Host of its registry, with the port if it has one; empty where the nodes know.
        repository: Its name there.
        tag: Its tag; empty where the digest alone says which it is.
        digest: Its digest; empty where the tag says which it is.
    """

    registry: str
    repository: str
    tag: str
    digest: str

    @property
    def version(self) -> str:
        """What a registry finds it by."""
        return self.digest or self.tag


def parse_reference(image: str) -> Reference:
    """The parts of a reference.

    Raises:
        ConfigError: It is none, or one that can mean another image tomorrow.
    """
    found = re.fullmatch(
        rf"(?:(?P<host>{HOST})/)?(?P<name>{NAME}(?:/{NAME})*)"
        rf"(?::(?P<tag>{TAG}))?(?:@(?P<digest>{DIGEST}))?",
        image,
    )
    host = found["host"] if found else None
    if host and not re.search(r"[.:]|^localhost$", host):
        # the first part of a name on the registry that the nodes ask by themselves
        found = re.fullmatch(
            rf"(?P<name>{NAME}(?:/{NAME})*)(?::(?P<tag>{TAG}))?(?:@(?P<digest>{DIGEST}))?", image
        )
        host = None
    if found is None:
        raise ConfigError(
            f"Received the image {image!r}, which is no reference; expected one such as {EXAMPLE}. "
            "Set ROUNDHOUSE_IMAGE."
        )
    tag, digest = found["tag"] or "", found["digest"] or ""
    if not digest and tag in ("", "latest"):
        raise ConfigError(
            f"Received the image {image!r}, which can be another tomorrow; expected one with a "
            f"version as its tag, such as {EXAMPLE}, or with a digest. Set ROUNDHOUSE_IMAGE."
        )
    return Reference(host or "", found["name"], tag, digest)


def with_suffix(image: str, suffix: str) -> str:
    """The image with a suffix to its tag, as 1.2.3-gpu to 1.2.3.

    Raises:
        ConfigError: It has a digest, which is of one image alone.
    """
    if parse_reference(image).digest:
        raise ConfigError(
            f"Received ROUNDHOUSE_IMAGE={image!r}, whose digest is of one image, while a profile "
            f"wants the tag with {suffix!r} at its end; expected a tag alone, or `image` in that "
            "profile of profiles.yaml."
        )
    return f"{image}{suffix}"
