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
    said: tuple[str, frozenset[str]] = ("", frozenset())  # his name, and the words by which alone it is he
    kinds: Mapping[str, str] = field(default_factory=dict)  # his words for a status that tell of another problem of it


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
    # Uptime monitors. A certificate that expires is another problem of the same monitor: nothing may ever end it, and
    # it must not swallow the next outage. updown.io (https://updown.io/api#webhooks, as in
    # https://github.com/tldraw/tldraw, apps/health-worker/src/updown_types.ts) and Hyperping
    # (https://github.com/PagerTree/pager_tree-integrations, its test; both read 2026-11).
    Dialect(
        told_by=("event", "checktoken", "checkurl"),
        names={"event": "status", "checkalias": "name", "checkurl": "name link"},
        meanings={"checksslvalid": "resolved", "checksslrenewed": "resolved"},
        kinds={
            "checksslinvalid": "certificate",
            "checksslvalid": "certificate",
            "checksslexpiration": "expiry",
            "checksslrenewed": "expiry",
            "checkperformancedrop": "performance",
        },
        joined=("checktoken",),
    ),
    Dialect(
        told_by=("event", "checkurl", "checkdowntime"),
        names={"event": "status", "checkurl": "name link"},
        joined=("checkurl",),
    ),
    # HetrixTools (https://docs.hetrixtools.com, "Uptime Monitoring Webhook Notifications" and the like for what a
    # server uses and for blacklists, as in PagerTree's test; read 2026-11).
    Dialect(
        told_by=("monitorid", "monitorstatus", "monitortarget"),
        names={"monitorstatus": "status", "monitorid": "uniqueid"},
        meanings={"online": "resolved"},
        quiet=("monitorstatus", words("maintenance")),
    ),
    Dialect(
        told_by=("monitorid", "monitorname", "resourceusageresourcetype"),
        names={"monitorname": "name"},
        joined=("monitorid", "resourceusageresourcetype"),
    ),
    Dialect(
        told_by=("monitor", "blacklistedbefore", "blacklistednow"),
        names={"blacklistednow": "status"},
        meanings={"0": "resolved"},
        joined=("monitor",),
    ),
    # UptimeRobot's default variables, and Pulsetic, of whose names none is its own (its test at PagerTree's; read
    # 2026-11).
    Dialect(
        told_by=("alerttype", "alerttypefriendlyname", "monitorid"),
        names={"alerttype": "status", "monitorfriendlyname": "name", "alertdetails": "message", "monitorurl": "link"},
        meanings={"1": "firing", "2": "resolved"},
        kinds={"3": "expiry"},
        joined=("monitorid",),
    ),
    Dialect(
        told_by=("alerttype", "monitorid", "monitorurl"),
        said=("alerttype", words("monitoroffline monitoronline certificateexpiressoon")),
        names={"alerttype": "status", "monitorurl": "name link"},
        meanings={"monitoronline": "resolved"},
        kinds={"certificateexpiressoon": "certificate"},
        joined=("monitorid",),
    ),
    # 66uptime and what is made of it, UptimeObserver, Uptime.com (PagerTree's tests), Freshping
    # (https://github.com/zulip/zulip, zerver/webhooks/freshping/fixtures) and Dead Man's Snitch
    # (https://deadmanssnitch.com/docs/webhooks, as in PagerTree's test; all read 2026-11).
    Dialect(
        told_by=("isok", "type", "name"),
        names={"isok": "status"},
        meanings={"1": "resolved", "0": "firing"},
        joined=("type", "monitorid", "heartbeatid"),
    ),
    Dialect(
        told_by=("incidentid", "incidentstatus", "monitorname"),
        names={"incidentstatus": "status", "incidenturl": "link"},
    ),
    Dialect(
        told_by=("event", "serviceid", "globalalertstateid"),
        names={"event": "status", "servicedisplayname": "name", "linksalertdetails": "link"},
        joined=("serviceid",),
    ),
    Dialect(
        told_by=("checkstatename", "checkid", "webhooktype"),
        names={"checkstatename": "status", "checkid": "uniqueid", "requesturl": "link"},
        meanings={"available": "resolved"},
    ),
    Dialect(
        told_by=("type", "snitchtoken", "snitchname"),
        names={"type": "status", "snitchtoken": "uniqueid", "snitchname": "title", "snitchnotes": "message"},
        meanings={"snitchreporting": "resolved"},
    ),
    # Trackers of errors: the problem is an error, not what was just seen of it. Rollbar
    # (https://rollbar.com/docs/webhooks/ and https://github.com/influxdata/telegraf, plugins/inputs/webhooks/rollbar),
    # Airbrake (https://airbrake.io/docs/integrations/webhooks/), Raygun
    # (https://raygun.com/documentation/product-guides/crash-reporting/integrations/webhooks) and Honeybadger, whose
    # sites and check-ins come the same way (https://docs.honeybadger.io/guides/integrations/payloads/v2/ and
    # PagerTree's test; all read 2026-11).
    Dialect(
        told_by=("eventname", "itemid", "itemtitle"),
        names={
            "eventname": "status",
            "itemid": "uniqueid",
            "itemtitle": "title",
            "lastoccurrencelevel": "severity",
        },
        meanings={"resolveditem": "resolved"},
    ),
    Dialect(
        told_by=("airbrakeerrorurl", "errorid"),
        names={"errorid": "uniqueid", "errormessage": "title", "airbrakeerrorurl": "link"},
    ),
    Dialect(
        told_by=("eventtype", "errorurl", "applicationname"),
        said=("event", words("errornotification erroractivity")),
        names={"errorstatus": "status", "errormessage": "title", "errordescription": "message", "errorurl": "link"},
        meanings=dict.fromkeys(words("ignored permanentlyignored"), "resolved"),
        quiet=("eventtype", words("commentadded assignedtouser")),
        joined=("errorurl",),
    ),
    *(
        Dialect(
            told_by=("event", "message", "projectid", own),
            names={"event": "status", "message": "title"},
            meanings={"checkinreporting": "resolved"},
            kinds={"certwillexpire": "certificate"},
            quiet=("event", words("assigned unassigned commented")),
            joined=(own,),
        )
        for own in ("faultid", "siteid", "checkinid")
    ),
    # Auvik, AppOptics (formerly Librato; its alert.clear), Papertrail's saved searches, Netlify's deploys and Squadcast
    # (PagerTree's test; zerver/webhooks of https://github.com/zulip/zulip; https://github.com/SquadcastHub,
    # developers.squadcast.com; read 2026-11).
    Dialect(
        told_by=("alertstatusstring", "correlationid"),
        names={"alertstatusstring": "status", "correlationid": "fingerprint", "alertseveritystring": "severity"},
    ),
    Dialect(
        told_by=("triggertime", "account", "clear"),
        names={"clear": "status"},
        meanings=dict.fromkeys(words("normal auto manual"), "resolved"),
    ),
    Dialect(
        told_by=("savedsearchid", "savedsearchname"),
        names={"savedsearchid": "uniqueid", "savedsearchname": "title", "htmlsearchurl": "link"},
    ),
    Dialect(
        told_by=("siteid", "deploysslurl", "state"),
        names={"state": "status", "errormessage": "message", "adminurl": "link"},
        meanings={"ready": "resolved"},
        quiet=("state", words("new enqueued building uploading uploaded preparing prepared processing processed")),
        joined=("siteid", "context", "branch"),
    ),
    Dialect(
        told_by=("resourcedataid", "resourcedatastatus", "resource"),
        names={
            "resourcedatastatus": "status",
            "resourcedataid": "uniqueid",
            "resourcedatamessage": "title",
            "resourcedatadescription": "message",
            "resourcedataurl": "link",
        },
        quiet=("resourcedatastatus", words("suppressed")),
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
    return next((dialect for told_by, dialect in _KNOWN if told_by <= names and _says_so(dialect, fields)), None)


def _says_so(dialect: Dialect, fields: Fields) -> bool:
    name, known = dialect.said
    return not known or spelled(text_of(fields.by_name.get(name)) or "") in known


def _ours(dialect: Dialect, by_name: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    kind = None
    for theirs, ours in dialect.names.items():
        if theirs not in by_name:
            continue
        value = by_name[theirs]
        word = spelled(text_of(value) or "")
        for name in ours.split():
            means = name in ("status", "state")
            kind = dialect.kinds.get(word, kind) if means else kind
            found.setdefault(name, dialect.meanings.get(word, value) if means else value)
    parts = [key for name in dialect.joined if (key := key_of(by_name.get(name))) is not None]
    if parts:
        words_of_it = " / ".join(parts)
        parts += [kind] if kind is not None else []
        found.setdefault("uniqueid", f"{line(words_of_it, 120)}~{digest_of(parts)}")
        found.setdefault("name", words_of_it)
    return found
