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
- Backup: what is backed up, or copied, is one problem until it is backed up again; EXPIRED, ABORTED and PARTIAL are no
  backup. A restore is one by itself (https://docs.aws.amazon.com/aws-backup/latest/devguide/eventbridge.html; read
  2026-11, where a restore says `status` and the others `state`).
- Batch: a job by its name and queue (https://docs.aws.amazon.com/batch/latest/userguide/batch_cwe_events.html; read
  2026-11). DataSync: a task (https://docs.aws.amazon.com/datasync/latest/userguide/monitor-datasync.html). EMR: a
  cluster by its name, for it is made anew, and a step of a cluster. SageMaker: a job. Amplify: a branch of an app. (The
  states of these: own knowledge.)
- ECS: tasks are told of at each change. The problem is what they are of, a service or a family, once one stops by
  itself; a task that ends with 0 ends it, where those beside it may have been told to end. One that the scheduler or a
  person stopped is a Notice, unless it failed a check of its health, which only its stoppedReason says
  (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html, read 2026-11;
  https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html for `stopCode`, own knowledge).
- EBS: a volume whose snapshot failed, until one succeeds
  (https://docs.aws.amazon.com/ebs/latest/userguide/ebs-cloud-watch-events.html; own knowledge).
- DMS: a task, or a replication without servers, that failed or stopped, until it is started; what else happens to it
  is a Notice (https://docs.aws.amazon.com/dms/latest/userguide/CHAP_EventBridge.html; own knowledge).
- Scans of images and machines, by ECR and Inspector: a repository, or a machine, as bad as the worst that is found, for
  an image never gets better, a later one does; nothing found ends it
  (https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html,
  https://docs.aws.amazon.com/inspector/latest/user/eventbridge-integration.html; read 2026-11).
- GuardDuty's scan of an object of S3: one problem unless NO_THREATS_FOUND
  (https://docs.aws.amazon.com/guardduty/latest/ug/monitor-with-eventbridge-s3-malware-protection.html; read in part).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bridge.sources.absent import key_of, text_of
from bridge.sources.body import block_at
from bridge.sources.fields import spelled, words
from bridge.sources.texts import identity, texts_in

Told = tuple[Mapping[str, Any], ...]
Reader = Callable[[Mapping[str, Any], Mapping[str, Any]], Told | str | None]
"""Of an event and its detail: its problems, why it has none, or None where it cannot be read."""

WENT_WELL = words("SUCCEEDED SUCCESS SUCCEED COMPLETED TERMINATED")
_UNDER_WAY = words(
    "STARTED RESUMED IN_PROGRESS STOPPING STOPPED CANCELED CANCELLED SUPERSEDED"
    " START STOP READY CREATED QUEUED INPROGRESS"  # of CodeDeploy
    " STARTING RUNNING"  # of Glue
    " PENDING ABORTING"  # of Backup
    " SUBMITTED RUNNABLE"  # of Batch
    " LAUNCHING PREPARING TRANSFERRING VERIFYING"  # of DataSync
    " BOOTSTRAPPING WAITING TERMINATING INTERRUPTED"  # of EMR
    " PROVISIONING CANCELLING"  # of Amplify
)
_WORST_FIRST = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL", "UNDEFINED", "UNTRIAGED")
_CONTAINERS_MAX = 100
_STOPPED_ON_PURPOSE = ("UserInitiated", "ServiceSchedulerInitiated", "SpotInterruption", "TerminationNotice")
_TOLD_TO_END = (0, 128 + 15, 128 + 9)  # by itself, by SIGTERM, and by SIGKILL later


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
        "title": f"{service} {name.split(':', 5)[-1] if name.startswith('arn:') else name}",
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


def _backup(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    return _run(event, "Backup", key_of(detail.get("resourceArn")), state_of(detail, "state"), _why(detail))


def _copy(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    return _run(event, "Backup copy", key_of(detail.get("resourceArn")), state_of(detail, "state"), _why(detail))


def _restore(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    return _run(event, "Restore", key_of(detail.get("restoreJobId")), state_of(detail, "status"), _why(detail))


def _snapshot(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    return _run(event, "Snapshot", key_of(detail.get("source")), state_of(detail, "result"), detail.get("cause"))


def _batch(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    queue, job = key_of(detail.get("jobQueue")), key_of(detail.get("jobName"))
    name = f"{queue.rpartition('/')[2]}/{job}" if queue and job else job
    return _run(event, "Batch", name, state_of(detail, "status"), detail.get("statusReason"))


def _transfer(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    resources = texts_in(event.get("resources"))
    task = resources[0].partition("/execution/")[0].rpartition(":")[2] if resources else None
    return _run(event, "DataSync", task, state_of(detail, "State"), None)


def _cluster(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    name = key_of(detail.get("name")) or key_of(detail.get("clusterId"))
    return _run(event, "EMR", name, state_of(detail, "state"), detail.get("message"))


def _step(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    cluster, step = key_of(detail.get("clusterId")), key_of(detail.get("name"))
    name = f"{cluster}/{step}" if cluster and step else None
    return _run(event, "EMR step", name, state_of(detail, "state"), detail.get("message"))


def _training(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    """A job of SageMaker, which begins the names of what it tells with its kind."""
    for kind in ("Training", "Processing", "Transform"):
        if (name := key_of(detail.get(f"{kind}JobName"))) is not None:
            state = state_of(detail, f"{kind}JobStatus")
            return _run(event, f"SageMaker {kind.lower()}", name, state, detail.get("FailureReason"))
    return None


def _branch(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    app, branch = key_of(detail.get("appId")), key_of(detail.get("branchName"))
    name = f"{app}/{branch}" if app and branch else None
    return _run(event, "Amplify", name, state_of(detail, "jobStatus"), detail.get("jobId"))


def _why(detail: Mapping[str, Any]) -> Any:
    return detail.get("statusMessage")


def _task(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    """A task of ECS, by what it is a task of."""
    group, state = key_of(detail.get("group")), state_of(detail, "lastStatus")
    if group is None or state is None:
        return None
    code, why = text_of(detail.get("stopCode")), text_of(detail.get("stoppedReason")) or ""
    if state != "STOPPED" or (code in _STOPPED_ON_PURPOSE and "failed" not in why.lower()):
        return (
            f"a task of {group} is {state}{f' ({code})' if code else ''}: that is neither a failure nor an end of one"
        )
    containers, cluster = _objects(detail.get("containers")), key_of(detail.get("clusterArn")) or ""
    codes = [code for one in containers if isinstance(code := one.get("exitCode"), int)]
    told = {
        "fingerprint": identity("task", *where_of(event), cluster, group),
        "title": f"ECS {group} ({cluster.rpartition('/')[2]})",
        "status": "resolved" if _ended_well(containers) else "firing",
        "description": "; ".join(text for text in (why, *(text_of(one.get("reason")) for one in containers)) if text),
        "labels": {
            "cluster": cluster,
            "group": group,
            "task": detail.get("taskArn"),
            "stop_code": code,
            "exit_codes": ",".join(map(str, codes)),
        },
    }
    return (told,)


def _ended_well(containers: Sequence[Mapping[str, Any]]) -> bool:
    """One ended with 0, and none by itself with another code. Which are essential, nobody says."""
    codes = [one.get("exitCode") for one in containers]
    return 0 in codes and all(
        one.get("exitCode") in _TOLD_TO_END and text_of(one.get("reason")) is None for one in containers
    )


def _replication(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    """A task of DMS, or a replication of its own kind."""
    resources, what = texts_in(event.get("resources")), state_of(detail, "eventType")
    if what is None or not resources:
        return None
    name, how = resources[0].rpartition(":")[2], what.rpartition("_")[2]
    is_failure = spelled(text_of(detail.get("category")) or "") == "failure"
    if how not in ("STARTED", "STOPPED", "FAILED") and not is_failure:
        return f"{what} of {name} says neither that it works nor that it fails"
    told = {
        "fingerprint": identity("replication", *resources),
        "title": f"DMS {name}",
        "status": "resolved" if how == "STARTED" else "firing",
        "description": text_of(detail.get("detailMessage")) or what,
        "labels": {"name": name, "state": what},
    }
    return (told,)


def _scan(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    """What a scan of ECR or Inspector found."""
    resources, state = texts_in(event.get("resources")), state_of(detail, "scan-status")
    if state is None or not resources:
        return None
    name = resources[0].rpartition(":")[2].removeprefix("repository/")
    if state == "ACTIVE":  # of Inspector: it is watched from now on
        return f"the scan of {name} goes on"
    counts = block_at(detail, "finding-severity-counts")
    found = {one: number for one in _WORST_FIRST if type(number := counts.get(one)) is int and number > 0}
    told = {
        "fingerprint": identity("scan", *where_of(event), resources[0]),
        "title": f"Scan of {name}: {', '.join(f'{number} {one.lower()}' for one, number in found.items()) or state}",
        "status": "resolved" if state.endswith("COMPLETE") and not found else "firing",
        "severity": next(iter(found), None),
        "labels": {
            "resource": resources[0],
            "image_digest": detail.get("image-digest"),
            "image_tags": ",".join(texts_in(detail.get("image-tags"))),
            "state": state,
        },
    }
    return (told,)


def _object_scan(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Told | str | None:
    """What GuardDuty found in an object of S3."""
    at = block_at(detail, "s3ObjectDetails")
    bucket, key = key_of(at.get("bucketName")), key_of(at.get("objectKey"))
    result = state_of(block_at(detail, "scanResultDetails"), "scanResultStatus")
    if bucket is None or key is None or result is None:
        return None
    threats = [text_of(one.get("name")) for one in _objects(block_at(detail, "scanResultDetails").get("threats"))]
    told = {
        "fingerprint": identity("object", *where_of(event), bucket, key),
        "title": f"Malware scan of {bucket}/{key}: {result}",
        "status": "resolved" if result == "NO_THREATS_FOUND" else "firing",
        "description": ", ".join(name for name in threats if name) or result,
        "labels": {"bucket": bucket, "object": key, "result": result},
    }
    return (told,)


def _objects(values: Any) -> list[Mapping[str, Any]]:
    return [one for one in values[:_CONTAINERS_MAX] if isinstance(one, dict)] if isinstance(values, list) else []


RUNS: Mapping[str, Reader] = {
    "Amplify Deployment Status Change": _branch,
    "Backup Job State Change": _backup,
    "Batch Job State Change": _batch,
    "CodeBuild Build State Change": _build,
    "CodeDeploy Deployment State-change Notification": _deployment,
    "CodePipeline Pipeline Execution State Change": _pipeline,
    "Copy Job State Change": _copy,
    "DMS Replication State Change": _replication,
    "DMS Replication Task State Change": _replication,
    "DataSync Task Execution State Change": _transfer,
    "ECR Image Scan": _scan,
    "ECS Task State Change": _task,
    "EBS Snapshot Notification": _snapshot,
    "EMR Cluster State Change": _cluster,
    "EMR Step Status Change": _step,
    "Glue Job State Change": _job,
    "GuardDuty Malware Protection Object Scan Result": _object_scan,
    "Inspector2 Scan": _scan,
    "Restore Job State Change": _restore,
    "SageMaker Processing Job State Change": _training,
    "SageMaker Training Job State Change": _training,
    "SageMaker Transform Job State Change": _training,
}
