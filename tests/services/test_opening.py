"""What works on a data folder is made once, and follows the settings that a server takes over while it runs."""

from dataclasses import replace
from pathlib import Path

from tests.registry import open_registry


async def test_another_key_is_used_from_the_next_secret_on(tmp_path: Path) -> None:
    """A reload with another key_file seals with that one, as a restart would."""
    async with open_registry(tmp_path / "data") as registry:
        services, config = registry.services, registry.config
        other = tmp_path / "key"
        services.use(replace(config, key_file=other))
        await services.credentials.add_https(
            registry.organization, "deploy", host="git.example.com", token="secret", username="deploy"
        )
        assert other.exists()
        assert not config.key.exists()
