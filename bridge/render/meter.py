"""What a render may cost: every pass of a loop, filter and operator that could grow a value pays in steps.

In: a value that is about to be walked through. Out: nothing, or RenderError. No clock is read.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from jinja2.utils import Namespace

from bridge.domain.alert import Alert

STEPS_MAX = 50_000  # of one render; about 0.1 s of the slowest steps
WEBHOOK_STEPS_MAX = 3_000_000  # of all renders for one webhook; 5,000 ordinary alerts take 0.4 to 1.5 million
STEPS_OF_EACH = 100  # that a render has however much the others took: enough for a title, a service, a plain body
CHARS_PER_STEP = 64  # of text that is only copied or searched


class RenderError(Exception):
    """A template gave nothing for this alert; the message is a clause that holds no payload text."""


class WebhookSpentError(RenderError):
    """It would take steps that other renders for the same webhook have taken."""


class Meter:
    """Steps left of one render, or of several that belong together."""

    __slots__ = ("left",)

    def __init__(self, steps: int = STEPS_MAX) -> None:
        self.left = steps


METER: ContextVar[Meter] = ContextVar("meter")


def spend(steps: int) -> None:
    """Pay before something is done. Raises RenderError when nothing is left."""
    meter = METER.get()
    meter.left -= steps if steps > 0 else 1
    if meter.left < 0:
        raise RenderError("it does too much for one alert")


def weigh(value: Any) -> int:
    """Pay for a walk over the whole value, and answer what it cost."""
    if isinstance(value, str):
        steps = 1 + len(value) // CHARS_PER_STEP
        spend(steps)
        return steps
    steps = 0
    limit = METER.get().left
    stack = [value]
    while stack and steps <= limit:
        item = stack.pop()
        steps += 1
        if isinstance(item, str):
            steps += len(item) // CHARS_PER_STEP
        elif isinstance(item, Mapping):
            steps += len(item)
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
        elif isinstance(item, range):
            steps += len(item)
        elif isinstance(item, Alert):  # written whole where it is formatted
            stack.extend((item.payload, item.labels, item.description, item.links))
        elif isinstance(item, Namespace):
            stack.extend(vars(item).values())
    spend(steps)
    return steps


class OneWebhook:
    """Within it all renders share WEBHOOK_STEPS_MAX steps; when they are taken, each still has STEPS_OF_EACH.

    The `when` of rules have an account of their own: no content keeps a rule from matching.
    """

    __slots__ = ("_token", "content", "questions")

    def __enter__(self) -> None:
        self.content, self.questions = Meter(WEBHOOK_STEPS_MAX), Meter(WEBHOOK_STEPS_MAX)
        self._token = WEBHOOK.set(self)

    def __exit__(self, *_raised: object) -> None:
        WEBHOOK.reset(self._token)


WEBHOOK: ContextVar[OneWebhook | None] = ContextVar("webhook", default=None)
