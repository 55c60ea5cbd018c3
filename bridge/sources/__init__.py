"""Senders: one file per vendor, and the table of them all.

In: a Webhook. Out: Readings. A source knows its vendor and nothing else.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from bridge.sources.datadog import Datadog
from bridge.sources.generic import Generic
from bridge.sources.zendesk import Zendesk

SOURCES: Mapping[str, type[Any]] = MappingProxyType(
    {
        "datadog": Datadog,
        "generic": Generic,
        "zendesk": Zendesk,
    }
)
"""Every source type by its name in bridge.yaml. Each class is made as `Type(name=..., auth=...)` and is a Source."""
