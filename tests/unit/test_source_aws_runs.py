"""What runs at AWS: a run that failed is a problem of what runs, and the next one that goes well ends it."""

from collections.abc import Callable
from typing import Any

import pytest

from bridge.domain.alert import Alert, Notice, Severity, Status
from tests.unit.test_source_aws_sns import event, in_envelope, readings_of

REGION = "eu-central-1:210987654321"
VOLUME = f"arn:aws:ec2:{REGION}:volume/vol-7"
CLUSTER = f"arn:aws:ecs:{REGION}:cluster/prod"
Event = dict[str, Any]


def reading_of(told: Event) -> Any:
    (reading,) = readings_of(told)
    return reading


def backup(state: str, /, **changes: Any) -> Event:
    told = {"backupJobId": f"J-{state}", "resourceArn": VOLUME, "state": state, "statusMessage": "no vault"}
    return event("Backup Job State Change", **{**told, **changes})


def copy(state: str) -> Event:
    return event("Copy Job State Change", copyJobId=f"C-{state}", resourceArn=VOLUME, state=state)


def restore(state: str) -> Event:
    return event("Restore Job State Change", restoreJobId="R-1", status=state)


def batch(state: str) -> Event:
    queue = f"arn:aws:batch:{REGION}:job-queue/nights"
    return event("Batch Job State Change", jobName="bills", jobId=f"b-{state}", jobQueue=queue, status=state)


def transfer(state: str) -> Event:
    told = event("DataSync Task Execution State Change", State=state)
    return {**told, "resources": [f"arn:aws:datasync:{REGION}:task/task-1/execution/exec-{state}"]}


def cluster(state: str) -> Event:
    return event("EMR Cluster State Change", clusterId=f"j-{state}", name="reports", state=state, message="m")


def step(state: str) -> Event:
    return event("EMR Step Status Change", clusterId="j-1", stepId=f"s-{state}", name="load", state=state)


def training(state: str) -> Event:
    return event("SageMaker Training Job State Change", TrainingJobName="fit", TrainingJobStatus=state)


def branch(state: str) -> Event:
    return event("Amplify Deployment Status Change", appId="d7", branchName="main", jobId=state, jobStatus=state)


def snapshot(result: str) -> Event:
    return event("EBS Snapshot Notification", event="createSnapshot", result=result, source=VOLUME, cause="quota")


def replication(what: str) -> Event:
    told = event("DMS Replication Task State Change", eventType=f"REPLICATION_TASK_{what}", category="StateChange")
    return {**told, "resources": [f"arn:aws:dms:{REGION}:task:T7"]}


RUNS: list[tuple[Callable[[str], Event], str, str, str, str]] = [
    (backup, "FAILED", "COMPLETED", "RUNNING", "Backup volume/vol-7"),
    (backup, "EXPIRED", "COMPLETED", "CREATED", "Backup volume/vol-7"),
    (backup, "ABORTED", "COMPLETED", "ABORTING", "Backup volume/vol-7"),
    (copy, "FAILED", "COMPLETED", "CREATED", "Backup copy volume/vol-7"),
    (restore, "FAILED", "COMPLETED", "PENDING", "Restore R-1"),
    (batch, "FAILED", "SUCCEEDED", "RUNNABLE", "Batch nights/bills"),
    (transfer, "ERROR", "SUCCESS", "TRANSFERRING", "DataSync task/task-1"),
    (cluster, "TERMINATED_WITH_ERRORS", "TERMINATED", "BOOTSTRAPPING", "EMR reports"),
    (step, "FAILED", "COMPLETED", "PENDING", "EMR step j-1/load"),
    (training, "Failed", "Completed", "InProgress", "SageMaker training fit"),
    (branch, "FAILED", "SUCCEED", "STARTED", "Amplify d7/main"),
    (replication, "FAILED", "STARTED", "CREATED", "DMS T7"),
    (replication, "STOPPED", "STARTED", "MODIFIED", "DMS T7"),
]


@pytest.mark.parametrize(("run", "fails", "ends", "goes_on", "title"), RUNS)
def test_a_run_that_failed_is_over_once_one_goes_well_and_one_under_way_pages_nobody(
    run: Callable[[str], Event], fails: str, ends: str, goes_on: str, title: str
) -> None:
    failed, over = reading_of(run(fails)), reading_of(run(ends))
    assert (failed.status, failed.title) == (Status.FIRING, title)
    assert (over.status, over.fingerprint) == (Status.RESOLVED, failed.fingerprint)
    assert isinstance(reading_of(run(goes_on)), Notice)
    (enveloped,) = readings_of(in_envelope(run(fails)))
    assert enveloped.fingerprint == failed.fingerprint


@pytest.mark.parametrize("run", [backup, copy, restore, batch, transfer, cluster, step, training, branch, snapshot])
def test_a_state_that_nobody_knows_pages(run: Callable[[str], Event]) -> None:
    assert reading_of(run("WENT_ASTRAY")).status is Status.FIRING


def test_what_of_dms_fails_pages_whatever_it_is_called() -> None:
    told = replication("WENT_ASTRAY")
    assert isinstance(reading_of(told), Notice)
    assert reading_of({**told, "detail": {**told["detail"], "category": "Failure"}}).status is Status.FIRING


def test_a_snapshot_that_succeeds_ends_what_a_failed_one_of_its_volume_opened() -> None:
    failed, over = reading_of(snapshot("failed")), reading_of(snapshot("succeeded"))
    assert (failed.status, failed.title, failed.description) == (
        Status.FIRING,
        "Snapshot volume/vol-7",
        "FAILED: quota",
    )
    assert (over.status, over.fingerprint) == (Status.RESOLVED, failed.fingerprint)


def test_a_backup_tells_why_and_another_volume_is_another_problem() -> None:
    failed = reading_of(backup("FAILED"))
    assert failed.description == "FAILED: no vault"
    assert reading_of(backup("FAILED", resourceArn=f"{VOLUME}8")).fingerprint != failed.fingerprint
    assert reading_of(copy("FAILED")).fingerprint != failed.fingerprint


@pytest.mark.parametrize(
    "lacks",
    [backup("FAILED", resourceArn=None), backup("FAILED", state=""), {**transfer("ERROR"), "resources": []}],
)
def test_a_run_of_nothing_that_can_be_read_pages(lacks: Event) -> None:
    assert reading_of(lacks).status is Status.FIRING


# -- tasks of ECS


def task(*codes: int | None, stop: str | None = "EssentialContainerExited", **changes: Any) -> Event:
    told = {
        "clusterArn": CLUSTER,
        "group": "family:bills",
        "lastStatus": "STOPPED",
        "stoppedReason": "Essential container in task exited",
        "taskArn": f"arn:aws:ecs:{REGION}:task/prod/{codes}",
        "containers": [{"name": f"c{place}", "exitCode": code} for place, code in enumerate(codes)],
    }
    return event("ECS Task State Change", **{**told, "stopCode": stop, **changes})


def test_a_task_that_ended_badly_is_a_problem_of_its_family_until_one_ends_well() -> None:
    failed, over = reading_of(task(1)), reading_of(task(0))
    assert (failed.status, failed.title) == (Status.FIRING, "ECS family:bills (prod)")
    assert failed.labels["exit_codes"] == "1"
    assert (over.status, over.fingerprint) == (Status.RESOLVED, failed.fingerprint)
    assert reading_of(task(1, group="service:web")).fingerprint != failed.fingerprint


@pytest.mark.parametrize("codes", [(0,), (0, 0), (0, 143), (137, 0)])
def test_a_task_ends_well_though_those_beside_it_were_told_to_end(codes: tuple[int, ...]) -> None:
    assert reading_of(task(*codes)).status is Status.RESOLVED


@pytest.mark.parametrize("codes", [(), (None,), (143,), (137,), (0, 1), (0, None), (255, 0)])
def test_a_task_of_which_one_failed_or_none_ended_well_pages(codes: tuple[int, ...]) -> None:
    assert reading_of(task(*codes)).status is Status.FIRING


def test_a_container_that_used_up_its_memory_pages_beside_one_that_ended_well() -> None:
    told = task(0, 137)
    told["detail"]["containers"][1]["reason"] = "OutOfMemoryError: Container killed"
    failed = reading_of(told)
    assert failed.status is Status.FIRING
    assert "OutOfMemoryError" in failed.description


@pytest.mark.parametrize("stop", ["UserInitiated", "ServiceSchedulerInitiated", "SpotInterruption"])
def test_a_task_that_was_stopped_on_purpose_pages_nobody_unless_it_failed_its_check(stop: str) -> None:
    assert isinstance(reading_of(task(137, stop=stop, stoppedReason="Scaling activity")), Notice)
    assert reading_of(task(137, stop=stop, stoppedReason="Task failed ELB health checks")).status is Status.FIRING


@pytest.mark.parametrize("stop", [None, "TaskFailedToStart", "SomethingNew"])
def test_a_task_that_stopped_for_any_other_reason_pages(stop: str | None) -> None:
    assert reading_of(task(stop=stop)).status is Status.FIRING


@pytest.mark.parametrize("state", ["PROVISIONING", "RUNNING", "DEPROVISIONING"])
def test_a_task_that_has_not_stopped_pages_nobody(state: str) -> None:
    assert isinstance(reading_of(task(lastStatus=state, stop=None)), Notice)


# -- scans


def scan(kind: str, state: str, /, **found: Any) -> Event:
    told = {"scan-status": state, "finding-severity-counts": found, "image-tags": ["v7"], "image-digest": str(found)}
    return {**event(kind, **told), "resources": [f"arn:aws:ecr:{REGION}:repository/shop/web"]}


@pytest.mark.parametrize(
    ("kind", "state"), [("ECR Image Scan", "COMPLETE"), ("Inspector2 Scan", "INITIAL_SCAN_COMPLETE")]
)
def test_a_scan_is_as_bad_as_the_worst_it_found_and_nothing_found_ends_it(kind: str, state: str) -> None:
    bad, mild = reading_of(scan(kind, state, HIGH=3, LOW=2, TOTAL=5)), reading_of(scan(kind, state, LOW=1))
    clean = reading_of(scan(kind, state, CRITICAL=0, TOTAL=0))
    assert (bad.status, bad.severity, bad.title) == (Status.FIRING, Severity.ERROR, "Scan of shop/web: 3 high, 2 low")
    assert mild.severity is Severity.INFO
    assert clean.status is Status.RESOLVED
    assert bad.fingerprint == mild.fingerprint == clean.fingerprint
    assert bad.labels["image_tags"] == "v7"


def test_a_scan_that_failed_pages_and_one_that_goes_on_does_not() -> None:
    assert reading_of(scan("ECR Image Scan", "FAILED")).status is Status.FIRING
    assert isinstance(reading_of(scan("Inspector2 Scan", "ACTIVE")), Notice)


@pytest.mark.parametrize("odd", [{"HIGH": "3"}, {"HIGH": True, "X": 1}, {"HIGH": None}])
def test_counts_that_are_no_numbers_break_nothing(odd: dict[str, Any]) -> None:
    read = reading_of(scan("ECR Image Scan", "COMPLETE", **odd))
    assert isinstance(read, Alert)
    assert (read.status, read.title) == (Status.RESOLVED, "Scan of shop/web: COMPLETE")


def object_scan(result: str, threats: Any = None) -> Event:
    told = {"scanResultStatus": result, "threats": threats}
    at = {"bucketName": "uploads", "objectKey": "a/b.pdf"}
    kind = "GuardDuty Malware Protection Object Scan Result"
    return event(kind, scanStatus="COMPLETED", s3ObjectDetails=at, scanResultDetails=told)


def test_an_object_without_threats_pages_nobody_and_one_with_them_does() -> None:
    found = reading_of(object_scan("THREATS_FOUND", [{"name": "EICAR"}, 7]))
    clean = reading_of(object_scan("NO_THREATS_FOUND"))
    assert (found.status, found.description) == (Status.FIRING, "EICAR")
    assert found.title == "Malware scan of uploads/a/b.pdf: THREATS_FOUND"
    assert (clean.status, clean.fingerprint) == (Status.RESOLVED, found.fingerprint)
    assert reading_of(object_scan("ACCESS_DENIED")).status is Status.FIRING


# -- what tells of a state, not of runs


def check(status: str, **changes: Any) -> Event:
    item = {"Status": "Yellow", "Region": "eu-central-1", "Service": "EBS", "Limit Name": "Active volumes"}
    told = {"check-name": "Service Limits", "check-item-detail": item, "status": status, "uuid": f"u-{status}"}
    return event("Trusted Advisor Check Item Refresh Notification", **{**told, "resource_id": "", **changes})


def test_a_check_of_trusted_advisor_is_one_problem_from_warn_to_ok() -> None:
    warns, fails, over = (reading_of(check(status)) for status in ("WARN", "ERROR", "OK"))
    assert (warns.severity, fails.severity) == (Severity.WARNING, Severity.ERROR)
    assert warns.fingerprint == fails.fingerprint == over.fingerprint
    assert (warns.status, over.status) == (Status.FIRING, Status.RESOLVED)
    assert warns.title == "Service Limits: eu-central-1/EBS/Active volumes"
    assert reading_of(check("WARN", resource_id="arn:7")).fingerprint != warns.fingerprint
    assert isinstance(reading_of(check("INFO")), Notice)


def scaling(kind: str, instance: str) -> Event:
    told = {"AutoScalingGroupName": "web", "EC2InstanceId": instance, "StatusMessage": "no capacity"}
    return event(f"EC2 Instance {kind}", **told)


def test_what_auto_scaling_could_not_do_is_one_problem_of_its_group_and_what_it_did_is_none() -> None:
    first, second = (reading_of(scaling("Launch Unsuccessful", instance)) for instance in ("i-1", "i-2"))
    assert first.fingerprint == second.fingerprint
    assert (first.status, first.description) == (Status.FIRING, "no capacity")
    assert isinstance(reading_of(scaling("Launch Successful", "i-1")), Notice)
    assert reading_of(scaling("Terminate Unsuccessful", "i-1")).fingerprint != first.fingerprint
