"""Who is told: the address of the settings as one of Prefect's notification blocks."""

import contextlib
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit
from uuid import UUID

from infra.rehearsal import is_rehearsing
from tasks.errors import ConfigError
from tasks.settings import Settings

if TYPE_CHECKING:
    from prefect.blocks.abstract import NotificationBlock
    from prefect.client.orchestration import SyncPrefectClient

BLOCK = "roundhouse-notify"
SLACK_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
TEAMS_HOSTS = ("webhook.office.com", "logic.azure.com", "powerplatform.com")
MAIL_SCHEMES = ("mailto", "mailtos")


def require_address(settings: Settings) -> None:
    """Makes sure that messages could be sent to the settings' address, if there is one.

    Raises:
        ConfigError: It is no address, or of none of the kinds that can be told.
    """
    if settings.notify:
        _parts(settings.notify.get_secret_value())


def notification_block(address: str) -> "NotificationBlock":
    """The block that sends to an address: of Slack, Teams, a mail server, or any web page.

    Args:
        address: As in ROUNDHOUSE_NOTIFY.

    Raises:
        ConfigError: The address is of none of these kinds.
    """
    from prefect.blocks import notifications

    scheme, host = _parts(address)
    if scheme in MAIL_SCHEMES:
        # its block takes whatever address the mail library understands
        return notifications.SlackWebhook(url=address)
    if host.endswith(TEAMS_HOSTS):
        try:
            return notifications.MicrosoftTeamsWebhook(url=address)
        except ValueError:
            raise ConfigError(
                f"ROUNDHOUSE_NOTIFY is at {host} and not a whole address of a Teams workflow; "
                "expected the one that Teams shows, with all that follows the question mark."
            ) from None
    if host in SLACK_HOSTS:
        return notifications.SlackWebhook(url=address)
    return notifications.CustomWebhookNotificationBlock(
        name=BLOCK,
        # the address holds a token as a rule, and of this block only the secrets are encrypted
        url="{{ address }}",
        json_data={"subject": "{{ subject }}", "text": "{{ body }}"},
        secrets={"address": address},
    )


def apply_block(client: "SyncPrefectClient", settings: Settings) -> tuple[UUID | None, list[str]]:
    """Keeps the block of the settings' address on the server; without an address, none.

    Args:
        client: A client for the Prefect API that this process uses.
        settings: Places and addresses.

    Returns:
        The block's id, and a sentence per change.
    """
    if not settings.notify:
        return None, _remove(client)
    block = notification_block(settings.notify.get_secret_value())
    slug = block.get_block_type_slug()
    found = _found(client)
    if slug in found and found[slug][1] == _plain(block):
        return found[slug][0], []
    sentences = _remove(client, but=slug)
    verb = "changed" if slug in found else "created"
    # its own client would write also where this one only tells what it would
    document = None if is_rehearsing(client) else block.save(BLOCK, overwrite=True)
    return cast(UUID, document or UUID(int=0)), [
        *sentences,
        f"{verb} the notification block {BLOCK} ({slug})",
    ]


def _parts(address: str) -> tuple[str, str]:
    """Scheme and host of an address; what else is in it is nobody's business."""
    try:
        parts = urlsplit(address)
        scheme, host = parts.scheme, parts.hostname or ""
    except ValueError:
        scheme, host = "", ""
    if scheme not in ("http", "https", *MAIL_SCHEMES):
        found = f"begins with {scheme!r}" if scheme else "has no scheme"
    elif not host:
        found = f"names no host after {scheme!r}"
    else:
        return scheme, host
    raise ConfigError(
        f"ROUNDHOUSE_NOTIFY {found}; expected the address of a webhook, https://..., or of a "
        "mailbox, mailtos://user:password@host?to=whom. Correct or unset it."
    )


def _remove(client: "SyncPrefectClient", but: str = "") -> list[str]:
    gone = [slug for slug in _found(client) if slug != but]
    for slug in gone:
        client.delete_block_document(_found(client)[slug][0])
    return [f"removed the notification block {BLOCK} ({slug})" for slug in gone]


def _found(client: "SyncPrefectClient") -> dict[str, tuple[UUID, dict[str, object]]]:
    """By its type, the id and the content of each block of our name."""
    from prefect.exceptions import ObjectNotFound

    found = {}
    for kind in _kinds():
        slug = kind.get_block_type_slug()
        with contextlib.suppress(ObjectNotFound):
            document = client.read_block_document_by_name(BLOCK, slug, include_secrets=True)
            found[slug] = (document.id, _plain(kind.model_validate(document.data)))
    return found


def _kinds() -> "tuple[type[NotificationBlock], ...]":
    from prefect.blocks import notifications

    return (
        notifications.SlackWebhook,
        notifications.MicrosoftTeamsWebhook,
        notifications.CustomWebhookNotificationBlock,
    )


def _plain(block: "NotificationBlock") -> dict[str, object]:
    """All that a block holds, its secrets too."""
    return block.model_dump(mode="json", context={"include_secrets": True})
