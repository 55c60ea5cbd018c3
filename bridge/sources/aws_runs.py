"""What runs at AWS, again and again, and goes well or fails, in the words of the generic source.

In: an event of EventBridge and its detail. Out: the problem that a run tells of, or why it tells of none.

A run that failed never recovers: the next one that goes well does. So the problem is what runs, and not its run; a run
that is under way, or that somebody stopped, is a Notice.

Facts:

- CodePipeline and CodeBuild: the problem is a pipeline, or a build project, for an execution that failed never
  recovers, a later one does. FAILED fires, SUCCEEDED resolves, a run under way or stopped is a Notice
  (https://docs.aws.amazon.com/codepipeline/latest/userguide/detect-state-changes-cloudwatch-events.html,
  https://docs.aws.amazon.com/codebuild/latest/userguide/sample-build-notifications.html; own knowledge).
- CodeDeploy and Glue likewise: the problem is a deployment group, or a job (states of a job:
  https://docs.aws.amazon.com/glue/latest/dg/automating-awsglue-with-cloudwatch-events.html, read 2026-11; states of a
  deployment: https://docs.aws.amazon.com/codedeploy/latest/userguide/monitoring-cloudwatch-events.html, own knowledge).
"""

from collections.abc import Callable, Mapping
from typing import Any

from bridge.sources.absent import key_of, text_of
from bridge.sources.fields import words
from bridge.sources.texts import identity

Told = tuple[Mapping[str, Any], ...]
Reader = Callable[[Mapping[str, Any], Mapping[str, Any]], Told | str | None]
"""Of an event and its detail: its problems, why it has none, or None where it cannot be read."""

WENT_WELL = ("SUCCEEDED", "SUCCESS")
_UNDER_WAY = words(
    "STARTED RESUMED IN_PROGRESS STOPPING STOPPED CANCELED CANCELLED SUPERSEDED"
    " START STOP READY CREATED QUEUED INPROGRESS"  # of CodeDeploy
    " STARTING RUNNING"  # of Glue
)


def where_of(event: Mapping[str, Any]) -> tuple[str, str]:
    """Account and region."""
    return key_of(event.get("account")) or "", key_of(event.get("region")) or ""


def state_of(detail: Mapping[str, Any], name: str) -> str | None:
    """The state of that name, in capitals."""
    state = text_of(detail.get(name))
    return None if state is None else state.upper()


def _run(event: Mapping[str, Any], service: str, name: str | None, state: str | None, run: Any) -> Told | str | None:
    if name is None or state is None:
        return None
    if state in _UNDER_WAY:
        return f"a run of {name} that is {state} says neither that it works nor that it fails"
    told = {
        "fingerprint": identity(service, *where_of(event), name),
        "title": f"{service} {name}",
        "status": "resolved" if state in WENT_WELL else "firing",
        "description": f"{state}: {text_of(run) or name}",
        "labels": {"name": name, "state": state},
    }
    return (told,)


def _pipeline(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    return _run(
        event, "CodePipeline", key_of(detail.get("pipeline")), state_of(detail, "state"), detail.get("execution-id")
    )


def _build(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    name, state = key_of(detail.get("project-name")), state_of(detail, "build-status")
    return _run(event, "CodeBuild", name, state, detail.get("build-id"))


def _deployment(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    application, group = key_of(detail.get("application")), key_of(detail.get("deploymentGroup"))
    name = f"{application}/{group}" if application and group else None
    return _run(event, "CodeDeploy", name, state_of(detail, "state"), detail.get("deploymentId"))


def _job(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    told = _run(event, "Glue", key_of(detail.get("jobName")), state_of(detail, "state"), detail.get("message"))
    return told if not isinstance(told, tuple) else tuple({**one, "severity": detail.get("severity")} for one in told)


RUNS: Mapping[str, Reader] = {
    "CodePipeline Pipeline Execution State Change": _pipeline,
    "CodeBuild Build State Change": _build,
    "CodeDeploy Deployment State-change Notification": _deployment,
    "Glue Job State Change": _job,
}
