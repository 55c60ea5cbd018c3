"""What needs a person, worst first, as sentences with the way to mend each. Pure: from plain values of the ledger."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from bridge.domain.delivery import Reason
from bridge.entrypoints.web.ui.words import LONG_WAIT_S, plural, span

UNREACHED_WAIT_S = 120.0  # a shorter trouble of an upstream mends itself as a rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One thing that needs a person: what is wrong, what is known of it, how it is mended, and where."""

    what: str
    more: str
    mend: str
    links: tuple[tuple[str, str], ...] = ()  # (address, words)
    act: tuple[str, str] | None = None  # (address of a POST, words)


def needs_of(
    lanes: Iterable[Mapping[str, Any]],
    causes: Iterable[Mapping[str, Any]],
    templates: Iterable[Mapping[str, Any]],
    places: Mapping[str, str],
    missing: Iterable[str],
    unconfigured: Iterable[Mapping[str, Any]] = (),
) -> tuple[Need, ...]:
    """Everything that needs a person. `places` has the file:line of each rule that is in force.

    `unconfigured`: the accounts that something is bound to, and that bridge.yaml does not name.
    """
    found = [
        Need(
            what=sentence[:1].upper() + sentence[1:],
            more="",
            mend="Start it, or look into its log; 'incident-bridge doctor' says more.",
            links=(("/readyz", "See what is missing"),),
        )
        for sentence in missing
    ]
    for lane in lanes:
        need = _of_lane(lane)
        if need is not None:
            found.append(need)
    found += [_of_unconfigured(one) for one in unconfigured]
    found += [_of_cause(cause, places) for cause in causes]
    found += [_of_template(one, places) for one in templates]
    return tuple(found)


def waits_for_others(lane: Mapping[str, Any]) -> bool:
    """Whether a lane goes on when somebody has acted or its upstream is back: nobody can tell when all is told."""
    return lane["held_by"] in ("auth", "forbidden", "paused", "failing")


def _of_lane(lane: Mapping[str, Any]) -> Need | None:
    account, oldest_s = lane["account"], lane["oldest_wait_s"] or 0.0
    waits = plural(lane["waiting"], "delivery waits", "deliveries wait")
    probe = (f"/lanes/{account}/probe", "Probe now")
    last = lane.get("last_said") and f"at last: {lane['last_said']}"
    match lane["held_by"]:
        case "auth":
            return Need(
                what=f"{account} refuses our key (401)",
                more=f"{waits}, nothing is lost",
                mend=f"Make the key of accounts.{account} in bridge.yaml valid again (its token, its region), start "
                "the bridge anew if its variable changed, then probe. It is tried by itself every minute.",
                act=probe,
            )
        case "forbidden":
            return Need(
                what=f"{account} forbids this to our key (403)",
                more=f"{waits}, nothing is lost",
                mend="Let the key create and change incidents, then probe. It is tried by itself every minute.",
                act=probe,
            )
        case "paused":
            return Need(
                what=f"{account} is held back by {lane.get('paused_by') or 'an operator'}",
                more=waits if lane["waiting"] else "nothing waits yet",
                mend="Nothing is sent until somebody resumes it.",
                act=(f"/lanes/{account}/resume", "Resume"),
            )
        case "failing" if oldest_s > UNREACHED_WAIT_S:
            return Need(
                what=f"{account} brings no usable answer",
                more="; ".join(filter(None, (lane["parked"], last, f"{waits}, the oldest for {span(oldest_s)}"))),
                mend="Look whether the upstream is up, whether the account's base_url or region is right, and whether "
                "a proxy answers in its place.",
                act=probe,
            )
    if oldest_s > LONG_WAIT_S:
        return Need(
            what=f"{account} is far behind",
            more=f"{waits}, the oldest for {span(oldest_s)}",
            mend="Ask for a higher rate of the account, or resolve what nobody has to be paged for.",
            links=((f"/incidents?state=pending&account={account}", "See what waits"),),
        )
    return None


def of_turned_away(numbers: Mapping[str, int]) -> tuple[Need, ...]:
    """Sources that took nothing lately, because no webhook showed the right secret: source -> how many."""
    return tuple(
        Need(
            what=f"{source} refuses every webhook (401)",
            more=f"{plural(number, 'webhook')} in this hour and the last, and none was taken; none is kept",
            mend=f"Compare the secret of sources.{source} in bridge.yaml with the sender's: one of them was changed, "
            "or a stranger knocks. The log's webhook_rejected names the check that failed.",
            links=((f"/events?{urlencode({'source': source})}", "See what came before"),),
        )
        for source, number in numbers.items()
    )


def _of_unconfigured(one: Mapping[str, Any]) -> Need:
    account = one["account"]
    is_open = f"{plural(one['open'], 'incident is', 'incidents are')} open there" if one["open"] else ""
    waits = plural(one["waiting"], "delivery waits", "deliveries wait") if one["waiting"] else ""
    return Need(
        what=f"{account} is not configured",
        more=f"{' and '.join(filter(None, (is_open, waits)))}: nobody sends anything there",
        mend="Write the account into bridge.yaml again, beside its new name if it has one, until they are over; or "
        "resolve what was never sent, and detach the rest, on their pages.",
        links=((f"/incidents?{urlencode({'account': account})}", "See its incidents"),),
    )


def _of_cause(cause: Mapping[str, Any], places: Mapping[str, str]) -> Need:
    query = urlencode({key: cause[key] or "" for key in ("account", "rule", "reason")})
    place = places.get(cause["rule"])
    rule = f"rule {cause['rule']}" + (f" ({place})" if place else ", which is not in force any more")
    mend = "Mend the rule, or the letter itself, and replay; nothing empties by itself."
    if cause["reason"] == Reason.REFUSED:  # such as an unknown `from`, or a proxy's redirect: no rule can mend that
        mend = "Mend what these words name: the account in bridge.yaml (its from, its base_url; then start the bridge "
        mend += "anew), else the rule or the letter itself; and replay. Nothing empties by itself."
    return Need(
        what=f"{plural(cause['number'], 'dead letter')} of {cause['account']}: {cause['detail'] or cause['reason']}",
        more=rule,
        mend=mend,
        links=((f"/dead?{query}", "See the letters" if cause["number"] > 1 else "See the letter"),),
    )


def _of_template(one: Mapping[str, Any], places: Mapping[str, str]) -> Need:
    place = places.get(one["rule"])
    return Need(
        what=f"A template of rule {one['rule']} fails",
        more=f"{one['note']}; {plural(one['number'], 'page')} got the alert's own words instead, within a day",
        mend=f"Mend it{f' in {place}' if place else ''}; the playground shows what it gives before you save it.",
        links=(
            (f"/incidents/{one['incident']}", "See such a page"),
            ("/playground?" + urlencode({"rule": one["rule"], "event": one["event"]}), "Try the rule"),
        ),
    )


def title_of(needs: Sequence[Need]) -> str:
    """The title of the first page: whether anybody is needed."""
    if not needs:
        return "Nothing needs you"
    return "One thing needs you" if len(needs) == 1 else f"{len(needs)} things need you"
