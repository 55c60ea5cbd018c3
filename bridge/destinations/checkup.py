"""What every upstream's answer to a harmless question shows: whether the key is good, whose clock is wrong, the limits.

In: the answer, and when it came. Out: Findings. What only one vendor has lies in its own <vendor>_checkup.py.
"""

from datetime import datetime, timedelta

from bridge.destinations import wire
from bridge.domain.checkup import Finding, odd, well, wrong
from bridge.domain.delivery import HttpResponse, NoAnswer

SKEW_MAX = timedelta(seconds=30)  # a Date header has whole seconds, and an answer takes its time
_LIMITS = ("ratelimit-limit", "x-ratelimit-limit")
_LEFT = ("ratelimit-remaining", "x-ratelimit-remaining")


def reached(part: str, answer: HttpResponse | NoAnswer, *, key: str, may: str, holds: str) -> tuple[Finding, ...]:
    """Whether the key was taken; `key` is what it is called in bridge.yaml, `may` what it has to be allowed.

    `holds`: a name that the API's own answer has. A proxy's page, to log in for one, comes with a 200 as well.
    """
    match answer:
        case NoAnswer(detail=detail):
            advice = "is the address right, and does this machine reach it (firewall, DNS, TLS)?"
            return (wrong(part, f"no answer: {detail}", advice),)
        case HttpResponse(status=401):
            advice = f"make a new one and give it as '{key}'; a key of another region is refused, too"
            return (wrong(part, "the key is refused (401)", advice),)
        case HttpResponse(status=403):
            return (wrong(part, "the key may not ask this (403)", f"give it {may}"),)
        case HttpResponse(status=429):
            return (odd(part, "too many calls on this key just now (429)", "who else uses it? Ask again in a minute"),)
        case HttpResponse(status=status) if status >= 500:
            return (wrong(part, f"the upstream is not well (HTTP {status})", "see its status page; deliveries wait"),)
        case HttpResponse(status=200, body=body) if wire.within(wire.json_in(body), holds) is not None:
            return (well(part, "the key is taken"),)
    sentence = f"an odd answer (HTTP {answer.status}" + (f" without '{holds}')" if answer.status == 200 else ")")
    advice = "is 'base_url' the address of this API, and does no proxy answer in its place?"
    return (wrong(part, sentence, advice),)


def noticed(part: str, answer: HttpResponse | NoAnswer, now: datetime) -> tuple[Finding, ...]:
    """What the headers say: the difference of the clocks, and the limit of the key."""
    if not isinstance(answer, HttpResponse):
        return ()
    found: list[Finding] = []
    skew = _skew(answer, now)
    if skew is not None and abs(skew) > SKEW_MAX:
        ahead = "ahead of" if skew > timedelta(0) else "behind"
        sentence = f"this machine's clock is {abs(skew).total_seconds():.0f} s {ahead} the upstream's"
        found.append(odd(part, sentence, "let NTP set it: signatures and keys of both sides have times in them"))
    limit = next((answer.headers[name] for name in _LIMITS if name in answer.headers), None)
    left = next((answer.headers[name] for name in _LEFT if name in answer.headers), None)
    if limit is not None:
        found.append(well(part, f"its limit is {limit[:80]}, {'?' if left is None else left[:20]} of it left"))
    return tuple(found)


def _skew(answer: HttpResponse, now: datetime) -> timedelta | None:
    theirs = wire.instant_in(answer.headers.get("date"))
    return None if theirs is None else now - theirs
