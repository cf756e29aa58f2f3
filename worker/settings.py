"""The worker's settings: environment variables. Their docstrings are the tables of docs/configuration.md."""

import base64
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasGenerator,
    BeforeValidator,
    Field,
    FiniteFloat,
    IPvAnyNetwork,
    NonNegativeInt,
    PositiveInt,
    SecretBytes,
    SecretStr,
    ValidationInfo,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from shared.amqp.topology import QueueType
from shared.contracts.operation import Lane
from shared.contracts.wire import MIN_PASSWORD_CHARS
from shared.process.environment import AmqpUrl, CommaSeparated
from shared.process.logging import LogFormat
from worker.domain.attempts import Limit, Throttle
from worker.domain.ports import Lifetimes

#: RFC 7518, 3.2: a key of HMAC-SHA-256 has at least as many bits as its output.
MIN_KEY_BYTES = 32
#: OWASP Session Management asks for 64 bits in what must not be guessed; 16 hexadecimal digits have as many.
MIN_REGISTRATION_KEY_CHARS = 16
#: Wrong ones from one client before each further one has to wait: an operator may paste the wrong secret some times.
FREE_REGISTRATION_KEYS = 5
#: What a verifier accepts at least (NIST SP 800-63B-4, 3.1.1.2): beyond, passphrases would be refused.
MAX_MIN_PASSWORD_CHARS = 64
#: Each may hold a body of 128 KiB: 64 MiB at most, which fits into a container of 384 MiB beside what is hashed.
MAX_PASSWORD_PLACES = 512
#: A worker has room for what it deals with at a time, whatever the queue's length is.
BEYOND_THREADS = 2

#: Ten years: longer than any session is meant to last, and still a date.
MAX_TOKEN_SECONDS = 10 * 365 * 24 * 3600
Port = Annotated[int, Field(ge=1, le=65535)]
TokenSeconds = Annotated[int, Field(ge=1, le=MAX_TOKEN_SECONDS)]
#: May be given as files.
SECRETS = ("AMQP_URL", "MONGO_URL", "AUTH_MASTER_KEYS", "AUTH_REGISTRATION_KEY", "AUTH_PASSWORD_PEPPERS")
#: Stands before the `$` of the hashes that it names.
PEPPER_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def _keys(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    keys: dict[str, bytes] = {}
    for number, entry in enumerate(value.split(","), start=1):
        key_id, colon, encoded = entry.strip().partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if not (key_id and colon and key):
            raise ValueError(f"key {number} must be id:base64")
        if len(key) < MIN_KEY_BYTES:
            raise ValueError(f"key {number} must have at least {MIN_KEY_BYTES} bytes")
        if key_id in keys:
            raise ValueError(f"key {number} has the id of an earlier one")
        keys[key_id] = key
    return keys


def _pepper_ids(peppers: dict[str, SecretBytes] | None) -> dict[str, SecretBytes] | None:
    for number, pepper_id in enumerate(peppers or (), start=1):
        if not PEPPER_ID.fullmatch(pepper_id):
            raise ValueError(f"key {number} must have an id of 1 to 64 letters, digits, `.`, `-` or `_`")
    return peppers


def _no_fewer_than_are_free(failures: int, info: ValidationInfo) -> int:
    if failures and failures < info.data.get("throttle_account_failures", 0):
        raise ValueError("must be 0, or at least as many as AUTH_THROTTLE_ACCOUNT_FAILURES")
    return failures


def _mongo_url(secret: SecretStr) -> SecretStr:
    url = secret.get_secret_value()
    if not url.startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("must be mongodb://host or mongodb+srv://host")
    if url.startswith("mongodb://"):  # to check the other kind takes a look-up of names
        try:
            parse_uri(url)
        except (PyMongoError, ValueError):  # whose texts repeat parts of it, maybe of its password
            raise ValueError("is not a valid MongoDB URL; special characters are percent-encoded in it") from None
    return secret


def _registration_key(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < MIN_REGISTRATION_KEY_CHARS:
        raise ValueError(f"must have at least {MIN_REGISTRATION_KEY_CHARS} characters")
    return secret


#: A database. Its password is part of it, so the whole is a secret.
MongoUrl = Annotated[SecretStr, AfterValidator(_mongo_url), Field(validation_alias="MONGO_URL")]


class ImportSettings(BaseSettings):
    """The part of a worker's variables that the commands about users read: `python -m worker.import_users` and
    `python -m worker.colliding_logins`. They get no key, and need none."""

    model_config = SettingsConfigDict(env_ignore_empty=True, hide_input_in_errors=True, frozen=True)

    mongo_url: MongoUrl


class Settings(BaseSettings):
    """Every variable a worker reads: the two URLs, and the other fields' names in upper case after `AUTH_`.

    There is no default for anything that protects something.
    """

    model_config = SettingsConfigDict(
        alias_generator=AliasGenerator(validation_alias=lambda name: f"AUTH_{name.upper()}"),
        validate_by_name=True,
        validate_by_alias=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        frozen=True,
    )

    amqp_url: Annotated[tuple[AmqpUrl, ...], NoDecode, CommaSeparated, Field(min_length=1, validation_alias="AMQP_URL")]
    """The broker, or several nodes of it, separated by commas: each connection begins at a random one, and the next is
    used when one is away."""
    declare_topology: bool = True
    """`false` where an administrator declares the exchanges. The queues of its lanes are a worker's own."""
    mongo_url: MongoUrl
    """The database; its path names it, `jincor_auth` if it has none."""

    lanes: Annotated[frozenset[Lane], NoDecode, CommaSeparated, Field(min_length=1)]
    """What this worker serves: `verify`, `manage`, `password`. The command line's `--lanes` comes first."""
    queue_type: QueueType = QueueType.CLASSIC
    """Of the lanes' queues, the same for all workers of a broker: `classic`, or `quorum` where the loss of one of three
    nodes should not be noticed for longer than a second or two; at a price (ADR 0014)."""
    password_queue_length: PositiveInt = 128
    """How many password requests of one tenant may wait in a worker, and of all tenants in the broker's queue before
    the workers; more are refused at once with 503. About deadline times rate: what could not be answered in time is
    refused."""
    password_nice: Annotated[int, Field(ge=0, le=19)] = 19
    """Niceness of a worker that serves the password lane alone, so that hashing yields to verification. Containers are
    not nice to each other: there, give it fewer CPU shares."""

    master_keys: Annotated[dict[str, SecretBytes], NoDecode, BeforeValidator(_keys), Field(min_length=1)]
    """`id:base64` of at least 32 bytes each, separated by commas. The first signs, all verify."""
    issuer: Annotated[str, Field(min_length=1)] = "jincor-auth"
    """`iss` of every token, audience of tenant tokens, source of events."""
    tenant_token_seconds: TokenSeconds = 7 * 24 * 3600
    """How long a tenant's session lasts, ten years at most."""
    user_token_seconds: TokenSeconds = 7 * 24 * 3600
    """How long a user's session lasts, ten years at most."""

    max_sessions_per_user: NonNegativeInt = 0
    """How many sessions a user may have; a login ends the oldest beyond that, for `session_limit`. 0: any number."""

    registration_networks: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, CommaSeparated] = ()
    """Networks from which tenants may register."""
    registration_key: Annotated[SecretStr, AfterValidator(_registration_key)] | None = None
    """Whoever presents it (`X-Registration-Key`) may register tenants from anywhere, disable, enable and delete any. At
    least 16 characters, random ones. After five wrong ones from one address each further one has to wait."""

    hash_threads: PositiveInt = os.cpu_count() or 1
    """How many passwords are hashed at a time; each keeps one core and the memory below busy."""
    hash_memory_kib: Annotated[int, Field(ge=19_456, le=4_194_304)] = 19_456
    """argon2id's memory. OWASP Password Storage Cheat Sheet: no less than 19 MiB with two passes."""
    hash_passes: Annotated[int, Field(ge=2)] = 2
    """argon2id's passes, no fewer."""
    password_min_chars: Annotated[int, Field(ge=MIN_PASSWORD_CHARS, le=MAX_MIN_PASSWORD_CHARS)] = MIN_PASSWORD_CHARS
    """How many characters a password must have that is chosen from now on, 8 to 64. NIST SP 800-63B-4, 3.1.1.2: 15
    where a password is the only factor. Nobody is asked for a longer one at a login."""
    password_peppers: Annotated[
        dict[str, SecretBytes] | None, NoDecode, BeforeValidator(_keys), AfterValidator(_pepper_ids)
    ] = None
    """Secrets that go into passwords' hashes, written as the master keys. The first is used, all verify: see below."""

    throttle_account_failures: NonNegativeInt = 5
    """Wrong passwords for one account, in a window, before each further one has to wait: 1 second, 2, 4 and so on. A
    person who mistypes needs no more. 0: no limit."""
    throttle_consecutive_failures: Annotated[NonNegativeInt, AfterValidator(_no_fewer_than_are_free)] = 100
    """Wrong passwords for one account in a row, whenever they come, after which none more is tried but from where the
    account has logged in: until it has a new password or is unlocked, or for 30 days after the last. NIST SP 800-63B-4,
    3.2.2, allows 100. 0: no end to it, as without a limit of wrong passwords in a window."""
    throttle_address_failures: NonNegativeInt = 100
    """And from one address, for all accounts of a tenant: an office may be behind it. 0: no limit."""
    throttle_longest_wait_seconds: Annotated[int, Field(ge=1, le=3600)] = 60
    """Nobody waits for longer, and so an account can be guessed at 69 times an hour: OWASP ASVS 4.0.3, 2.2.1, allows
    100."""
    throttle_window_seconds: Annotated[int, Field(ge=60, le=30 * 24 * 3600)] = 3600
    """From the first wrong password until all are forgotten. A right one is sooner."""
    throttle_known_seconds: Annotated[int, Field(ge=60, le=MAX_TOKEN_SECONDS)] = 30 * 24 * 3600
    """For how long strangers cannot keep an account out from where it has logged in."""

    audit_days: Annotated[int, Field(ge=0, le=3650)] = 90
    """How long records of the audit trail are kept. 0: none are written."""
    activity_seconds: Annotated[FiniteFloat, Field(gt=0)] = 60.0
    """How often users' last activity is written: one write for each user who was seen meanwhile, however often."""
    shutdown_grace_seconds: Annotated[FiniteFloat, Field(gt=0)] = 10.0
    """How long a stopping worker takes to finish the requests it holds."""
    heartbeat_file: Path | None = None
    """Touched while this worker takes requests; `python -m worker.heartbeat`, for a container, says whether it was."""
    metrics_port: Port | None = None
    """Where Prometheus finds this process; without a port there is no such place. One for each process of a host."""
    metrics_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address for it to listen on. Metrics are for the operator alone: one that clients cannot reach."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """`debug`, `info`, `warning` or `error`."""
    log_format: LogFormat = "json"
    """`json`, or `console` for people."""
    log_verify_sample: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.01
    """Of the verifications that succeed, the share that is logged; each of their lines says it. All others are."""

    @property
    def password_places(self) -> int:
        """How many password requests this worker holds at a time: one tenant gets half of them."""
        return min(2 * max(self.password_queue_length, self.hash_threads + BEYOND_THREADS), MAX_PASSWORD_PLACES)

    @property
    def throttle(self) -> Throttle:
        def limit(failures: int, max_consecutive: int | None = None) -> Limit:
            wait, window = self.throttle_longest_wait_seconds, self.throttle_window_seconds
            return Limit(failures, timedelta(seconds=wait), timedelta(seconds=window), max_consecutive)

        account = limit(self.throttle_account_failures, self.throttle_consecutive_failures or None)
        return Throttle(
            account=account if self.throttle_account_failures else None,
            address=limit(self.throttle_address_failures) if self.throttle_address_failures else None,
            known_for=timedelta(seconds=self.throttle_known_seconds),
            registration_key=limit(FREE_REGISTRATION_KEYS),
        )

    @property
    def audit_kept_for(self) -> timedelta | None:
        return timedelta(days=self.audit_days) if self.audit_days else None

    @property
    def lifetimes(self) -> Lifetimes:
        return Lifetimes(timedelta(seconds=self.tenant_token_seconds), timedelta(seconds=self.user_token_seconds))
