"""Who is told: the address of the settings as one of Prefect's notification blocks."""

import contextlib
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit
from uuid import UUID

from tasks.errors import ConfigError
from tasks.settings import Settings

if TYPE_CHECKING:
    from prefect.blocks.abstract import NotificationBlock
    from prefect.client.orchestration import SyncPrefectClient

BLOCK = "roundhouse-notify"
SLACK_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
TEAMS_HOSTS = ("webhook.office.com", "logic.azure.com", "powerplatform.com")
MAIL_SCHEMES = ("mailto", "mailtos")


def notification_block(address: str) -> "NotificationBlock":
    """The block that sends to an address: of Slack, Teams, a mail server, or any web page.

    Args:
        address: As in ROUNDHOUSE_NOTIFY.

    Raises:
        ConfigError: The address is of none of these kinds.
    """
    from prefect.blocks import notifications

    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme in MAIL_SCHEMES and host:
        # its block takes whatever address the mail library understands
        return notifications.SlackWebhook(url=address)
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(
            f"ROUNDHOUSE_NOTIFY begins with {parts.scheme or 'nothing'!r}; expected the address of "
            "a webhook, https://..., or of a mailbox, mailtos://user:password@host?to=whom."
        )
    if host.endswith(TEAMS_HOSTS):
        return notifications.MicrosoftTeamsWebhook(url=address)
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
    if settings.notify is None:
        return None, _remove(client)
    block = notification_block(settings.notify.get_secret_value())
    slug = block.get_block_type_slug()
    found = _found(client)
    if slug in found and found[slug][1] == _plain(block):
        return found[slug][0], []
    sentences = _remove(client, but=slug)
    verb = "changed" if slug in found else "created"
    document = block.save(BLOCK, overwrite=True)
    return cast(UUID, document), [*sentences, f"{verb} the notification block {BLOCK} ({slug})"]


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
