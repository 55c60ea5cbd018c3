"""What a person sees of the sandbox: the list of its incidents, and one of them. No scripts; everything is escaped."""

import json
from typing import Any

from flask import Request, Response, render_template_string

from bridge.sandbox.store import APIS, PAGERDUTY, Record, Store

SHOWN_MAX = 500

_FRAME = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{ title }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c1e21;
  background: #fff }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .35rem .75rem .35rem 0;
  border-bottom: 1px solid #d9dce1; vertical-align: top } pre { white-space: pre-wrap; overflow-wrap: anywhere;
  background: #f4f5f7; padding: 1rem } .quiet { color: #5a6069 }
@media (prefers-color-scheme: dark) { body { color: #e6e8eb; background: #16181c } pre { background: #22252b }
  th, td { border-color: #3a3f47 } .quiet { color: #a3a9b3 } a { color: #8ab4ff } }
</style></head>
<body>
"""
_LIST = (
    _FRAME
    + """<h1>Sandbox</h1>
<p class="quiet">Stand-ins of PagerDuty and incident.io on this machine. Nobody is paged from here.
Every call: <a href="/_sandbox/requests">/_sandbox/requests</a>.</p>
{% for heading, rows in tables %}
<h2>{{ heading }}</h2>
{% if rows %}<table><thead><tr><th>#</th><th>State</th><th>Title</th><th>Opened</th></tr></thead><tbody>
{% for row in rows %}<tr><td>{{ row.number }}</td><td>{{ row.state }}</td>
<td><a href="{{ row.href }}">{{ row.title }}</a></td><td>{{ row.opened }}</td></tr>
{% endfor %}</tbody></table>{% else %}<p>No incidents.</p>{% endif %}
{% endfor %}
</body></html>
"""
)
_ONE = (
    _FRAME
    + """<p><a href="/">Sandbox</a></p>
<h1>{{ title }}</h1>
<p>{{ state }} <span class="quiet">{{ key }}</span></p>
{% if text %}<pre>{{ text }}</pre>{% endif %}
<h2>History</h2>
<ul>{% for line in history %}<li>{{ line }}</li>{% endfor %}</ul>
{% if notes %}<h2>Notes</h2><ul>{% for note in notes %}<li>{{ note.content }}</li>{% endfor %}</ul>{% endif %}
<h2>Document</h2>
<pre>{{ document }}</pre>
</body></html>
"""
)


def is_wanted(request: Request) -> bool:
    """Whether a browser asks for one incident, rather than a program for its document."""
    return request.method == "GET" and "text/html" in request.headers.get("Accept", "")


def index(store: Store) -> Response:
    """The list of all incidents, newest first."""
    tables = [
        ("PagerDuty" if api == PAGERDUTY else "incident.io", [_row(record) for record in reversed(store.records(api))])
        for api in APIS
    ]
    return _page(_LIST, title="Sandbox", tables=[(heading, rows[:SHOWN_MAX]) for heading, rows in tables])


def incident(record: Record, document: dict[str, Any]) -> Response:
    """One incident."""
    return _page(
        _ONE,
        title=title_of(record),
        state=state_of(record),
        key=record.key,
        text=record.body if record.api == PAGERDUTY else record.incident["summary"],
        history=record.history,
        notes=record.notes,
        document=json.dumps(document, indent=2, ensure_ascii=False),
    )


def title_of(record: Record) -> str:
    """What the incident is called."""
    return str(record.incident["title" if record.api == PAGERDUTY else "name"])


def state_of(record: Record) -> str:
    """PagerDuty's status, incident.io's status category."""
    if record.api == PAGERDUTY:
        return str(record.incident["status"])
    return str(record.incident["incident_status"]["category"])


def path_of(record: Record) -> str:
    """Where a browser sees it, from the root of the sandbox."""
    if record.api == PAGERDUTY:
        return f"/pagerduty/incidents/{record.id}"
    return f"/incident-io/incidents/{record.number}"


def _row(record: Record) -> dict[str, Any]:
    return {
        "number": record.number,
        "state": state_of(record),
        "title": title_of(record),
        "href": path_of(record),
        "opened": record.incident["created_at"],
    }


def _page(template: str, **values: Any) -> Response:
    response = Response(render_template_string(template, **values), content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    return response
