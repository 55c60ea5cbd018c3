"""Destinations: what the bridge tells upstreams. One file per vendor; DESTINATIONS is the table of all of them."""

from collections.abc import Mapping
from types import MappingProxyType

from bridge.destinations.base import Destination
from bridge.destinations.incident_io import IncidentIo
from bridge.destinations.pagerduty import PagerDuty

DESTINATIONS: Mapping[str, type[Destination]] = MappingProxyType(
    {
        "pagerduty": PagerDuty,
        "incident_io": IncidentIo,
    }
)
