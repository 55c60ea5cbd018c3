"""bridge.yaml as models (what may stand in the file) and as Settings (what the rest of the product works with)."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from bridge.config import units
from bridge.config.units import Rate
from bridge.domain.access import Role
from bridge.domain.errors import Problem
from bridge.sources.base import Auth, Setting

NAME_PATTERN = r"[a-z0-9][a-z0-9_-]*"


def _whole(value: Any) -> Any:
    """A number out of a variable comes as text."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()) else value


def _read(reader: Any) -> Any:
    def read(value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise ValueError(_EXAMPLE[reader])
        return reader(value)

    return BeforeValidator(read)


_EXAMPLE = {
    units.duration: "a duration such as 30s, 2m, 1h or 7d",
    units.size: "a size such as 8MiB or 64KiB",
    units.rate: "a rate such as 12/min, 10/s, 100/h or 10/10s",
}

Duration = Annotated[timedelta, _read(units.duration)]
Size = Annotated[int, _read(units.size)]
Whole = Annotated[int, BeforeValidator(_whole)]
Pace = Annotated[Any, _read(units.rate)]


class Model(BaseModel):
    """What every part of the file has: nothing unknown, nothing changed after it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)


class ServerModel(Model):
    """`server:`"""

    listen: str = Field(default="127.0.0.1:8080", description="Host and port the web process listens on.")
    public_url: str = Field(default="http://127.0.0.1:8080", description="Where people and senders reach it.")
    max_body: Size = Field(default=8 * 1024 * 1024, description="Largest webhook body, as a size such as 8MiB.")
    trusted_proxies: Whole = Field(
        default=0, ge=0, le=10, description="Proxies in front whose X-Forwarded-* headers are believed."
    )


class RetentionModel(Model):
    """`retention:`"""

    bodies: Duration = Field(default=timedelta(days=7), description="How long raw bodies are kept.")
    history: Duration = Field(
        default=timedelta(days=90),
        description="How long events and replaced rule books (7d at least), closed incidents and looks at open ones "
        "are kept, incidents from their end; with a dead letter until a person has seen to it.",
    )
    bodies_max: Size = Field(
        default=1024 * 1024 * 1024,
        description="Largest total of each source's raw bodies, as they are packed; the oldest go first.",
    )


class AlarmsModel(Model):
    """`alarms:`"""

    url: str | None = Field(
        default=None, description="Gets one JSON message per cause and 15 min; empty: the log alone."
    )
    account: str | None = Field(default=None, description="Instead of a URL: an account that gets an incident.")


class UiAuthModel(Model):
    """`ui.auth:`"""

    username: str = Field(default="admin", description="Name to log in with.")
    password_hash: Any = Field(default=None, description="From 'incident-bridge passwd'; empty: loopback only.")


RoleWord = Literal["view", "operate", "admin"]  # domain.access.Role


class UserModel(Model):
    """One entry of `ui.users:`"""

    password_hash: Any = Field(default=None, description="From 'incident-bridge passwd'; empty: this login is off.")
    role: RoleWord = Field(default="view", description="view: read; operate: act, too; admin: reload, too.")


class ProxyModel(Model):
    """`ui.proxy:`"""

    header: str | None = Field(
        default=None, description="Header in which a trusted proxy names the user, as X-Forwarded-User; empty: none."
    )
    role: RoleWord | None = Field(default=None, description="What everybody may do whom the proxy names.")
    roles_header: str | None = Field(default=None, description="Instead of role: header with the user's roles.")
    hops: Whole | None = Field(
        default=None, ge=1, le=10, description="Proxies the request came through; default server.trusted_proxies."
    )
    peers: list[str] = Field(
        default=["127.0.0.0/8", "::1"], description="Networks the last proxy connects from; all others are refused."
    )


class SessionModel(Model):
    """`ui.session:`"""

    idle: Duration = Field(default=timedelta(hours=2), description="A session that is not used ends after this.")
    absolute: Duration = Field(default=timedelta(hours=12), description="Every session ends after this.")


class UiModel(Model):
    """`ui:`"""

    auth: UiAuthModel = Field(default=UiAuthModel(), description="Login of UI and API, as admin.")
    users: dict[str, UserModel] = Field(
        default={}, description="Further logins, by name: {password_hash, role}; role is view, operate or admin."
    )
    tokens: dict[str, Any] = Field(
        default={},
        description="Bearer tokens for the API, by name: {secret, role}; a secret alone is an admin's; empty: off.",
    )
    proxy: ProxyModel = Field(default=ProxyModel(), description="A proxy in front that logs people in.")
    session: SessionModel = Field(default=SessionModel(), description="How long a login holds.")


class SourceModel(Model):
    """One entry of `sources:`"""

    type: str = Field(description="The vendor, or generic.")
    auth: Any = Field(default=None, description="How the sender proves who it is.")


def source_model(declared: Mapping[str, Setting]) -> type[SourceModel]:
    """One entry of `sources:` of a type that has settings of its own."""
    fields: dict[str, Any] = {
        key: (Any, Field(default=None, description=setting.about)) for key, setting in declared.items()
    }
    return create_model("SourceModel", __base__=SourceModel, **fields) if fields else SourceModel


class AccountModel(Model):
    """One entry of `accounts:`"""

    type: str = Field(description="pagerduty or incident_io.")
    token: Any = Field(default=None, description="PagerDuty's REST API key; 'sandbox' for the built-in stand-in.")
    api_key: Any = Field(default=None, description="incident.io's API key; 'sandbox' for the built-in stand-in.")
    from_: str | None = Field(
        default=None, alias="from", description="PagerDuty: login e-mail of a bot user nobody assigns incidents to."
    )
    region: Literal["us", "eu"] | None = Field(default=None, description="PagerDuty: us (default) or eu.")
    token_type: Literal["api_key", "oauth"] | None = Field(
        default=None, description="PagerDuty: api_key (default), or oauth when the token is an OAuth access token."
    )
    base_url: str | None = Field(default=None, description="Another address of the API: https, or http on loopback.")
    api: Literal["v1", "v2"] | None = Field(default=None, description="incident.io: v2 (default) or v1.")
    rate: Pace = Field(default=units.rate("12/min"), description="Creates this account allows, as 12/min.")
    burst: Whole = Field(default=4, ge=1, le=10_000, description="Creates that may follow at once after quiet.")
    update_rate: Pace = Field(default=units.rate("600/min"), description="Everything that is not a create.")
    reserve: Whole | None = Field(
        default=None, ge=0, description="Of the burst, kept for criticals; default a quarter."
    )
    max_wait: Duration = Field(
        default=timedelta(minutes=2),
        description="Creates that would wait longer fold into few incidents; five times this raises an alarm.",
    )
    promote_after: Duration = Field(default=timedelta(seconds=60), description="Head start per step of severity.")
    give_up_after: Duration = Field(default=timedelta(hours=24), description="After this a delivery is a dead letter.")
    confirm_open: Duration = Field(default=timedelta(hours=1), description="An older belief 'open' is checked.")
    respect_human_close: Duration = Field(
        default=timedelta(hours=1), description="How long a person's closing keeps a firing problem quiet."
    )
    plan_b: str | None = Field(default=None, description="Account that gets criticals this one cannot take.")
    plan_b_after: Duration = Field(default=timedelta(minutes=5), description="How long a critical waits before plan B.")
    defaults: dict[str, str] = Field(default={}, description="Fields for when a rule's own cannot be used.")


class FileModel(Model):
    """bridge.yaml"""

    server: ServerModel = Field(default=ServerModel(), description="Where it listens.")
    ledger: str = Field(default="sqlite:///var/bridge.db", description="sqlite:///path or postgresql+psycopg://…")
    redis: str = Field(default="embedded", description="embedded, or redis://host:port/n")
    rules: str = Field(default="rules/", description="Folder of rule files.")
    templates: str = Field(default="templates/", description="Folder of templates.")
    rules_accounts: dict[str, list[str]] = Field(
        default={},
        description="The only accounts that rules in a folder of `rules` may use, such as {team-db/: [pagerduty-db]}.",
    )
    retention: RetentionModel = Field(default=RetentionModel(), description="How long things are kept.")
    alarms: AlarmsModel = Field(default=AlarmsModel(), description="Who hears when the bridge itself is in trouble.")
    ui: UiModel = Field(default=UiModel(), description="Who may use UI and API.")
    sources: dict[str, Any] = Field(description="Senders, by the name in their webhook address.")
    accounts: dict[str, Any] = Field(description="Destinations, by name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Where the web process listens."""

    host: str
    port: int
    public_url: str
    max_body_bytes: int
    trusted_proxies: int

    @property
    def bind(self) -> str:
        """What gunicorn binds to."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def reachable(self) -> str:
        """host:port as this machine reaches it."""
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - compared, not bound
        host = everywhere.get(self.host, f"[{self.host}]" if ":" in self.host else self.host)
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """How long things are kept."""

    bodies: timedelta
    history: timedelta
    bodies_max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSettings:
    """Somebody who may log in."""

    password_hash: str = field(repr=False)
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSettings:
    """A bearer token."""

    secret: str = field(repr=False)
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """A proxy that logs people in: `role` for all of them, or `roles_header` says it of each."""

    header: str
    role: Role | None
    roles_header: str | None
    hops: int
    peers: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UiSettings:
    """Who may use UI and API; without users and proxy: this machine only."""

    username: str  # of ui.auth, which is one of the users
    password_hash: str | None = field(repr=False)
    users: Mapping[str, UserSettings]
    tokens: Mapping[str, TokenSettings]
    proxy: ProxySettings | None
    session_idle: timedelta
    session_absolute: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """One configured sender."""

    name: str
    type: str
    auth: Auth
    settings: Mapping[str, Any] = field(default_factory=dict)  # what its type has beyond these


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSettings:
    """One configured destination. `token` is the credential of either vendor."""

    name: str
    type: str
    token: str = field(repr=False)
    sandbox: bool
    from_: str | None
    region: str
    oauth: bool  # the token is an OAuth access token
    base_url: str | None
    api: str
    rate: Rate
    burst: int
    update_rate: Rate
    reserve: int | None
    max_wait: timedelta
    promote_after: timedelta
    give_up_after: timedelta
    confirm_open: timedelta
    respect_human_close: timedelta
    plan_b: str | None
    plan_b_after: timedelta
    defaults: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A configuration that holds together; paths are absolute."""

    config_path: Path
    config_dir: Path
    var_dir: Path
    server: ServerSettings
    ledger: str = field(repr=False)  # an SQLAlchemy URL; may hold a password
    redis: str = field(repr=False)  # "embedded" or a URL
    rules_dir: Path
    templates_dir: Path
    retention: RetentionSettings
    alarms: AlarmsModel = field(repr=False)
    ui: UiSettings
    sources: Mapping[str, SourceSettings]
    accounts: Mapping[str, AccountSettings]
    warnings: tuple[Problem, ...]
    rules_accounts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by folder, with a slash at its end
