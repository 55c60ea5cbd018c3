"""Senders: one file per vendor, and the table of them all.

In: a Webhook. Out: Readings. A source knows its vendor and nothing else.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from bridge.sources.alertmanager import Alertmanager
from bridge.sources.aws_sns import AwsSns
from bridge.sources.azure_monitor import AzureMonitor
from bridge.sources.cloudevents import CloudEvents
from bridge.sources.datadog import Datadog
from bridge.sources.elastic_kibana import ElasticKibana
from bridge.sources.gcp_monitoring import GcpMonitoring
from bridge.sources.generic import Generic
from bridge.sources.github import GitHub
from bridge.sources.gitlab import GitLab
from bridge.sources.grafana import Grafana
from bridge.sources.honeycomb import Honeycomb
from bridge.sources.incident_io_events import IncidentIoEvents
from bridge.sources.jira import Jira
from bridge.sources.newrelic import NewRelic
from bridge.sources.opsgenie import Opsgenie
from bridge.sources.pagerduty_events import PagerDutyEvents
from bridge.sources.pingdom import Pingdom
from bridge.sources.prtg import Prtg
from bridge.sources.sentry import Sentry
from bridge.sources.splunk import Splunk
from bridge.sources.standard_webhooks import StandardWebhooks
from bridge.sources.statuscake import StatusCake
from bridge.sources.uptime_kuma import UptimeKuma
from bridge.sources.uptimerobot import UptimeRobot
from bridge.sources.zabbix import Zabbix
from bridge.sources.zendesk import Zendesk

SOURCES: Mapping[str, type[Any]] = MappingProxyType(
    {
        "alertmanager": Alertmanager,
        "aws_sns": AwsSns,
        "azure_monitor": AzureMonitor,
        "cloudevents": CloudEvents,
        "datadog": Datadog,
        "elastic_kibana": ElasticKibana,
        "gcp_monitoring": GcpMonitoring,
        "generic": Generic,
        "github": GitHub,
        "gitlab": GitLab,
        "grafana": Grafana,
        "honeycomb": Honeycomb,
        "incident_io_events": IncidentIoEvents,
        "jira": Jira,
        "newrelic": NewRelic,
        "opsgenie": Opsgenie,
        "pagerduty_events": PagerDutyEvents,
        "pingdom": Pingdom,
        "prtg": Prtg,
        "sentry": Sentry,
        "splunk": Splunk,
        "standard_webhooks": StandardWebhooks,
        "statuscake": StatusCake,
        "uptime_kuma": UptimeKuma,
        "uptimerobot": UptimeRobot,
        "zabbix": Zabbix,
        "zendesk": Zendesk,
    }
)
"""Every source type by its name in bridge.yaml. Each class is made as `Type(name=..., auth=...)` and is a Source."""
