"""Prometheus Alertmanager's webhook (version 4, and 3), and what posts the same body: vmalert, Mimir, Thanos, Cortex.

In: one group of alerts, firing and resolved ones mixed. Out: one Reading per alert.

Facts: SOURCES.md sections 1 and 4, which cite
https://prometheus.io/docs/alerting/latest/configuration/#webhook_config and prometheus/alertmanager
notify/webhook/webhook.go, and published bodies. What is decided beside alert_groups.py:

- Alertmanager signs nothing: bearer, basic, or a header (`http_config`) prove it.
- It has no id of a delivery, and the members of an HA pair may each send the same body: the second joins.
- A body that a `payload` template made is read as the generic source would.
"""

from dataclasses import dataclass
from typing import ClassVar

from bridge.domain.alert import Reading, Webhook
from bridge.sources.alert_groups import Dialect, group_readings
from bridge.sources.signatures import SharedSecret

_DIALECT = Dialect(linked=(("generatorURL", "Prometheus"), ("externalURL", "Alertmanager")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Alertmanager(SharedSecret):
    """An Alertmanager that posts here, known by a shared secret."""

    type: ClassVar[str] = "alertmanager"

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """Every alert of a group, in its order. Raises DecodeError."""
        return group_readings(self.name, self.type, webhook, _DIALECT)
