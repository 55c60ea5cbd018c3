"""What services of AWS tell besides CloudWatch's alarms, in the words of the generic source.

In: the object of one message or event. Out: one object for each problem it tells of, or why it tells of none. Through
SNS and through EventBridge the same is the same problem.

Facts, and what is decided of them:

- CodePipeline and CodeBuild: the problem is a pipeline, or a build project, for an execution that failed never
  recovers, a later one does. FAILED fires, SUCCEEDED resolves, a run under way or stopped is a Notice
  (https://docs.aws.amazon.com/codepipeline/latest/userguide/detect-state-changes-cloudwatch-events.html,
  https://docs.aws.amazon.com/codebuild/latest/userguide/sample-build-notifications.html; own knowledge).
"""

from collections.abc import Callable, Mapping
from typing import Any

from bridge.sources.absent import key_of, text_of
from bridge.sources.body import block_at
from bridge.sources.fields import words
from bridge.sources.texts import identity

Told = tuple[Mapping[str, Any], ...]

_UNDER_WAY = words("STARTED RESUMED IN_PROGRESS STOPPING STOPPED CANCELED CANCELLED SUPERSEDED")


def told_by_service(message: Mapping[str, Any]) -> Told | str | None:
    """The problems of a message, or why it has none; None where its service is not known here."""
    reader = _BY_KIND.get(text_of(message.get("detail-type")) or "")
    return None if reader is None else reader(message, block_at(message, "detail"))


def _run(event: Mapping[str, Any], service: str, name: str | None, state: str | None, run: Any) -> Told | str | None:
    if name is None or state is None:
        return None
    if state in _UNDER_WAY:
        return f"a run of {name} that is {state} says neither that it works nor that it fails"
    where = (key_of(event.get("account")) or "", key_of(event.get("region")) or "")
    told = {
        "fingerprint": identity(service, *where, name),
        "title": f"{service} {name}",
        "status": "resolved" if state == "SUCCEEDED" else "firing",
        "description": f"{state}: {text_of(run) or name}",
        "labels": {"name": name, "state": state},
    }
    return (told,)


def _pipeline(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    return _run(
        event, "CodePipeline", key_of(detail.get("pipeline")), _state(detail, "state"), detail.get("execution-id")
    )


def _build(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    name, state = key_of(detail.get("project-name")), _state(detail, "build-status")
    return _run(event, "CodeBuild", name, state, detail.get("build-id"))


def _state(detail: Mapping[str, Any], name: str) -> str | None:
    state = text_of(detail.get(name))
    return None if state is None else state.upper()


_BY_KIND: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Told | str | None]] = {
    "CodePipeline Pipeline Execution State Change": _pipeline,
    "CodeBuild Build State Change": _build,
}
