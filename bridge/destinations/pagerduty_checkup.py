"""Whether a PagerDuty account can be told incidents: its key, its region and its `from` (UPSTREAM A1, A8)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from urllib.parse import urlencode

from bridge.destinations import wire
from bridge.destinations.checkup import noticed, reached
from bridge.destinations.pagerduty import BASE_URLS, PagerDuty
from bridge.domain.checkup import Finding, Health, odd, well, wrong
from bridge.domain.delivery import HttpRequest, HttpResponse, NoAnswer

Ask = Callable[[HttpRequest], HttpResponse | NoAnswer]


def checkup(account: PagerDuty, ask: Ask, now: Callable[[], datetime]) -> tuple[Finding, ...]:
    """Ask what any key may ask, and look for the user of `from`. Nothing is written upstream."""
    part = f"account {account.account}"
    abilities = ask(_asking(account, "abilities"))
    taken = _taken(part, abilities)
    found = taken + noticed(part, abilities, now())
    if isinstance(abilities, HttpResponse) and abilities.status == 401:
        return found + _of_another_region(account, ask, part)
    if any(finding.health is not Health.OK for finding in taken):
        return found
    return found + _from(account, ask, part)


def _from(account: PagerDuty, ask: Ask, part: str) -> tuple[Finding, ...]:
    answer = ask(_asking(account, "users", query=account.from_, limit="100"))
    users = wire.within(wire.json_in(answer.body), "users") if isinstance(answer, HttpResponse) else None
    if not isinstance(users, list):
        return (odd(part, f"whether '{account.from_}' is a user could not be asked", "the key may lack 'users.read'"),)
    emails = {str(wire.within(user, "email")).casefold() for user in users}
    if account.from_.casefold() in emails:
        return (well(part, f"'{account.from_}' is a user: incidents are created in its name"),)
    sentence = f"no user has the address '{account.from_}': every create would be refused"
    return (wrong(part, sentence, "give the login address of a user as 'from', best a user of the bridge's own"),)


def _taken(part: str, abilities: HttpResponse | NoAnswer) -> tuple[Finding, ...]:
    return reached(part, abilities, key="token", may="full access, not read-only", holds="abilities")


def _of_another_region(account: PagerDuty, ask: Ask, part: str) -> tuple[Finding, ...]:
    """A key of the other region looks like a wrong one (UPSTREAM A1)."""
    for region, base_url in BASE_URLS.items():
        if account.base_url in BASE_URLS.values() and base_url != account.base_url:
            answer = ask(_asking(replace(account, base_url=base_url), "abilities"))
            if any(finding.health is Health.OK for finding in _taken(part, answer)):
                return (wrong(part, f"the key belongs to the region '{region}'", f"write 'region: {region}'"),)
    return ()


def _asking(account: PagerDuty, path: str, **query: str) -> HttpRequest:
    asked = f"?{urlencode(query)}" if query else ""
    headers = account.names_request("service").headers
    return HttpRequest(method="GET", url=f"{account.base_url}/{path}{asked}", headers=headers)
