"""Bodies made for a chat: attachments and blocks of Slack, embeds of Discord, adaptive cards of Microsoft Teams.

In: a body. Out: the lines a person would read on the card, in their order, the heading first; and where it leads.

Facts: https://api.slack.com/reference/messaging/attachments, https://api.slack.com/reference/block-kit/blocks,
https://discord.com/developers/docs/resources/message#embed-object, https://adaptivecards.io/explorer/ (own knowledge).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from bridge.sources.absent import text_of
from bridge.sources.fields import words

_CARDS = ("attachments", "embeds", "blocks", "sections")  # by these a body is known to be one for a chat
_NAMES = frozenset(_CARDS)
_LISTS = (*_CARDS, "elements", "body", "items", "columns", "fields", "facts")
_TEXTS = ("title", "activityTitle", "pretext", "name", "text", "description")
_SHOWN = words("title pretext text fallback blocks content description fields facts activityTitle type")
_HREFS = ("title_link", "url")
_INSIDE = ("text", "content")  # a text of Slack's that is an object, a card of Teams
_ELEMENTS_MAX = 200  # of one body that are looked at
_LEVELS = 6


def lines_on_cards(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """What stands on the cards of a body, each line once; none where it has no cards."""
    content = text_of(payload.get("content"))  # of Discord's, above the embeds
    found: dict[str, None] = {} if content is None else {content: None}
    for element in _elements(payload):
        given = [text for name in _TEXTS if (text := text_of(element.get(name))) is not None]
        if not given and (fallback := text_of(element.get("fallback"))) is not None:
            given = [fallback]  # beside other texts it says the same again, for who can show no card
        if given and (value := text_of(element.get("value"))) is not None:
            given = [f"{given[0]}: {value}"]  # a fact, or a field
        found.update(dict.fromkeys(given))
    return tuple(found)


def hrefs_on_cards(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """Where the cards of a body lead."""
    given = (text_of(element.get(name)) for element in _elements(payload) for name in _HREFS)
    return tuple(href for href in given if href is not None)


def _elements(payload: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The elements of the cards in reading order, the body itself left out."""
    if _NAMES.isdisjoint(payload):
        return  # most bodies
    cards = [card for card in _listed(payload, _CARDS) if not _is_file(card)]
    waiting = [(card, 1) for card in reversed(cards)]
    for _ in range(_ELEMENTS_MAX):
        if not waiting:
            return
        element, level = waiting.pop()
        yield element
        if level < _LEVELS:
            waiting += [(child, level + 1) for child in reversed(_children(element))]


def _is_file(card: Mapping[str, Any]) -> bool:
    """Whether an attachment is one of a mail or a ticket, which nobody reads as a message."""
    return isinstance(card.get("content"), str) or not _SHOWN & card.keys()


def _children(element: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [element[name] for name in _INSIDE if isinstance(element.get(name), dict)] + _listed(element, _LISTS)


def _listed(element: Mapping[str, Any], names: tuple[str, ...]) -> list[Mapping[str, Any]]:
    lists = (element.get(name) for name in names)
    return [
        child
        for children in lists
        if isinstance(children, list)
        for child in children[:_ELEMENTS_MAX]
        if isinstance(child, dict)
    ]
