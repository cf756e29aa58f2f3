"""The worker's settings, read from environment variables. docs/configuration.md is generated from their docstrings."""

import base64
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FiniteFloat,
    IPvAnyNetwork,
    NonNegativeInt,
    PositiveInt,
    SecretBytes,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from shared.amqp.topology import LANE_MAX_LENGTH, QueueType
from shared.contracts.operation import Lane
from shared.contracts.wire import MIN_PASSWORD_CHARS
from shared.process.settings import CommaSeparated, ProcessSettings
from worker.domain.attempts import Limit, Throttle
from worker.domain.ports import BEYOND_THREADS, Lifetimes

#: RFC 7518, 3.2: a key of HMAC-SHA-256 must have at least as many bits as its output.
MIN_KEY_BYTES = 32
#: OWASP Session Management asks for 64 bits in values that must not be guessed; 16 hexadecimal
#: digits have 64 bits.
MIN_REGISTRATION_KEY_CHARS = 16
#: Wrong keys from one client before attempts are delayed: an operator may paste the wrong secret a
#: few times.
FREE_REGISTRATION_KEYS = 5
#: NIST SP 800-63B-4, 3.1.1.2: passwords of this length must be accepted. A higher minimum would
#: refuse passphrases.
MAX_MIN_PASSWORD_CHARS = 64
#: Each place may hold a body of 128 KiB. 64 MiB in all fit into a container of 384 MiB beside the
#: memory for hashing.
MAX_PASSWORD_PLACES = 512
#: Ten years: longer than any session needs, and within the range of dates.
MAX_TOKEN_SECONDS = 10 * 365 * 24 * 3600
TokenSeconds = Annotated[int, Field(ge=1, le=MAX_TOKEN_SECONDS)]
#: Variables whose values may be given as files.
SECRETS = ("AMQP_URL", "MONGO_URL", "AUTH_MASTER_KEYS", "AUTH_REGISTRATION_KEY", "AUTH_PASSWORD_PEPPERS")
#: The characters of tenants' ids.
OPERATOR_TENANT = r"^[A-Za-z0-9_-]{1,64}$"
#: The id of a pepper. A stored hash has it before its first `$`.
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
            raise ValueError(f"key {number} has the same id as an earlier key")
        keys[key_id] = key
    return keys


def _pepper_ids(peppers: dict[str, SecretBytes] | None) -> dict[str, SecretBytes] | None:
    for number, pepper_id in enumerate(peppers or (), start=1):
        if not PEPPER_ID.fullmatch(pepper_id):
            raise ValueError(f"key {number} must have an id of 1 to 64 letters, digits, `.`, `-` or `_`")
    return peppers


def _mongo_url(secret: SecretStr) -> SecretStr:
    url = secret.get_secret_value()
    if not url.startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("must be mongodb://host or mongodb+srv://host")
    if url.startswith("mongodb://"):  # checking the other kind needs a DNS lookup
        try:
            parse_uri(url)
        except (PyMongoError, ValueError):  # error texts may quote the password
            raise ValueError("is not a valid MongoDB URL; percent-encode special characters") from None
    return secret


def _registration_key(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < MIN_REGISTRATION_KEY_CHARS:
        raise ValueError(f"must have at least {MIN_REGISTRATION_KEY_CHARS} characters")
    return secret


#: The URL of a database. It is a secret because it contains the password.
MongoUrl = Annotated[SecretStr, AfterValidator(_mongo_url), Field(validation_alias="MONGO_URL")]
#: The library that speaks to the database.
MongoDriver = Annotated[Literal["motor", "pymongo"], Field(validation_alias="AUTH_MONGO_DRIVER")]


class ImportSettings(BaseSettings):
    """The variables of the commands `worker.indexes`, `worker.import_users` and `worker.colliding_logins`.

    They read no keys.
    """

    model_config = SettingsConfigDict(
        case_sensitive=True, env_ignore_empty=True, hide_input_in_errors=True, frozen=True
    )

    mongo_url: MongoUrl
    mongo_driver: MongoDriver = "motor"


class Settings(ProcessSettings):
    """Settings of a worker. `MONGO_URL` has no prefix either. Secrets have no default."""

    mongo_url: MongoUrl
    """URL of MongoDB. Its path is the name of the database; default: `jincor_auth`."""
    mongo_driver: MongoDriver = "motor"
    """Client library for MongoDB: `motor`, or `pymongo`, the async client of PyMongo, for trials. Motor
    gets critical fixes until May 2027. The commands for the database read it too."""

    primary_lease: bool = True
    """Whether the worker has MongoDB confirm twice a second, by a linearizable read, that its primary
    is the primary, and answers 503 to tokens otherwise. `false`: after a network partition, a
    worker on the side of the old primary accepts revoked tokens for about ten seconds."""

    lanes: Annotated[frozenset[Lane], NoDecode, CommaSeparated, Field(min_length=1)]
    """Lanes that this worker serves, separated by commas: `verify`, `manage`, `password`. The
    option `--lanes` overrides it."""
    queue_type: QueueType = QueueType.CLASSIC
    """Type of the lanes' queues, the same for all workers of a broker: `classic`, or `quorum`. With
    `quorum` the loss of one of three broker nodes interrupts service for a second or two only; ADR
    0014 states its price."""
    password_queue_length: Annotated[int, Field(ge=1, le=LANE_MAX_LENGTH)] = 128
    """How many password requests may wait in the broker's queue, 1000 at most. Further ones are
    refused at once with 503. A worker holds twice as many besides, 512 at most, of which one tenant
    gets half. Set it to about deadline times rate, so that requests that cannot be answered in time
    are refused."""
    password_nice: Annotated[int, Field(ge=0, le=19)] = 19
    """Niceness of a worker that serves only the password lane, so that hashing yields the CPU to
    verification. It has no effect across containers: there, give this worker fewer CPU shares."""

    master_keys: Annotated[dict[str, SecretBytes], NoDecode, BeforeValidator(_keys), Field(min_length=1)]
    """Master keys as `id:base64`, separated by commas, at least 32 bytes each. The first key signs, all keys verify."""
    issuer: Annotated[str, Field(min_length=1)] = "jincor-auth"
    """The `iss` of every token, the audience of tenant tokens, and the source of events."""
    tenant_token_seconds: TokenSeconds = 7 * 24 * 3600
    """Lifetime of a tenant's session in seconds, ten years at most."""
    user_token_seconds: TokenSeconds = 7 * 24 * 3600
    """Lifetime of a user's session in seconds, ten years at most."""
    access_token_seconds: Annotated[int, Field(ge=60, le=3600)] = 3600
    """Lifetime of an access token in seconds, 60 to 3600. It ends earlier with its API key."""

    operator_tenant: Annotated[str, Field(pattern=OPERATOR_TENANT)] | None = None
    """Id of the tenant whose users may be operators of this installation, as printed by
    `python -m worker.bootstrap`. Unset: there are no operators."""
    operator_token_seconds: TokenSeconds = 8 * 3600
    """Lifetime of an operator's session in seconds, ten years at most."""

    max_sessions_per_user: NonNegativeInt = 0
    """How many sessions a user may have. A login revokes the oldest ones beyond that, with the
    reason `session_limit`. 0: no limit."""

    registration_networks: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, CommaSeparated] = ()
    """Networks from which tenants may register without the registration key, separated by commas."""
    registration_key: Annotated[SecretStr, AfterValidator(_registration_key)] | None = None
    """Key of the operator (`X-Registration-Key`), with which a caller may register tenants from any
    network, and disable, enable or delete any tenant. At least 16 random characters. After five
    wrong keys from one address, further attempts from it are delayed."""

    hash_threads: PositiveInt = os.cpu_count() or 1
    """How many passwords are hashed concurrently. Each hash uses one core and the memory of `AUTH_HASH_MEMORY_KIB`."""
    hash_memory_kib: Annotated[int, Field(ge=19_456, le=4_194_304)] = 19_456
    """Memory of argon2id in KiB. OWASP Password Storage Cheat Sheet: at least 19 MiB with two passes."""
    hash_passes: Annotated[int, Field(ge=2)] = 2
    """Passes of argon2id, at least two."""
    password_min_chars: Annotated[int, Field(ge=MIN_PASSWORD_CHARS, le=MAX_MIN_PASSWORD_CHARS)] = MIN_PASSWORD_CHARS
    """Minimum length of new passwords in characters, 8 to 64. NIST SP 800-63B-4, 3.1.1.2: 15 if a
    password is the only factor. Existing shorter passwords keep working."""
    password_peppers: Annotated[
        dict[str, SecretBytes] | None, NoDecode, BeforeValidator(_keys), AfterValidator(_pepper_ids)
    ] = None
    """Peppers, secrets that are mixed into password hashes, in the format of the master keys. New
    hashes use the first one, all of them verify: see below."""

    throttle_account_failures: NonNegativeInt = 5
    """Wrong passwords for one account in a window before further attempts are delayed: by 1 second,
    2, 4 and so on. 0: no limit."""
    throttle_consecutive_failures: NonNegativeInt = 100
    """Consecutive wrong passwords, over any time, after which the account is locked for all origins
    from which it has not logged in. It is unlocked by a new password, by its tenant, or 8 hours for
    each of them after the last one, 30 days at most. NIST SP 800-63B-4, 3.2.2, allows 100. 0, or no
    limit of wrong passwords in a window: accounts are never locked."""
    throttle_address_failures: NonNegativeInt = 100
    """Wrong passwords from one address, for all accounts of a tenant, before further attempts are
    delayed. A whole office may share an address. 0: no limit."""
    throttle_longest_wait_seconds: Annotated[int, Field(ge=1, le=3600)] = 60
    """The longest delay of an attempt. With the default of 60 seconds an account can be tried 69
    times an hour; OWASP ASVS 4.0.3, 2.2.1, allows 100."""
    throttle_window_seconds: Annotated[int, Field(ge=60, le=30 * 24 * 3600)] = 3600
    """Length of a window: from the first wrong password until the count is reset. A right password
    resets it at once."""
    throttle_known_seconds: Annotated[int, Field(ge=60, le=MAX_TOKEN_SECONDS)] = 30 * 24 * 3600
    """How long an address from which an account has logged in is exempt from delays and locks
    caused by other addresses."""

    audit_days: Annotated[int, Field(ge=0, le=3650)] = 90
    """How many days audit records are kept. 0: none are written."""
    activity_seconds: Annotated[FiniteFloat, Field(gt=0)] = 60.0
    """Interval in seconds at which users' last activity is written, with one write for each active user."""
    shutdown_grace_seconds: Annotated[FiniteFloat, Field(gt=0)] = 10.0
    """How many seconds a stopping worker may take to finish the requests in flight."""
    heartbeat_file: Path | None = None
    """File that the worker touches while it takes requests. `python -m worker.heartbeat` checks it,
    as a container's health check."""

    @model_validator(mode="after")
    def _row_is_no_shorter_than_what_is_free(self) -> Self:
        row, free = self.throttle_consecutive_failures, self.throttle_account_failures
        if not 0 < row < free:
            return self
        problem = PydanticCustomError(
            "too_few",
            "AUTH_THROTTLE_CONSECUTIVE_FAILURES (100 unless set) must be 0, or at least AUTH_THROTTLE_ACCOUNT_FAILURES",
        )
        # An error of one field, so that the line begins with a variable that was set and not with a default.
        which = "CONSECUTIVE" if "throttle_consecutive_failures" in self.model_fields_set else "ACCOUNT"
        details = InitErrorDetails(type=problem, loc=(f"AUTH_THROTTLE_{which}_FAILURES",), input=None)
        raise ValidationError.from_exception_data("Settings", [details])

    @property
    def password_places(self) -> int:
        """How many password requests this worker holds at once. One tenant gets at most half of these places."""
        return min(2 * max(self.password_queue_length, self.hash_threads + BEYOND_THREADS), MAX_PASSWORD_PLACES)

    @property
    def throttle(self) -> Throttle:
        """The throttling limits."""

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
        """How long audit records are kept. None: none are written."""
        return timedelta(days=self.audit_days) if self.audit_days else None

    @property
    def lifetimes(self) -> Lifetimes:
        """The lifetimes of sessions and of access tokens."""
        return Lifetimes(
            tenant=timedelta(seconds=self.tenant_token_seconds),
            user=timedelta(seconds=self.user_token_seconds),
            operator=timedelta(seconds=self.operator_token_seconds),
            access_token=timedelta(seconds=self.access_token_seconds),
        )
