"""The one place that reads the environment (LEDGER_*), once."""

from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MAX_BATCH = 500
"""Commands that one transaction decides at most; also the size of one fetch from the queue."""


class Settings(BaseSettings):
    """Where a ledger lives and what it is called. Frozen: read at start, never changed afterwards."""

    model_config = SettingsConfigDict(env_prefix="LEDGER_", frozen=True, extra="ignore")

    data_dir: Path = Field(default=Path(".ledger"), description="keys, fork guard, embedded servers, run.json")
    database_url: str | None = Field(default=None, description="PostgreSQL; empty: that of the running `up`")
    eraser_url: str | None = Field(
        default=None, description="PostgreSQL as ledger_eraser, for erasures; empty: as database_url says"
    )
    broker_url: str | None = Field(default=None, description="NATS; empty: that of the running `up`")
    http_port: int = Field(
        default=8080, ge=0, le=65535, description="/health, /metrics, log and console; 0 takes a free port"
    )
    console_token: SecretStr | None = Field(
        default=None, description="who has it reads the console; empty: the file console-token of the data directory"
    )
    witness_policy: Path | None = Field(
        default=None, description="a tlog-policy file: checkpoints are published once its quorum has cosigned them"
    )
    timestamp_url: str | None = Field(default=None, description="a timestamp authority (RFC 3161) for checkpoints")
    timestamp_roots: Path | None = Field(default=None, description="PEM file with that authority's root certificate")
    timestamp_seconds: int = Field(default=3600, ge=1, description="how often the newest checkpoint is stamped")
    key_log: SecretStr | None = Field(default=None, description="the signing key, hex or base64, instead of keys/log")
    key_log_old: SecretStr | None = Field(default=None, description="the one before, until `keys rotate-log` was run")
    key_kek: SecretStr | None = Field(default=None, description="the key-encryption key, instead of keys/kek")
    key_kek_old: SecretStr | None = Field(default=None, description="the one before, until `keys rotate` was run")
    key_digest: SecretStr | None = Field(default=None, description="the key of the digests, instead of keys/digest")
    key_provider: str | None = Field(default=None, description="package.module:factory of a KMS or an HSM")
    key_provider_old: str | None = Field(default=None, description="the one before, until the keys were rotated")
    origin: str = Field(
        default="localhost/promise-ledger",
        pattern=r"^[A-Za-z0-9._/:-]{1,128}$",
        description="the log's name in checkpoints, fixed when the log is created",
    )

    @field_validator(
        "database_url",
        "eraser_url",
        "broker_url",
        "witness_policy",
        "timestamp_url",
        "timestamp_roots",
        "console_token",
        mode="before",
    )
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @property
    def keys_dir(self) -> Path:
        """The directory of the secrets that are not in the database (mode 0700)."""
        return self.data_dir / "keys"

    @property
    def guard_path(self) -> Path:
        """The fork guard: the last signed checkpoint, kept outside the database."""
        return self.data_dir / "guard"
