import re

import pytest

from infra.clusters.images import PATTERN, parse_reference, with_suffix
from tasks.errors import ConfigError

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("image", "registry", "repository", "version"),
    [
        ("registry.example.org/roundhouse:1.2.3", "registry.example.org", "roundhouse", "1.2.3"),
        ("localhost:5001/a/b:1", "localhost:5001", "a/b", "1"),
        ("roundhouse:1", "", "roundhouse", "1"),
        ("team/roundhouse:1", "", "team/roundhouse", "1"),
        (f"registry.example.org/r@{DIGEST}", "registry.example.org", "r", DIGEST),
        (f"registry.example.org/r:1@{DIGEST}", "registry.example.org", "r", DIGEST),
    ],
)
def test_a_reference_says_where_an_image_is(
    image: str, registry: str, repository: str, version: str
) -> None:
    found = parse_reference(image)
    assert (found.registry, found.repository, found.version) == (registry, repository, version)
    assert re.search(PATTERN, image)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("registry.example.org/roundhouse", "can be another tomorrow"),
        ("registry.example.org/roundhouse:latest", "can be another tomorrow"),
        ("Roundhouse:1", "is no reference"),
        ("https://registry.example.org/r:1", "is no reference"),
        ("r:1 ", "is no reference"),
        ("", "is no reference"),
    ],
)
def test_what_is_no_reference_or_can_move_is_refused(image: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_reference(image)
    assert not re.search(PATTERN, image)


def test_a_suffix_is_of_the_tag() -> None:
    assert with_suffix("r.example.org/a:1", "-gpu") == "r.example.org/a:1-gpu"
