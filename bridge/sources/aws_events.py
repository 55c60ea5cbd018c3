"""What services of AWS tell besides CloudWatch's alarms, in the words of the generic source.

In: the object of one message or event. Out: one object for each problem it tells of, or why it tells of none. Through
SNS and through EventBridge the same is the same problem.

Facts, and what is decided of them:

- What runs and ends, such as a pipeline, a job or a backup: aws_runs.py.
- A notification rule of the developer tools (CodePipeline, CodeBuild, CodeDeploy) posts the same event through SNS
  without version and id, its kind as `detailType`
  (https://docs.aws.amazon.com/dtconsole/latest/userguide/concepts.html; read in part 2026-11).
- Security Hub: each finding of an event is a problem, by its Id; it is over when it is resolved, suppressed, archived
  or has passed (https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-cwe-event-formats.html,
  https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-findings-format.html; own knowledge).
- Inspector: a finding is one problem by its ARN, as one vulnerability has a finding on each machine; CLOSED and
  SUPPRESSED end it (https://docs.aws.amazon.com/inspector/latest/user/eventbridge-integration.html; own knowledge).
- ECS: a service is one problem by its ARN, which stands in `resources`, from WARN or ERROR to SERVICE_STEADY_STATE, and
  its deployment another one from FAILED to COMPLETED; what else is INFO is a Notice
  (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_events.html,
  …/ecs_service_deployment_events.html; read 2026-11).
- Config: a resource that breaks a rule is one problem until it is COMPLIANT, or the rule no longer applies to it
  (https://docs.aws.amazon.com/config/latest/developerguide/monitor-config-with-cloudwatchevents.html; own knowledge).
- Step Functions: an execution is one problem, for others of its state machine run beside it; only its own redrive can
  end well; one that somebody aborted is a Notice
  (https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html; own knowledge).
- Run Command through SNS: the problem is a command, on one machine where it names one; what is under way, or was
  cancelled, is a Notice
  (https://docs.aws.amazon.com/systems-manager/latest/userguide/monitoring-sns-examples.html; read 2026-11).
- EC2: an instance that stopped or was terminated is one problem until it runs again; what leads there is a Notice
  (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instance-state-changes.html; own knowledge).
- EC2 Auto Scaling: a launch or termination that failed is one problem for its group, as through SNS; what it did is a
  Notice (https://docs.aws.amazon.com/autoscaling/ec2/userguide/automating-ec2-auto-scaling-with-eventbridge.html; own
  knowledge).
- Trusted Advisor: a check of one resource, from WARN or ERROR to OK; one without a resource, as a limit of a service,
  is known by what the item names (https://docs.aws.amazon.com/awssupport/latest/user/cloudwatch-events-ta.html; read in
  part 2026-11).
- DevOps Guru: an insight is one problem from NEW_INSIGHT to CLOSED_INSIGHT
  (https://docs.aws.amazon.com/devops-guru/latest/userguide/working-with-eventbridge.html; own knowledge).
"""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from bridge.sources.absent import key_of, text_of
from bridge.sources.aws_runs import RUNS, WENT_WELL, Reader, Told, state_of, where_of
from bridge.sources.body import block_at
from bridge.sources.fields import spelled, words
from bridge.sources.texts import identity, scalar_pairs, texts_in

_NAMES_MAX = 100  # of one message that are looked at
_FINDINGS_MAX = 1_000  # of one event; one with more pages as a whole
_COMMAND_NO_FAILURE = words("pending inprogress delayed cancelling cancelled")
_EXECUTION_NO_FAILURE = ("RUNNING", "PENDING_REDRIVE", "ABORTED")
_INSTANCE_UNDER_WAY = ("PENDING", "STOPPING", "SHUTTING-DOWN")
_DEPLOYMENT = "SERVICE_DEPLOYMENT_"
_SCALING = (
    "EC2 Instance Launch Successful",
    "EC2 Instance Launch Unsuccessful",
    "EC2 Instance Terminate Successful",
    "EC2 Instance Terminate Unsuccessful",
    "EC2 Instance-launch Lifecycle Action",
    "EC2 Instance-terminate Lifecycle Action",
)
_WHY = ("error", "cause")


def as_event(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A notification of the developer tools as the event it was made of; any other message as it is."""
    kind, origin = text_of(message.get("detailType")), text_of(message.get("source")) or ""
    if "detail-type" in message or kind is None or not block_at(message, "detail") or not origin.startswith("aws."):
        return message
    return {**message, "detail-type": kind}


def told_by_service(message: Mapping[str, Any]) -> Told | str | None:
    """The problems of a message, or why it has none; None where its service is not known here."""
    detail = block_at(message, "detail")
    if _insight_in(message) or _insight_in(detail):
        return _insight(message if _insight_in(message) else detail)
    if "commandId" in message and "documentName" in message:
        return _command(message)
    reader = _BY_KIND.get(text_of(message.get("detail-type")) or "")
    return None if reader is None else reader(message, detail)


def _insight_in(told: Mapping[str, Any]) -> bool:
    names = {spelled(name) for name in islice(told, _NAMES_MAX)}
    return {"insightid", "messagetype", "insightname"} <= names


def _insight(insight: Mapping[str, Any]) -> Told | None:
    """An insight of DevOps Guru; SNS and EventBridge spell its names in two ways."""
    own = {spelled(name): value for name, value in islice(insight.items(), _NAMES_MAX)}
    where = (key_of(own.get("accountid")) or "", key_of(own.get("region")) or "")
    number = key_of(own["insightid"])
    if number is None:
        return None
    told = {
        "fingerprint": identity("insight", *where, number),
        "title": own["insightname"],
        "status": "resolved" if text_of(own["messagetype"]) == "CLOSED_INSIGHT" else "firing",
        "severity": own.get("insightseverity"),
        "description": own.get("insightdescription"),
        "link": own.get("insighturl"),
        "starts_at": own.get("starttime"),
        "ends_at": own.get("endtime"),
        "labels": {"insight_type": own.get("insighttype"), "message_type": own["messagetype"]},
    }
    return (told,)


def _findings(_event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | None:
    given = detail.get("findings")
    if not isinstance(given, list) or len(given) > _FINDINGS_MAX:
        return None
    return tuple(_finding(one) for one in given if isinstance(one, dict)) or None


def _finding(finding: Mapping[str, Any]) -> Mapping[str, Any]:
    resource = _first_of(finding.get("Resources"))
    name, title = text_of(resource.get("Id")), text_of(finding.get("Title"))
    is_over = (
        text_of(block_at(finding, "Workflow").get("Status")) in ("RESOLVED", "SUPPRESSED")
        or text_of(finding.get("RecordState")) == "ARCHIVED"
        or text_of(block_at(finding, "Compliance").get("Status")) == "PASSED"
    )
    return {
        "fingerprint": finding.get("Id"),
        "title": f"{title} ({name})" if title and name else title,
        "status": "resolved" if is_over else "firing",
        "severity": block_at(finding, "Severity").get("Label"),
        "description": finding.get("Description"),
        "link": finding.get("SourceUrl"),
        "reported_at": finding.get("UpdatedAt"),
        "starts_at": finding.get("FirstObservedAt") or finding.get("CreatedAt"),
        "labels": {
            "product": finding.get("ProductName"),
            "finding_account": finding.get("AwsAccountId"),
            "resource": name,
            "resource_type": resource.get("Type"),
            "compliance": block_at(finding, "Compliance").get("Status"),
        },
    }


def _vulnerability(_event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | None:
    """A finding of Inspector."""
    if (arn := key_of(detail.get("findingArn"))) is None:
        return None
    resource = _first_of(detail.get("resources"))
    name, title, status = text_of(resource.get("id")), text_of(detail.get("title")), state_of(detail, "status")
    told = {
        "fingerprint": arn,
        "title": f"{title} ({name})" if title and name else title,
        "status": "resolved" if status in ("CLOSED", "SUPPRESSED") else "firing",
        "severity": detail.get("severity"),
        "description": detail.get("description"),
        "labels": {"resource": name, "resource_type": resource.get("type"), "finding_status": status},
    }
    return (told,)


def _first_of(values: Any) -> Mapping[str, Any]:
    """The first object of a list; an empty one where there is none."""
    return values[0] if isinstance(values, list) and values and isinstance(values[0], dict) else {}


def _service(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    """A service of ECS, or its deployment."""
    resources, what = texts_in(event.get("resources")), state_of(detail, "eventName")
    if what is None or not resources:
        return None
    about = "deployment" if what.startswith(_DEPLOYMENT) else "service"
    is_over = what in (f"{_DEPLOYMENT}COMPLETED", "SERVICE_STEADY_STATE")
    how = text_of(detail.get("eventType"))
    if how == "INFO" and not is_over:
        return f"{what} of ECS says neither that anything is wrong nor that it is over"
    told = {
        "fingerprint": identity(about, *resources),
        "title": f"ECS {about} {resources[0].rpartition(':')[2].removeprefix('service/')}",
        "status": "resolved" if is_over else "firing",
        "severity": None if is_over else how,
        "description": ": ".join(text for text in (what, text_of(detail.get("reason"))) if text is not None),
        "labels": {"service": resources[0], "cluster": detail.get("clusterArn"), "event_name": what},
    }
    return (told,)


def _compliance(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    """Whether a resource keeps to a rule of AWS Config."""
    rule, resource = key_of(detail.get("configRuleName")), key_of(detail.get("resourceId"))
    state = text_of(block_at(detail, "newEvaluationResult").get("complianceType"))
    if rule is None or resource is None or state is None:
        return None
    if state == "INSUFFICIENT_DATA":
        return f"Config cannot say yet whether {resource} keeps to {rule}"
    kind = text_of(detail.get("resourceType"))
    told = {
        "fingerprint": identity("config", *where_of(event), rule, kind or "", resource),
        "title": f"{resource} breaks the rule {rule}",
        "status": "resolved" if state in ("COMPLIANT", "NOT_APPLICABLE") else "firing",
        "description": text_of(block_at(detail, "newEvaluationResult").get("annotation")) or state,
        "labels": {"rule": rule, "resource": resource, "resource_type": kind, "compliance": state},
    }
    return (told,)


def _execution(_event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    """An execution of a state machine of Step Functions."""
    arn, state = key_of(detail.get("executionArn")), state_of(detail, "status")
    machine = (text_of(detail.get("stateMachineArn")) or "").rpartition(":")[2]
    if arn is None or state is None or not machine:
        return None
    name = text_of(detail.get("name")) or arn
    if state in _EXECUTION_NO_FAILURE:
        return f"the execution {name} of {machine} is {state}"
    told = {
        "fingerprint": identity("execution", arn),
        "title": f"Step Functions {machine} ({name})",
        "status": "resolved" if state in WENT_WELL else "firing",
        "description": ": ".join(text for text in (state, *map(text_of, map(detail.get, _WHY))) if text is not None),
        "starts_at": detail.get("startDate"),
        "labels": {"state_machine": machine, "execution": name, "state": state},
    }
    return (told,)


def _command(command: Mapping[str, Any]) -> Told | str | None:
    """What Systems Manager tells of a command that it runs."""
    number, state = key_of(command.get("commandId")), text_of(command.get("status"))
    if number is None or state is None:
        return None
    name, machine = text_of(command.get("documentName")) or number, key_of(command.get("instanceId"))
    if spelled(state) in _COMMAND_NO_FAILURE:
        return f"the command {name} is {state}"
    told = {
        "fingerprint": identity("command", number, machine or ""),
        "title": f"Command {name} on {machine}: {state}" if machine else f"Command {name}: {state}",
        "status": "resolved" if spelled(state) == "success" else "firing",
        "description": text_of(command.get("detailedStatus")) or state,
        "labels": {"document": name, "instance": machine, "command": number, "state": state},
    }
    return (told,)


def _instance(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    """A machine of EC2."""
    machine, state = key_of(detail.get("instance-id")), state_of(detail, "state")
    if machine is None or state is None:
        return None
    if state in _INSTANCE_UNDER_WAY:
        return f"the instance {machine} is {state}"
    told = {
        "fingerprint": identity("instance", *where_of(event), machine),
        "title": f"EC2 instance {machine} is {state.lower()}",
        "status": "resolved" if state == "RUNNING" else "firing",
        "labels": {"instance": machine, "state": state},
    }
    return (told,)


def _check(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    """One item of a check of Trusted Advisor."""
    name, status = key_of(detail.get("check-name")), state_of(detail, "status")
    if name is None or status is None:
        return None
    if status == "INFO":
        return f"the check {name} looked at something that is left out"
    item = block_at(detail, "check-item-detail")
    resource = key_of(detail.get("resource_id"))
    named = [text for field in ("Region", "Service", "Limit Name", "Resource") if (text := key_of(item.get(field)))]
    about = resource or "/".join(named)
    told = {
        "fingerprint": identity("check", *where_of(event), name, about),
        "title": f"{name}: {about}" if about else name,
        "status": "resolved" if status == "OK" else "firing",
        "severity": {"ERROR": "error", "WARN": "warning"}.get(status),
        "description": ", ".join(f"{key}: {value}" for key, value in scalar_pairs(item) if value is not None),
        "labels": {"check": name, "resource": resource, "status": status},
    }
    return (told,)


def _scaling(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    """What EC2 Auto Scaling did to a group, or could not do."""
    what, group = text_of(event.get("detail-type")) or "", key_of(detail.get("AutoScalingGroupName"))
    if group is None:
        return None
    if not what.endswith("Unsuccessful"):
        return f"EC2 Auto Scaling tells what it did to {group}"
    told = {
        "fingerprint": identity("scaling", *where_of(event), what, group),
        "title": f"{what} ({group})",
        "description": text_of(detail.get("StatusMessage")) or text_of(detail.get("Cause")),
        "labels": {"group": group, "instance": detail.get("EC2InstanceId")},
    }
    return (told,)


_BY_KIND: Mapping[str, Reader] = {
    **RUNS,
    "Config Rules Compliance Change": _compliance,
    "EC2 Instance State-change Notification": _instance,
    **dict.fromkeys(_SCALING, _scaling),
    "Trusted Advisor Check Item Refresh Notification": _check,
    "ECS Deployment State Change": _service,
    "ECS Service Action": _service,
    "Step Functions Execution Status Change": _execution,
    "Inspector2 Finding": _vulnerability,
    "Security Hub Findings - Imported": _findings,
    "Security Hub Findings - Custom Action": _findings,
}
