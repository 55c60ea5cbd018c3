"""`accounts:` of bridge.yaml: each with its key, its address, its pace and its defaults, and who is whose plan B."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from bridge.config.addresses import is_loopback, is_web_address, url_of
from bridge.config.file_loading import FileLoading, Types
from bridge.config.models import AccountModel, AccountSettings
from bridge.config.variables import SANDBOX
from bridge.config.yaml_reader import Path as YamlPath
from bridge.destinations.base import MAPPINGS
from bridge.render import nearest

_SENDABLE = re.compile("[!-~]+")  # in an HTTP header, and free of blanks as keys and e-mail addresses are


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Reads accounts; what is wrong with them goes to the problems of the loading."""

    loading: FileLoading
    types: Types

    def read(self, name: str, value: Any, path: YamlPath) -> AccountSettings | None:
        """The account that stands there, as far as it holds together; None when it cannot be read at all."""
        one = self.loading.model(AccountModel, value, path, "account")
        if one is None or not self.loading.known_type(one.type, self.types, path, "account"):
            return None
        pagerduty = one.type == "pagerduty"
        key = "token" if pagerduty else "api_key"
        self._wrong_vendor(one, path, pagerduty)
        token = self._token(name, one.token if pagerduty else one.api_key, path, key)
        if pagerduty:
            self._from(name, one, value, path)
        self._base_url(one, path)
        if token == SANDBOX and one.base_url is not None:
            message = f"'base_url' has no effect with {key} '{SANDBOX}', which means the built-in stand-in"
            self.loading.warn((*path, "base_url"), message, f"give any other {key}, or leave base_url out")
        self._defaults(one, path)
        self._waits(one, value, path)
        return AccountSettings(
            name=name,
            type=one.type,
            token=token,
            sandbox=token == SANDBOX,
            from_=one.from_,
            region=one.region or "us",
            oauth=one.token_type == "oauth",  # noqa: S105 - a kind of token, not one
            base_url=None if one.base_url is None else one.base_url.rstrip("/"),
            api=one.api or "v2",
            rate=one.rate,
            burst=one.burst,
            update_rate=one.update_rate,
            reserve=one.reserve,
            max_wait=one.max_wait,
            promote_after=one.promote_after,
            give_up_after=one.give_up_after,
            confirm_open=one.confirm_open,
            respect_human_close=one.respect_human_close,
            plan_b=one.plan_b,
            plan_b_after=one.plan_b_after,
            defaults=MappingProxyType(one.defaults),
        )

    def _token(self, name: str, secret: Any, path: YamlPath, key: str) -> str:
        at = (*path, key)
        token = self.loading.secrets.one(secret, at)
        if self.loading.secrets.is_faulty(at):
            return token
        if not token:
            self.loading.error(at, f"account '{name}' has no {key}", f"add '{key}: ${{VARIABLE}}', or 'sandbox'")
        elif _SENDABLE.fullmatch(token) is None:
            self.loading.error(
                at, f"the {key} holds what no HTTP header can carry", "set its variable to the key alone"
            )
        return token

    def _from(self, name: str, one: AccountModel, value: Mapping[str, Any], path: YamlPath) -> None:
        at = (*path, "from")
        if not one.from_ and not value.get("from") and at not in self.loading.expanded.broken:
            hint = "add 'from: ' with the login e-mail of a bot user that nobody assigns incidents to"
            self.loading.error(path, f"account '{name}' has no 'from'", hint)
        # the account's every call would fail; but for blanks at the end, which HTTP leaves out
        if one.from_ and _SENDABLE.fullmatch(one.from_.rstrip(" ")) is None:
            message = "the 'from' is no e-mail address that an HTTP header can carry"
            self.loading.error(at, message, "write the bot user's login e-mail alone, without a line break")

    def _waits(self, one: AccountModel, value: Mapping[str, Any], path: YamlPath) -> None:
        is_burst_known = "burst" in one.model_fields_set or "burst" not in value  # else it could not be read
        if one.reserve is not None and one.reserve >= one.burst and is_burst_known:
            message = f"a reserve of {one.reserve} leaves nothing of a burst of {one.burst}"
            self.loading.error((*path, "reserve"), message, "make it smaller")
        if "plan_b_after" in one.model_fields_set and one.plan_b is None and not value.get("plan_b"):
            message = "'plan_b_after' has no effect without 'plan_b'"
            self.loading.warn((*path, "plan_b_after"), message, "name an account, too")
        if not one.give_up_after:
            message = "'give_up_after' of nothing would give up every page at once"
            self.loading.error((*path, "give_up_after"), message, "leave it out for 24h")

    def _wrong_vendor(self, one: AccountModel, path: YamlPath, pagerduty: bool) -> None:
        foreign = ("api_key", "api") if pagerduty else ("token", "from_", "region", "token_type")
        for key in foreign:
            if getattr(one, key) is not None:
                word = key.rstrip("_")
                hint = "delete it; the key is called 'token' here" if key == "api_key" else "delete it"
                hint = "delete it; the key is called 'api_key' here" if key == "token" else hint
                self.loading.key_error((*path, word), f"an account of type {one.type} has no '{word}'", hint)

    def _base_url(self, one: AccountModel, path: YamlPath) -> None:
        if one.base_url is None:
            return
        url = url_of(one.base_url)
        if url is not None and (url.username or url.password):
            self.loading.error((*path, "base_url"), "the address holds a user or a password", "leave them out")
            return
        is_safe = url is not None and (url.scheme == "https" or is_loopback(url.hostname or ""))
        if not is_web_address(url) or not is_safe:
            hint = "write it with https; http is for loopback addresses only"
            shown = self.loading.shown((*path, "base_url"), one.base_url)
            self.loading.error((*path, "base_url"), f"{shown} is not an https address", hint)
        if one.region is not None:
            self.loading.error((*path, "base_url"), "'region' and 'base_url' exclude each other", "delete one of them")

    def _defaults(self, one: AccountModel, path: YamlPath) -> None:
        fields = self.types[one.type].fields
        for key, text in one.defaults.items():
            at = (*path, "defaults", key)
            if key not in fields:
                self.loading.key_error(at, f"{one.type} has no field '{key}'", nearest(key, sorted(fields), "fields"))
            elif fields[key].kind in MAPPINGS:
                plain = [name for name, about in fields.items() if about.kind not in MAPPINGS]
                self.loading.key_error(at, f"'{key}' cannot have a default", f"fields: {', '.join(sorted(plain))}")
            elif fields[key].choices and text not in fields[key].choices and at not in self.loading.expanded.broken:
                self.loading.error(
                    at,
                    f"'{key}' cannot be {self.loading.shown(at, text)}",
                    nearest(text, fields[key].choices, "choices"),
                )

    def check_plan_b(self, accounts: Mapping[str, AccountSettings], known: set[str]) -> None:
        """Each plan B is another account that is there and could step in, and nobody's plan B goes round to itself."""
        for name, account in accounts.items():
            if account.plan_b is None:
                continue
            at = ("accounts", name, "plan_b")
            if account.plan_b == name:
                self.loading.error(at, f"account '{name}' cannot be its own plan B", "name another account")
            elif account.plan_b not in known:
                hint = nearest(account.plan_b, sorted(known), "accounts")
                self.loading.error(at, f"account {self.loading.shown(at, account.plan_b)} does not exist", hint)
            elif (ring := _ring_of(name, accounts)) is not None:
                if name == min(ring):
                    path = " -> ".join((*ring[ring.index(name) :], *ring[: ring.index(name)], name))
                    self.loading.error(
                        at, f"plan B goes round in a circle: {path}", "leave 'plan_b' out of one of them"
                    )
            elif account.plan_b in accounts:
                self._check_can_step_in(at, name, accounts[account.plan_b], accounts)

    def _check_can_step_in(
        self, at: YamlPath, name: str, other: AccountSettings, accounts: Mapping[str, AccountSettings]
    ) -> None:
        """A create at plan B has a title, a text, and what the account has by default; it waits in another lane."""
        lanes = lanes_of(accounts)
        if name in lanes and lanes[name] == lanes[other.name]:
            sentence = f"account '{other.name}' has the same key as '{name}', so it stands still when that one does"
            self.loading.error(at, sentence, "name an account with a key of its own")
        made = self.types[other.type]
        fields = {name for name, about in made.fields.items() if about.required} - {made.title_field, made.body_field}
        for needed in sorted(fields - other.defaults.keys()):
            sentence = (
                f"account '{other.name}' cannot be plan B: a create there needs a {needed}, and it has no default"
            )
            self.loading.error(at, sentence, f"add 'defaults: {{{needed}: ...}}' to account '{other.name}'")


def lanes_of(accounts: Mapping[str, AccountSettings]) -> dict[str, str]:
    """Account name to lane name: accounts of one type with the same token share the lane of the alphabetically first.

    Sandbox accounts have a lane each: their token says nothing.
    """
    first: dict[tuple[str, str], str] = {}
    lanes: dict[str, str] = {}
    for name in sorted(accounts):
        account = accounts[name]
        lanes[name] = name if account.sandbox else first.setdefault((account.type, account.token), name)
    return lanes


def _ring_of(name: str, accounts: Mapping[str, AccountSettings]) -> list[str] | None:
    """The accounts that are plan B of one another, from this one round to itself; None when it is in no such ring."""
    seen = [name]
    while (following := accounts[seen[-1]].plan_b) is not None and following in accounts:
        if following == name:
            return seen
        if following in seen:
            return None
        seen.append(following)
    return None
