"""Senders that the generic source reads, whose names for things are their own: told by names that only they have.

In: the fields of a body. Out: the same fields, with those of a known sender under the generic source's names too. What
a body calls by such a name itself stays as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.sources.absent import key_of, text_of
from bridge.sources.fields import Fields, spelled, words
from bridge.sources.texts import digest_of, line


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """A sender, by the names its bodies have, and what his other names stand for."""

    told_by: tuple[str, ...]
    names: Mapping[str, str]  # his to ours
    meanings: Mapping[str, str] = field(default_factory=dict)  # his words for a status to ours; spelled
    quiet: tuple[str, frozenset[str]] = ("", frozenset())  # his name, and its words that say neither well nor ill
    joined: tuple[str, ...] = ()  # his names for what together is the problem, where `id` is of the report or the run


# After these statuses Splunk Observability Cloud says nothing more of an incident
# (https://dev.splunk.com/observability/docs/integrations/webhook_integration_overview/ and the statuses in
# https://pkg.go.dev/github.com/steadybit/extension-splunk/extdetectors; read 2026-11).
DETECTOR_ENDS = words("ok manuallyresolved autoresolved stopped")

DIALECTS = (
    # Splunk On-Call, formerly VictorOps, and who posts as to its REST endpoint: INFO, WARNING, CRITICAL,
    # ACKNOWLEDGEMENT, RECOVERY (https://docs.saltproject.io/en/3006/ref/states/all/salt.states.victorops.html and
    # https://help.splunk.com, "REST Endpoint integration for Splunk On-Call"; read 2026-11).
    Dialect(
        told_by=("messagetype", "entityid"),
        names={
            "entityid": "uniqueid",
            "entitydisplayname": "title",
            "messagetype": "status severity",
            "statemessage": "message",
            "statestarttime": "startsat",
        },
        meanings={"acknowledgement": "acknowledged", "info": "firing"},
    ),
    # Nagios, Icinga and Checkmk, in the names of their macros: the problem is a service of a host, or the host itself,
    # whatever happens to it (https://assets.nagios.com/downloads/nagioscore/docs/nagioscore/4/en/macrolist.html,
    # https://icinga.com/docs/icinga-2/latest/doc/03-monitoring-basics/, "Notifications"; own knowledge). Between
    # FLAPPINGSTART, which may catch it in a good moment, and the stop or end they say no more of it: until then it
    # fires (Icinga 2.13, run 2026-11).
    *(
        Dialect(
            told_by=("notificationtype", state, host),
            names={state: "severity", output: "message", "notificationtype": "status"},
            meanings={"acknowledgement": "acknowledged", "problem": "firing", "flappingstart": "firing"},
            quiet=("notificationtype", words("downtimestart downtimeend downtimecancelled")),
            joined=(host, *service),
        )
        for host, state, output, service in (
            ("hostname", "servicestate", "serviceoutput", ("servicedesc", "servicename")),
            ("hostname", "hoststate", "hostoutput", ()),
        )
    ),
    # Opsgenie's API for a new alert, and who posts as to it: `message` is its title, `alias` the key that joins alerts
    # (https://docs.opsgenie.com/docs/alert-api, "Create Alert"; own knowledge). An alias beside a message alone is
    # no sign of it.
    *(
        Dialect(told_by=("alias", "message", beside), names={"alias": "uniqueid", "message": "title"})
        for beside in ("responders", "priority", "entity", "visibleto")
    ),
    # Splunk Observability Cloud, formerly SignalFx: the incident's id, and a status that is anomalous or an end.
    Dialect(
        told_by=("incidentid", "detectorid", "status"),
        names={"messagetitle": "title", "status": "state", "detectorurl": "link"},
        meanings=dict.fromkeys(DETECTOR_ENDS, "resolved"),
    ),
    # Cloudflare's generic webhook, where it tells both ends of an alert: alert_correlation_id joins what is related
    # (https://developers.cloudflare.com/notifications/reference/webhook-payload-schema/; read 2026-11).
    Dialect(
        told_by=("alertcorrelationid", "alertevent"),
        names={"alertcorrelationid": "uniqueid", "alertevent": "status", "dashboardlink": "link"},
        meanings={"alertstateeventstart": "firing", "alertstateeventend": "resolved"},
    ),
    # Atlassian Statuspage's component updates, whose own id is new with each
    # (https://support.atlassian.com/statuspage/docs/enable-webhook-notifications/; own knowledge).
    Dialect(
        told_by=("componentupdatecomponentid", "componentname"),
        names={
            "componentupdatecomponentid": "uniqueid",
            "componentname": "title",
            "componentupdatenewstatus": "status",
        },
    ),
    # Issues of Wiz, in its default body (https://docs.wiz.io, "Webhook integration"; own knowledge).
    Dialect(told_by=("controlname", "controlid", "triggerruleid"), names={"controlname": "title"}),
    # CI: the problem is a job on a branch, for a run that failed never recovers, a later one does. CircleCI gives each
    # event an id (https://circleci.com/docs/webhooks-reference; read 2026-11), Azure DevOps' service hooks as well
    # (https://learn.microsoft.com/azure/devops/service-hooks/events, build.complete), Rundeck's webhooks and Jenkins'
    # notification plugin a number of the run (https://docs.rundeck.com/docs/manual/notifications/webhooks.html,
    # https://plugins.jenkins.io/notification; own knowledge).
    Dialect(
        told_by=("happenedat", "projectslug", "workflowname"),
        names={"workflowurl": "link"},
        joined=("projectslug", "workflowname", "jobname", "branch"),
    ),
    Dialect(
        told_by=("publisherid", "buildnumber", "definitionname"),
        names={"messagetext": "title", "detailedmessagetext": "message"},
        joined=("projectid", "definitionname", "sourcebranch"),
    ),
    Dialect(
        told_by=("executionid", "trigger", "jobname"),
        names={"jobname": "title", "executionpermalink": "link", "executionhref": "url"},
        quiet=("executionstatus", words("running scheduled queued")),
        joined=("project", "jobgroup", "jobname"),
    ),
    Dialect(
        told_by=("buildphase", "buildnumber", "name"),
        names={"buildfullurl": "link"},
        quiet=("buildphase", words("queued started")),
        joined=("name",),
    ),
)


_KNOWN = tuple((frozenset(dialect.told_by), dialect) for dialect in DIALECTS)


def translated(fields: Fields, dialect: Dialect) -> Fields:
    """The fields of a known sender under the generic source's names as well."""
    return Fields({**_ours(dialect, fields.by_name), **fields.by_name})


def quiet_word(fields: Fields, dialect: Dialect) -> str | None:
    """A known sender's word for what is neither a problem nor the end of one; None where he says no such thing."""
    name, known = dialect.quiet
    told = text_of(fields.by_name.get(name))
    return told if told is not None and spelled(told) in known else None


def dialect_of(fields: Fields) -> Dialect | None:
    """Whose body it is; None for a sender that is not known here."""
    names = fields.by_name.keys()
    return next((dialect for told_by, dialect in _KNOWN if told_by <= names), None)


def _ours(dialect: Dialect, by_name: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    parts = [key for name in dialect.joined if (key := key_of(by_name.get(name))) is not None]
    if parts:
        words_of_it = " / ".join(parts)
        found = {"uniqueid": f"{line(words_of_it, 120)}~{digest_of(parts)}", "name": words_of_it}
    for theirs, ours in dialect.names.items():
        if theirs in by_name:
            value = by_name[theirs]
            for name in ours.split():
                means = name in ("status", "state") and isinstance(value, str)
                found.setdefault(name, dialect.meanings.get(spelled(value), value) if means else value)
    return found
