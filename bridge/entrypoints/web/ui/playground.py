"""The playground: a payload and a rule text, tried by the code of production; nothing is ever sent."""

import re
from typing import Any

from flask import Blueprint, Response, render_template, request

from bridge.adapters.ledger import EventQuery, Ledger
from bridge.entrypoints.cli.sending import sample_bytes, sample_names
from bridge.entrypoints.web.access import harmless
from bridge.entrypoints.web.ui.events import download
from bridge.entrypoints.web.ui.trials import TEXT_MAX_BYTES, Trial, TrialRefused
from bridge.entrypoints.web.ui.words import titled
from bridge.entrypoints.web.ui.workshop import Unable, Workshop, zipped

RECENT = 20
LINES_READ = 5  # of one event, for a title
FOLDER = "playground-test"
README = f"""\
A rule text of the playground, a payload, and a test of what the rule makes of it. Unpack it beside bridge.yaml, and run

    incident-bridge test --rules {FOLDER}/rules.txt {FOLDER}

The rule is tried alone; no process of the bridge reads it here. To put it in force, copy it from rules.txt into a
.yaml file of the rules folder, at the place where it is to be asked, and the test with its fixtures beside it: the
first rule that matches decides.
"""
EXAMPLE = """\
rules:
  - id: try-me
    match:
      severity: [critical, error]
    account: {account}
    incident:
      {title}: "[{{{{ alert.severity | upper }}}}] {{{{ alert.title }}}}"
      {needs}
"""


def add_playground(routes: Blueprint, ledger: Ledger, workshop: Workshop | None) -> None:
    """The page, its form, and the download of a test."""

    @routes.get("/playground")
    def playground() -> Any:
        if workshop is None:
            return render_template("problem.html", sentence="This bridge runs without its rules"), 404
        payload = _asked_payload(workshop, request.args.get("event", ""), request.args.get("sample", ""))
        source, body = payload or _newest_payload(ledger, workshop)
        asked = request.args
        rules = _file_in_force(workshop, asked.get("file", ""), asked.get("rule", "")) or _example(workshop)
        return _page(ledger, workshop, source=source, body=body, rules=rules, result=None)

    @routes.post("/playground")
    @harmless
    def tried() -> Any:
        if workshop is None:
            return render_template("problem.html", sentence="This bridge runs without its rules"), 404
        trial = Trial(
            source=request.form.get("source", ""),
            body=request.form.get("body", ""),
            rules=request.form.get("rules", "").replace("\r\n", "\n"),
            test=request.form.get("do") == "test",
        )
        if request.form.get("do") == "fill":
            return _filled(ledger, workshop, trial)
        result, refusal = None, None
        if trial.source not in workshop.sources:
            refusal = f"there is no source '{trial.source[:80]}'"
        else:
            try:
                result = workshop.trials.made(trial)
            except TrialRefused as error:
                refusal = str(error)
        if trial.test and result is not None and "files" in result:
            return _test(result["files"], trial.rules)
        return _page(
            ledger,
            workshop,
            source=trial.source,
            body=trial.body,
            rules=trial.rules,
            result=result,
            refusal=refusal,
        )


def _filled(ledger: Ledger, workshop: Workshop, trial: Trial) -> str:
    """The fields with what was chosen for them; a field for which nothing was chosen stays as it was typed."""
    chosen = request.form
    payload = _asked_payload(workshop, chosen.get("event", ""), chosen.get("sample", ""))
    source, body = payload or (trial.source, trial.body)
    rules = _file_in_force(workshop, chosen.get("file", ""), "") or trial.rules
    return _page(ledger, workshop, source=source, body=body, rules=rules, result=None)


def _test(files: dict[str, str], rules: str) -> Response:
    """The files of a test: for the rules folder; or, of a rule text, a folder of its own that `test --rules` runs.

    Such a text is no `.yaml`: beside the rules in force it would stand behind them, or, worse, go live.
    """
    held = {name: content.encode() for name, content in files.items()}
    if rules.strip():
        alone = {**held, "rules.txt": rules.encode(), "README.txt": README.encode()}
        held = {f"{FOLDER}/{name}": content for name, content in alone.items()}
    return download("playground-test.zip", zipped(held))


def _page(
    ledger: Ledger,
    workshop: Workshop,
    *,
    source: str,
    body: str,
    rules: str,
    result: dict[str, Any] | None,
    refusal: str | None = None,
) -> str:
    lines = _marked(rules, result)
    return render_template(
        "playground.html",
        sources=sorted(workshop.sources),
        types=_samples(workshop),
        recent=_recent(ledger),
        chosen={"source": source, "body": body, "rules": rules},
        result=result,
        refusal=refusal,
        lines=lines,
        files=_files(workshop),
        kilobytes=TEXT_MAX_BYTES // 1024,
    )


def _marked(rules: str, result: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The rule text line by line, each with the problems at it; empty when there are none."""
    problems = [] if result is None else result["problems"]
    if not problems or not rules.strip():
        return []
    at: dict[int, list[dict[str, Any]]] = {}
    for one in problems:
        at.setdefault(one["line"], []).append(one)
    return [
        {"number": number, "text": text, "problems": at.get(number, [])}
        for number, text in enumerate(rules.splitlines(), start=1)
    ]


def _recent(ledger: Ledger) -> list[dict[str, Any]]:
    page = ledger.events(EventQuery(state="accepted", limit=RECENT))
    lines = ledger.event_lines([one["id"] for one in page.items], LINES_READ)
    return [
        {
            **one,
            "title": next(filter(None, (titled(line["title"], "") for line in lines.get(one["id"], ()))), titled(None)),
        }
        for one in page.items
    ]


def _samples(workshop: Workshop) -> list[tuple[str, str]]:
    """Every shipped sample of a configured source: (source, sample)."""
    types = {name: one.type for name, one in workshop.settings.sources.items()}
    return [(source, sample) for source in sorted(types) for sample in sample_names(types[source])]


def _asked_payload(workshop: Workshop, event: str, asked: str) -> tuple[str, str] | None:
    """The source and body of an event, or of a sample `source/name`; None when neither is asked for."""
    if event:
        try:
            webhook = workshop.webhook(event)
        except Unable:
            return "", ""
        return webhook.source, webhook.body.decode("utf-8", "replace")
    source, _, sample = asked.partition("/")
    configured = workshop.settings.sources.get(source)
    if configured is not None and sample in sample_names(configured.type):
        return source, sample_bytes(configured.type, sample).decode()
    return None


def _newest_payload(ledger: Ledger, workshop: Workshop) -> tuple[str, str]:
    """The newest event that fits, or an empty body for a source."""
    for one in ledger.events(EventQuery(state="accepted", limit=1)).items:
        stored = ledger.stored(one["id"])
        if stored is not None and stored.body is not None and len(stored.body) <= TEXT_MAX_BYTES:
            return stored.source, stored.body.decode("utf-8", "replace")
    return "lab" if "lab" in workshop.sources else next(iter(sorted(workshop.sources)), ""), ""


def _files(workshop: Workshop) -> list[str]:
    """The rule files in force, by their path in the configuration's folder."""
    return sorted({rule.place.file for rule in workshop.book().rules})


def _file_in_force(workshop: Workshop, wanted: str, with_rule: str) -> str | None:
    """The text of a file of the rules in force, or of the one with a rule; None when there is none of that name."""
    rule = workshop.book().by_id.get(with_rule)
    if rule is not None:
        wanted = rule.place.file
    if wanted in _files(workshop):
        files = workshop.files()
        text = None if files is None else files.texts.get(wanted)
        return f"# {wanted} is not on record\n" if text is None else text[:TEXT_MAX_BYTES]
    return None


def _example(workshop: Workshop) -> str:
    """A small rule for the first account, complete."""
    for name, destination in sorted(workshop.destinations.items(), key=lambda one: one[1].type != "pagerduty"):
        required = [one for one, about in destination.fields.items() if about.required]
        needs = [one for one in required if one != destination.title_field]
        text = "\n      ".join(f"{one}: {destination.defaults.get(one, 'Catch-all')}" for one in needs)
        made = EXAMPLE.format(account=name, title=destination.title_field, needs=text)
        return re.sub(r"\n\s+\n$", "\n", made)
    return ""
