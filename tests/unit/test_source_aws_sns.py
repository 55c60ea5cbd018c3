"""Amazon SNS: signatures of both versions, whose address is asked for what, and alarms that keep their identity."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.domain.errors import SignatureError, Unverifiable
from bridge.sources.aws_sns import SIGNATURE, TOLERANCE, AwsSns
from bridge.sources.base import AsksCertificates, BearerAuth, Confirms, NoAuth, SignatureAuth
from tests.receiving import told_as_it_is

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
TOPIC = "arn:aws:sns:eu-central-1:210987654321:production-alarms"
CERTIFICATE_URL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0a1b.pem"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
NAMES = st.text(min_size=1, max_size=40).filter(told_as_it_is)
ORDER = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


def pem_of(key: Any, begins: datetime = NOW - timedelta(days=1), days: int = 30) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=days))
    )
    return built.sign(key, SHA256()).public_bytes(Encoding.PEM)


PEM = pem_of(KEY)


def message(kind: str = "Notification", **changes: Any) -> dict[str, Any]:
    """An envelope of SNS, not signed yet."""
    plain: dict[str, Any] = {
        "Type": kind,
        "MessageId": "5d3c8a10-11aa-5b0e-8f6d-000000000001",
        "TopicArn": TOPIC,
        "Message": "The queue is stuck: 東京",
        "Timestamp": NOW.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "SigningCertURL": CERTIFICATE_URL,
        "SignatureVersion": "2",
    }
    if kind == "SubscriptionConfirmation":
        url = f"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=t0"
        plain |= {"Token": "t0", "SubscribeURL": url}
    return {**plain, **changes}


def signed(envelope: dict[str, Any], key: Any = KEY) -> dict[str, Any]:
    text = "".join(f"{name}\n{envelope[name]}\n" for name in ORDER[envelope["Type"]] if name in envelope)
    digest = SHA256() if envelope["SignatureVersion"] == "2" else SHA1()
    signature = key.sign(text.encode(), PKCS1v15(), digest)
    return {**envelope, "Signature": base64.b64encode(signature).decode()}


def webhook_of(body: Any, **headers: str) -> Webhook:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    kept = {name.replace("_", "-"): value for name, value in headers.items()}
    return Webhook(source="aws", headers={"content-type": "text/plain", **kept}, body=content, received_at=NOW)


@dataclass
class Amazon:
    """Who is asked for certificates, and which were."""

    pem: bytes | None = PEM
    asked: list[str] = field(default_factory=list)

    def certificate(self, url: str) -> bytes | None:
        self.asked.append(url)
        return self.pem

    def source(self, topics: tuple[str, ...] = (TOPIC,)) -> AwsSns:
        auth = SignatureAuth(kind=SIGNATURE, secrets=())
        return AwsSns(name="aws", auth=auth, topics=topics, certificate=self.certificate)


def readings_of(body: Any, **headers: str) -> tuple[Any, ...]:
    return AwsSns(name="aws", auth=NoAuth()).alerts_in(webhook_of(body, **headers))


def alarm(state: str = "ALARM", **changes: Any) -> dict[str, Any]:
    plain = {
        "AlarmName": "cpu",
        "AlarmArn": "arn:aws:cloudwatch:eu-central-1:210987654321:alarm:cpu",
        "AWSAccountId": "210987654321",
        "Region": "EU (Frankfurt)",
        "NewStateValue": state,
        "StateChangeTime": "2026-01-05T11:59:00.000+0000",
    }
    return {**plain, **changes}


def in_envelope(inner: Mapping[str, Any]) -> dict[str, Any]:
    return message(Message=json.dumps(inner))


# -- signatures


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("kind", ["Notification", "SubscriptionConfirmation"])
def test_a_signed_message_is_accepted_with_its_certificate(kind: str, version: str) -> None:
    amazon = Amazon()
    amazon.source().verify(webhook_of(signed(message(kind, SignatureVersion=version))))
    assert amazon.asked == [CERTIFICATE_URL]


def test_a_subject_is_signed_when_there_is_one() -> None:
    envelope = signed(message(Subject="Queue"))
    Amazon().source().verify(webhook_of(envelope))
    with pytest.raises(SignatureError, match="signature wrong"):
        Amazon().source().verify(webhook_of({**envelope, "Subject": "Another"}))


@pytest.mark.parametrize("name", ["Message", "MessageId", "Timestamp", "TopicArn"])
def test_a_changed_message_is_refused(name: str) -> None:
    other = {"Timestamp": "2026-01-05T11:59:59.000Z", "TopicArn": TOPIC + "2"}.get(name, "changed")
    source = Amazon().source(topics=(TOPIC, TOPIC + "2"))
    with pytest.raises(SignatureError, match="signature wrong"):
        source.verify(webhook_of({**signed(message()), name: other}))


def test_a_signature_under_another_key_is_refused() -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(SignatureError, match="signature wrong"):
        Amazon().source().verify(webhook_of(signed(message(), other)))


@pytest.mark.parametrize(
    ("pem", "check"),
    [
        (b"not a certificate", "unreadable"),
        (b"", "unreadable"),
        (None, "no signing certificate"),
        (pem_of(ec.generate_private_key(ec.SECP256R1())), "no RSA key"),
        (pem_of(KEY, begins=NOW - timedelta(days=60)), "not valid now"),
        (pem_of(KEY, begins=NOW + timedelta(days=1)), "not valid now"),
    ],
)
def test_a_certificate_that_is_none_or_over_proves_nothing(pem: bytes | None, check: str) -> None:
    with pytest.raises(SignatureError, match=check):
        Amazon(pem=pem).source().verify(webhook_of(signed(message())))


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-central-1.amazonaws.com/a.pem",
        "https://sns.eu-central-1.amazonaws.com.example.net/a.pem",
        "https://example.net/sns.eu-central-1.amazonaws.com/a.pem",
        "https://sns.eu-central-1.amazonaws.com@example.net/a.pem",
        "https://example.net#@sns.eu-central-1.amazonaws.com/a.pem",
        "https://example.net\\@sns.eu-central-1.amazonaws.com/a.pem",
        "https://sns.eu-central-1.amazonaws.com:8443/a.pem",
        "https://s3.eu-central-1.amazonaws.com/a.pem",
        "https://sns.eu-central-1.amazonaws.com/a.txt",
        "https://sns.eu-central-1.amazonaws.com/deep/a.pem",
        "https://sns.eu-central-1.amazonaws.com/",
        "https://[sns/a.pem",
        "https://sns.eu-central-1.amazonaws.com/a.pem\n",
        "",
    ],
)
def test_a_certificate_from_anywhere_else_is_not_asked_for(url: str) -> None:
    amazon = Amazon()
    with pytest.raises(SignatureError, match="certificate is not Amazon's"):
        amazon.source().verify(webhook_of(signed(message(SigningCertURL=url))))
    assert amazon.asked == []


def test_a_certificate_of_china_is_amazons_too() -> None:
    amazon = Amazon()
    url = "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-0a1b.pem"
    amazon.source().verify(webhook_of(signed(message(SigningCertURL=url))))
    assert amazon.asked == [url]


@pytest.mark.parametrize("body", [message(TopicArn=TOPIC + "x"), message(TopicArn=None), {"title": "x"}, b"{", b"[]"])
def test_another_topic_is_refused_before_anything_is_fetched(body: Any) -> None:
    amazon = Amazon()
    content = signed(body) if isinstance(body, dict) and body.get("Type") and body["TopicArn"] else body
    with pytest.raises(SignatureError):
        amazon.source().verify(webhook_of(content))
    assert amazon.asked == []


@pytest.mark.parametrize(
    "changes",
    [
        {"SignatureVersion": "3"},
        {"SignatureVersion": None},
        {"Signature": None},
        {"Signature": "no base64!"},
        {"SigningCertURL": None},
        {"Type": "Something"},
        {"Message": None},
        {"Message": {"an": "object"}},
    ],
)
def test_a_message_that_is_not_signed_as_sns_signs_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SignatureError):
        Amazon().source().verify(webhook_of({**signed(message()), **changes}))


@pytest.mark.parametrize("age", [TOLERANCE + timedelta(seconds=2), -TOLERANCE - timedelta(seconds=2)])
def test_a_stale_message_is_refused(age: timedelta) -> None:
    at = (NOW - age).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    with pytest.raises(SignatureError, match="too old or from the future"):
        Amazon().source().verify(webhook_of(signed(message(Timestamp=at))))


def test_a_retry_of_an_hour_ago_is_accepted() -> None:
    at = (NOW - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    Amazon().source().verify(webhook_of(signed(message(Timestamp=at))))


def test_every_record_of_lambda_is_checked() -> None:
    def record(envelope: dict[str, Any]) -> dict[str, Any]:
        return {"Sns": {**envelope, "SigningCertUrl": envelope["SigningCertURL"], "SigningCertURL": None}}

    good, forged = record(signed(message())), record({**signed(message()), "Message": "changed"})
    Amazon().source().verify(webhook_of({"Records": [good, good]}))
    with pytest.raises(SignatureError):
        Amazon().source().verify(webhook_of({"Records": [good, forged]}))
    with pytest.raises(SignatureError):
        Amazon().source().verify(webhook_of({"Records": [good, 7]}))


def test_when_nobody_can_fetch_the_certificate_it_is_not_the_senders_fault() -> None:
    source = AwsSns(name="aws", auth=SignatureAuth(kind=SIGNATURE, secrets=()), topics=(TOPIC,))
    with pytest.raises(Unverifiable):
        source.verify(webhook_of(signed(message())))
    assert isinstance(source, AsksCertificates)
    source.asking(Amazon().certificate).verify(webhook_of(signed(message())))


def test_topics_bind_a_shared_secret_too() -> None:
    source = AwsSns(name="aws", auth=BearerAuth(secrets=("s3cret",)), topics=(TOPIC,))
    source.verify(webhook_of(message(), authorization="Bearer s3cret"))
    source.verify(webhook_of(b"raw text", authorization="Bearer s3cret", x_amz_sns_topic_arn=TOPIC))
    with pytest.raises(SignatureError, match="bearer"):
        source.verify(webhook_of(message()))
    with pytest.raises(SignatureError, match="topic"):
        source.verify(webhook_of(message(TopicArn=TOPIC + "x"), authorization="Bearer s3cret"))
    with pytest.raises(SignatureError, match="topic"):
        source.verify(webhook_of(b"raw text", authorization="Bearer s3cret"))


# -- subscriptions


def test_a_subscription_is_a_notice_that_wants_one_call() -> None:
    source = AwsSns(name="aws", auth=NoAuth())
    assert isinstance(source, Confirms)
    webhook = webhook_of(message("SubscriptionConfirmation"))
    (notice,) = source.alerts_in(webhook)
    assert isinstance(notice, Notice)
    assert (notice.fingerprint, notice.title) == (source.confirmations, TOPIC)
    assert not {"Token", "SubscribeURL", "Signature"} & notice.payload.keys()
    request = source.confirmation(webhook)
    assert request is not None
    assert (request.method, request.url) == ("GET", message("SubscriptionConfirmation")["SubscribeURL"])


@pytest.mark.parametrize(
    "url",
    [
        "https://example.net/?Action=ConfirmSubscription&Token=t",
        "http://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=t",
        "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe&Token=t",
        "https://sns.eu-central-1.amazonaws.com/path?Action=ConfirmSubscription&Token=t",
        "https://sns.eu-central-1.amazonaws.com@example.net/?Action=ConfirmSubscription",
        7,
        None,
    ],
)
def test_nothing_else_is_called(url: Any) -> None:
    source = AwsSns(name="aws", auth=NoAuth())
    webhook = webhook_of(message("SubscriptionConfirmation", SubscribeURL=url))
    assert source.confirmation(webhook) is None
    (notice,) = source.alerts_in(webhook)
    assert (type(notice), notice.fingerprint) == (Notice, None)


def test_the_end_of_a_subscription_is_not_taken_back() -> None:
    source = AwsSns(name="aws", auth=NoAuth())
    webhook = webhook_of(message("SubscriptionConfirmation") | {"Type": "UnsubscribeConfirmation"})
    assert source.confirmation(webhook) is None
    assert isinstance(source.alerts_in(webhook)[0], Notice)
    assert source.confirmation(webhook_of(message())) is None


# -- messages


@given(name=NAMES, other=NAMES)
def test_alarm_and_ok_share_their_fingerprint_and_two_alarms_do_not(name: str, other: str) -> None:
    def fingerprint(state: str, called: str) -> str:
        (alert,) = readings_of(in_envelope(alarm(state, AlarmName=called, AlarmArn=f"arn:aws:cloudwatch:r:1:{called}")))
        assert isinstance(alert, Alert)
        return alert.fingerprint

    assert fingerprint("ALARM", name) == fingerprint("OK", name)
    if " ".join(name.split()) != " ".join(other.split()) and name.isprintable() and other.isprintable():
        assert fingerprint("ALARM", name) != fingerprint("ALARM", other)


def test_each_alarm_begins_an_episode_and_its_ok_ends_any() -> None:
    first, second = (
        readings_of(in_envelope(alarm(StateChangeTime=f"2026-01-05T1{hour}:00:00.000+0000")))[0] for hour in (0, 1)
    )
    assert first.episode != second.episode
    (ok,) = readings_of(in_envelope(alarm("OK")))
    assert (ok.status, ok.episode) == (Status.RESOLVED, None)
    assert ok.ends_at == ok.reported_at == datetime(2026, 1, 5, 11, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("ALARM", Status.FIRING),
        ("OK", Status.RESOLVED),
        ("INSUFFICIENT_DATA", Status.FIRING),
        ("SOMETHING", Status.FIRING),
        (None, Status.FIRING),
    ],
)
def test_only_ok_ends_an_alarm(state: str | None, status: Status) -> None:
    (alert,) = readings_of(in_envelope(alarm(NewStateValue=state)))
    assert alert.status is status
    assert (alert.episode is None) == (state != "ALARM")


def test_an_alarm_is_one_problem_whichever_way_it_comes() -> None:
    event = {
        "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch",
        "resources": [alarm()["AlarmArn"]],
        "detail": {"alarmName": "cpu", "state": {"value": "ALARM", "timestamp": alarm()["StateChangeTime"]}},
    }
    ways = [in_envelope(alarm()), alarm(), event, in_envelope(event), {"Records": [{"Sns": in_envelope(alarm())}]}]
    found = [readings_of(way)[0] for way in ways]
    assert {alert.fingerprint for alert in found} == {"alarm:arn:aws:cloudwatch:eu-central-1:210987654321:alarm:cpu"}
    assert {alert.episode for alert in found} == {"2026-01-05T11:59:00.000+0000"}
    assert {alert.title for alert in found} == {"cpu"}


def of_series(series: str, table: str, state: str = "ALARM") -> tuple[dict[str, Any], dict[str, Any]]:
    """What SNS and EventBridge say of one time series of an alarm that watches several."""
    told = {"AlarmContributorId": series, "AlarmContributorAttributes": {"TableName": table}}
    event = {
        "detail-type": "CloudWatch Alarm Contributor State Change",
        "source": "aws.cloudwatch",
        "resources": [alarm()["AlarmArn"]],
        "detail": {
            "alarmName": "cpu",
            "alarmContributor": {"id": series, "attributes": {"TableName": table}},
            "state": {"value": state, "timestamp": alarm()["StateChangeTime"]},
        },
    }
    return alarm(state, **told), event


def test_each_time_series_of_an_alarm_is_a_problem_with_an_end_of_its_own() -> None:
    orders, pays, over = of_series("6d44", "orders"), of_series("ffff", "pays"), of_series("6d44", "orders", "OK")
    fired, other, ended = ({readings_of(way)[0].fingerprint for way in ways} for ways in (orders, pays, over))
    assert len(fired) == 1, "the same through SNS and EventBridge"
    assert fired == ended
    assert len(fired | other | {readings_of(alarm())[0].fingerprint}) == 3
    without_arn = {readings_of(one[0] | {"AlarmArn": None})[0].fingerprint for one in (orders, pays, over)}
    assert len(without_arn) == 2
    for (alert,) in map(readings_of, orders):
        assert (alert.title, alert.labels["TableName"]) == ("cpu (orders)", "orders")


@pytest.mark.parametrize("nobody", [None, ""])
def test_an_alarm_without_contributors_keeps_its_key(nobody: str | None) -> None:
    (alert,) = readings_of(alarm(AlarmContributorId=nobody, AlarmContributorAttributes=None))
    assert (alert.fingerprint, alert.title) == (readings_of(alarm())[0].fingerprint, "cpu")


def configured(operation: str, **changes: Any) -> dict[str, Any]:
    """What EventBridge says when somebody changes an alarm."""
    return {
        "detail-type": "CloudWatch Alarm Configuration Change",
        "source": "aws.cloudwatch",
        "time": "2026-01-05T11:59:30Z",
        "resources": [alarm()["AlarmArn"]],
        "detail": {
            "alarmName": "cpu",
            "operation": operation,
            "state": {"value": "ALARM", "timestamp": "2026-01-05T11:59:00.000+0000"},
            "configuration": {"description": "Too busy", "alarmName": "cpu"},
        },
        **changes,
    }


@pytest.mark.parametrize("operation", ["create", "update", "", None])
def test_an_alarm_that_is_made_or_edited_pages_nobody(operation: Any) -> None:
    for way in (configured(operation), in_envelope(configured(operation))):
        (notice,) = readings_of(way)
        assert (type(notice), notice.title) == (Notice, "cpu")
    assert notice.reason == f"the alarm's configuration changed ({operation or 'change'}), not its state"


def test_an_alarm_that_is_deleted_is_over() -> None:
    (fired,) = readings_of(alarm())
    (deleted,) = readings_of(configured("delete"))
    assert (deleted.status, deleted.fingerprint, deleted.episode) == (Status.RESOLVED, fired.fingerprint, None)
    assert deleted.reported_at == deleted.ends_at == datetime(2026, 1, 5, 11, 59, 30, tzinfo=UTC)
    assert (deleted.labels["state"], deleted.labels["old_state"]) == ("DELETED", "ALARM")
    assert deleted.description == "Too busy\n\nThe alarm was deleted."


def test_the_deletion_of_an_alarm_that_just_fired_is_not_stale() -> None:
    (fired,) = readings_of(alarm(StateChangeTime="2026-01-05T11:59:00.700+0000"))
    event = configured("delete", time="2026-01-05T11:59:00Z")
    event["detail"]["state"]["timestamp"] = "2026-01-05T11:59:00.700+0000"
    (deleted,) = readings_of(event)
    assert deleted.reported_at >= fired.reported_at


def test_a_deletion_that_tells_no_state_and_no_time_ends_the_alarm_too() -> None:
    (deleted,) = readings_of(configured("delete", time=None, detail={"alarmName": "cpu", "operation": "delete"}))
    assert (deleted.status, deleted.reported_at) == (Status.RESOLVED, None)


def health(status: str, told: str, at: str, **detail: Any) -> dict[str, Any]:
    """What EventBridge says of AWS itself; every update has an id, a time and words of its own."""
    return {
        "id": f"id-{at}",
        "detail-type": "AWS Health Event",
        "source": "aws.health",
        "account": "210987654321",
        "time": f"2026-01-05T{at}Z",
        "region": "eu-central-1",
        "detail": {
            "eventArn": "arn:aws:health:eu-central-1::event/EC2/AWS_EC2_OPERATIONAL_ISSUE/AWS_EC2_OPERATIONAL_ISSUE_7",
            "service": "EC2",
            "eventTypeCode": "AWS_EC2_OPERATIONAL_ISSUE",
            "eventTypeCategory": "issue",
            "communicationId": f"c-{at}",
            "eventRegion": "eu-central-1",
            "statusCode": status,
            "startTime": "Mon, 5 Jan 2026 09:00:00 GMT",
            "lastUpdatedTime": f"Mon, 5 Jan 2026 {at} GMT",
            "eventDescription": [{"language": "en_US", "latestDescription": told}],
            **detail,
        },
    }


def test_an_issue_of_aws_itself_is_one_problem_from_its_first_update_to_its_end() -> None:
    opened, updated = health("open", "We look into errors.", "10:00:00"), health("open", "We found it.", "10:30:00")
    closed = health("closed", "It is over.", "11:00:00", endTime="Mon, 5 Jan 2026 10:50:00 GMT")
    told = [readings_of(way)[0] for way in (opened, in_envelope(updated), closed)]
    assert len({alert.fingerprint for alert in told}) == 1
    assert [alert.status for alert in told] == [Status.FIRING, Status.FIRING, Status.RESOLVED]
    assert {alert.title for alert in told} == {"AWS_EC2_OPERATIONAL_ISSUE (eu-central-1)"}
    assert [alert.description for alert in told] == ["We look into errors.", "We found it.", "It is over."]
    assert told[0].labels["service"] == "EC2"
    assert told[0].payload == opened


def test_an_event_of_health_is_another_problem_for_each_account_it_affects() -> None:
    told = [readings_of(health("open", "x", "10:00:00", affectedAccount=one))[0] for one in ("111", "222", None)]
    assert len({alert.fingerprint for alert in told}) == 3


@pytest.mark.parametrize("told", [None, [], ["x"], [{"latestDescription": None}], "x", {"a": 1}])
def test_an_event_of_health_without_words_pages(told: Any) -> None:
    (alert,) = readings_of(health("upcoming", "x", "10:00:00", eventDescription=told, eventRegion=None))
    assert (alert.status, alert.title) == (Status.FIRING, "AWS_EC2_OPERATIONAL_ISSUE")


def scaling(event: str, group: str = "web", activity: str = "a-1") -> dict[str, Any]:
    arn = f"arn:aws:autoscaling:eu-central-1:210987654321:autoScalingGroup:7:autoScalingGroupName/{group}"
    told = {"Event": f"autoscaling:{event}", "AutoScalingGroupARN": arn, "ActivityId": activity, "RequestId": activity}
    return in_envelope({**told, "Service": "AWS Auto Scaling", "Description": f"Launching. {activity}"})


@pytest.mark.parametrize("event", ["TEST_NOTIFICATION", "EC2_INSTANCE_LAUNCH", "EC2_INSTANCE_TERMINATE"])
def test_what_auto_scaling_did_pages_nobody(event: str) -> None:
    assert isinstance(readings_of(scaling(event))[0], Notice)


def test_launches_of_a_group_that_fail_again_and_again_are_one_problem() -> None:
    first, again = (readings_of(scaling("EC2_INSTANCE_LAUNCH_ERROR", activity=one))[0] for one in ("a-1", "a-2"))
    assert first.status is Status.FIRING
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != readings_of(scaling("EC2_INSTANCE_LAUNCH_ERROR", "db"))[0].fingerprint
    assert first.fingerprint != readings_of(scaling("EC2_INSTANCE_TERMINATE_ERROR"))[0].fingerprint


@pytest.mark.parametrize(
    "told",
    [
        {"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "You have successfully subscribed"},
        {"notificationType": "Delivery", "mail": {"messageId": "m"}},
        {"eventType": "Open", "mail": {"messageId": "m"}},
    ],
)
def test_a_mail_of_ses_that_went_well_pages_nobody(told: dict[str, Any]) -> None:
    assert isinstance(readings_of(in_envelope(told))[0], Notice)
    assert isinstance(readings_of(in_envelope({**told, "notificationType": "Bounce", "eventType": "Bounce"}))[0], Alert)
    assert isinstance(readings_of(in_envelope({"eventType": "Open", "title": "Disk full"}))[0], Alert)


def event(kind: str, **detail: Any) -> dict[str, Any]:
    where = {"account": "210987654321", "region": "eu-central-1", "time": "2026-01-05T10:00:00Z"}
    return {"version": "0", "id": f"e-{detail}", "detail-type": kind, "source": "aws.any", **where, "detail": detail}


def pipeline(state: str, run: str = "r-1", name: str = "shop") -> dict[str, Any]:
    kind = "CodePipeline Pipeline Execution State Change"
    return event(kind, pipeline=name, state=state, **{"execution-id": run, "start-time": f"{run}", "version": 3})


def build(state: str, run: str = "r-1", name: str = "shop") -> dict[str, Any]:
    told = {"build-status": state, "project-name": name, "build-id": f"arn:build/{run}", "current-phase": "COMPLETED"}
    return event("CodeBuild Build State Change", **told)


def deployment(state: str, run: str = "r-1", name: str = "shop") -> dict[str, Any]:
    kind = "CodeDeploy Deployment State-change Notification"
    return event(kind, application="web", deploymentGroup=name, deploymentId=run, state=state)


def job(state: str, run: str = "r-1", name: str = "shop") -> dict[str, Any]:
    return event("Glue Job State Change", jobName=name, jobRunId=run, state=state, severity="ERROR", message="No disk")


@pytest.mark.parametrize("run", [pipeline, build, deployment, job])
def test_a_pipeline_or_build_that_fails_is_one_problem_until_a_later_run_succeeds(run: Any) -> None:
    failed, again, over = (
        readings_of(run(state, number))[0]
        for state, number in (("FAILED", "r-1"), ("FAILED", "r-2"), ("SUCCEEDED", "r-3"))
    )
    assert failed.fingerprint == again.fingerprint == over.fingerprint
    assert [one.status for one in (failed, again, over)] == [Status.FIRING, Status.FIRING, Status.RESOLVED]
    assert failed.fingerprint == readings_of(in_envelope(run("FAILED")))[0].fingerprint
    assert failed.fingerprint != readings_of(run("FAILED", name="other"))[0].fingerprint
    assert (failed.title.split()[-1].removeprefix("web/"), failed.labels["state"], failed.labels["region"]) == (
        "shop",
        "FAILED",
        "eu-central-1",
    )


def test_a_job_of_glue_tells_why_and_how_bad_and_a_deployment_that_succeeds_is_over() -> None:
    (failed,) = readings_of(in_envelope(job("FAILED")))
    assert (failed.title, failed.description, failed.severity) == ("Glue shop", "FAILED: No disk", Severity.ERROR)
    assert readings_of(deployment("SUCCESS"))[0].status is Status.RESOLVED
    assert readings_of(deployment("FAILURE"))[0].status is Status.FIRING


@pytest.mark.parametrize("lacks", [{"application": None}, {"deploymentGroup": ""}, {"state": None}])
def test_a_deployment_of_nothing_that_can_be_read_pages(lacks: dict[str, Any]) -> None:
    told = deployment("FAILURE")
    assert readings_of({**told, "detail": {**told["detail"], **lacks}})[0].status is Status.FIRING


def by_rule(told: dict[str, Any]) -> dict[str, Any]:
    """An event as a notification rule of the developer tools posts it."""
    kept = {name: told[name] for name in ("account", "region", "source", "time", "detail")}
    return {**kept, "detailType": told["detail-type"], "additionalAttributes": {}, "resources": ["arn:aws:any:1"]}


@pytest.mark.parametrize("run", [pipeline, build])
def test_a_notification_rule_tells_of_the_same_problem_as_the_event_it_is_made_of(run: Any) -> None:
    failed, over = (readings_of(in_envelope(by_rule(run(state))))[0] for state in ("FAILED", "SUCCEEDED"))
    (alert,) = readings_of(run("FAILED"))
    assert failed.fingerprint == over.fingerprint == alert.fingerprint
    assert (failed.status, failed.title) == (Status.FIRING, alert.title)
    assert over.status is Status.RESOLVED
    assert failed.payload["Message"]["detailType"] == failed.labels["event"]
    assert isinstance(readings_of(in_envelope(by_rule(run("STARTED"))))[0], Notice)


@pytest.mark.parametrize("broken", [{"detailType": None}, {"detail": "x"}, {"detail": {}}])
def test_a_notification_rule_that_tells_nothing_of_a_run_pages(broken: dict[str, Any]) -> None:
    (alert,) = readings_of(in_envelope({**by_rule(pipeline("FAILED")), **broken}))
    assert alert.status is Status.FIRING


@pytest.mark.parametrize("source", [None, "backups", 7])
def test_a_message_of_ones_own_with_a_detail_type_is_read_as_it_is(source: Any) -> None:
    own = {"detailType": "backup", "source": source, "id": "job-7", "status": "resolved", "detail": {"tables": 3}}
    (alert,) = readings_of(in_envelope(own))
    assert (alert.fingerprint, alert.status) == ("key:job-7", Status.RESOLVED)


@pytest.mark.parametrize("state", ["STARTED", "IN_PROGRESS", "SUPERSEDED", "STOPPED", "START", "READY", "RUNNING"])
@pytest.mark.parametrize("run", [pipeline, build, deployment, job])
def test_a_run_under_way_pages_nobody(run: Any, state: str) -> None:
    assert isinstance(readings_of(run(state))[0], Notice)
    assert readings_of(run("TIMED_OUT"))[0].status is Status.FIRING
    assert readings_of(run("a state of tomorrow"))[0].status is Status.FIRING


def finding(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "Id": f"arn:aws:securityhub:eu-central-1:210987654321:finding/{number}",
        "Title": "A bucket is public",
        "Severity": {"Label": "HIGH", "Normalized": 70},
        "Resources": [{"Type": "AwsS3Bucket", "Id": f"arn:aws:s3:::bucket-{number}"}],
        "Workflow": {"Status": "NEW"},
        "RecordState": "ACTIVE",
        "Compliance": {"Status": "FAILED"},
        "UpdatedAt": "2026-01-05T10:00:00Z",
        **changes,
    }


def test_each_finding_of_security_hub_is_a_problem() -> None:
    first, second = readings_of(event("Security Hub Findings - Imported", findings=[finding(1), finding(2)]))
    assert first.fingerprint != second.fingerprint
    assert (first.title, first.severity) == ("A bucket is public (arn:aws:s3:::bucket-1)", Severity.ERROR)
    assert (first.status, second.labels["resource_type"]) == (Status.FIRING, "AwsS3Bucket")


@pytest.mark.parametrize(
    "ends", [{"Workflow": {"Status": "RESOLVED"}}, {"RecordState": "ARCHIVED"}, {"Compliance": {"Status": "PASSED"}}]
)
def test_a_finding_that_is_done_with_is_over(ends: dict[str, Any]) -> None:
    told = [finding(1, **ends), finding(2)]
    over, other = readings_of(in_envelope(event("Security Hub Findings - Imported", findings=told)))
    (fired,) = readings_of(event("Security Hub Findings - Imported", findings=[finding(1)]))
    assert (over.status, other.status) == (Status.RESOLVED, Status.FIRING)
    assert over.fingerprint == fired.fingerprint


@pytest.mark.parametrize("findings", [None, [], ["x"], "x"])
def test_an_event_without_a_finding_that_can_be_read_pages(findings: Any) -> None:
    (alert,) = readings_of(event("Security Hub Findings - Imported", findings=findings))
    assert alert.status is Status.FIRING


def vulnerability(machine: str, status: Any = "ACTIVE", **changes: Any) -> dict[str, Any]:
    told = {
        "findingArn": f"arn:aws:inspector2:eu-central-1:210987654321:finding/of-{machine}",
        "title": "CVE-2026-0001 - libexample",
        "description": "A library reads past its end.",
        "severity": "CRITICAL",
        "status": status,
        "resources": [{"id": machine, "type": "AWS_EC2_INSTANCE"}],
        "updatedAt": "Mon Jan 05 10:00:36.951 UTC 2026",
    }
    return event("Inspector2 Finding", **{**told, **changes})


@pytest.mark.parametrize("end", ["CLOSED", "SUPPRESSED"])
def test_one_vulnerability_on_two_machines_is_two_problems_with_an_end_each(end: str) -> None:
    first, second, over, suspect = (
        readings_of(one)[0]
        for one in (
            vulnerability("i-1"),
            in_envelope(vulnerability("i-2")),
            vulnerability("i-1", end),
            vulnerability("i-2", None),
        )
    )
    assert first.fingerprint == over.fingerprint != second.fingerprint == suspect.fingerprint
    assert [one.status for one in (first, second, suspect)] == [Status.FIRING] * 3
    assert over.status is Status.RESOLVED
    assert (first.title, first.severity) == ("CVE-2026-0001 - libexample (i-1)", Severity.CRITICAL)
    assert first.labels["resource_type"] == "AWS_EC2_INSTANCE"


@pytest.mark.parametrize("broken", [{"resources": "x"}, {"resources": []}, {"findingArn": None}])
def test_a_finding_of_inspector_that_lacks_something_pages(broken: dict[str, Any]) -> None:
    (alert,) = readings_of(vulnerability("i-1", **broken))
    assert (alert.status, alert.title.split(" (")[0]) == (Status.FIRING, "CVE-2026-0001 - libexample")


def service(what: str, how: str = "INFO", name: str = "api", kind: str = "ECS Service Action") -> dict[str, Any]:
    told = event(kind, eventName=what, eventType=how, clusterArn="arn:cluster/prod", reason="why")
    return {**told, "resources": [f"arn:aws:ecs:eu-central-1:210987654321:service/prod/{name}"]}


def test_a_service_of_ecs_is_one_problem_until_it_is_steady_and_its_deployment_another() -> None:
    failed = service("SERVICE_DEPLOYMENT_FAILED", "ERROR", kind="ECS Deployment State Change")
    completed = service("SERVICE_DEPLOYMENT_COMPLETED", kind="ECS Deployment State Change")
    cannot, other, again, steady, broken, deployed = (
        readings_of(one)[0]
        for one in (
            service("SERVICE_TASK_START_IMPAIRED", "WARN"),
            in_envelope(service("SERVICE_TASK_START_IMPAIRED", "WARN", "web")),
            service("SERVICE_TASK_PLACEMENT_FAILURE", "ERROR"),
            in_envelope(service("SERVICE_STEADY_STATE")),
            failed,
            completed,
        )
    )
    assert cannot.fingerprint == again.fingerprint == steady.fingerprint
    assert broken.fingerprint == deployed.fingerprint
    assert len({one.fingerprint for one in (cannot, other, broken)}) == 3
    assert [one.severity for one in (cannot, again, broken)] == [Severity.WARNING, Severity.ERROR, Severity.ERROR]
    assert [one.status for one in (cannot, other, again, broken)] == [Status.FIRING] * 4
    assert [one.status for one in (steady, deployed)] == [Status.RESOLVED] * 2
    assert (cannot.title, broken.title) == ("ECS service prod/api", "ECS deployment prod/api")
    assert broken.description == "SERVICE_DEPLOYMENT_FAILED: why"


@pytest.mark.parametrize("what", ["TASKS_STOPPED", "SERVICE_DEPLOYMENT_IN_PROGRESS", "TASKSET_STEADY_STATE"])
def test_what_an_ecs_service_tells_for_information_pages_nobody(what: str) -> None:
    assert isinstance(readings_of(service(what))[0], Notice)
    assert readings_of(service(what, "ERROR"))[0].status is Status.FIRING


@pytest.mark.parametrize("lacks", [{"resources": []}, {"resources": "x"}, {"detail": {"eventType": "ERROR"}}])
def test_an_ecs_service_that_is_not_named_pages(lacks: dict[str, Any]) -> None:
    assert readings_of({**service("SERVICE_TASK_START_IMPAIRED", "WARN"), **lacks})[0].status is Status.FIRING


def compliance(state: Any, resource: Any = "sg-1") -> dict[str, Any]:
    told = {"configRuleName": "no-open-ports", "resourceType": "AWS::EC2::SecurityGroup", "resourceId": resource}
    return event("Config Rules Compliance Change", **told, newEvaluationResult={"complianceType": state})


def test_a_resource_that_breaks_a_rule_of_config_is_a_problem_until_it_keeps_to_it() -> None:
    broken, other = (readings_of(compliance("NON_COMPLIANT", one))[0] for one in ("sg-1", "sg-2"))
    kept, gone = (readings_of(in_envelope(compliance(one)))[0] for one in ("COMPLIANT", "NOT_APPLICABLE"))
    assert broken.fingerprint == kept.fingerprint == gone.fingerprint != other.fingerprint
    assert [one.status for one in (broken, kept, gone)] == [Status.FIRING, Status.RESOLVED, Status.RESOLVED]
    assert (broken.title, broken.labels["compliance"]) == ("sg-1 breaks the rule no-open-ports", "NON_COMPLIANT")
    assert isinstance(readings_of(compliance("INSUFFICIENT_DATA"))[0], Notice)
    for unclear in (compliance(None), compliance("NON_COMPLIANT", None), compliance("a word of tomorrow")):
        assert readings_of(unclear)[0].status is Status.FIRING


def execution(state: Any, name: Any = "e-1", **changes: Any) -> dict[str, Any]:
    arn = f"arn:aws:states:eu-central-1:210987654321:execution:nightly:{name}"
    told = {"executionArn": arn, "stateMachineArn": "arn:aws:states:eu-central-1:210987654321:stateMachine:nightly"}
    told |= {"name": name, "status": state, "startDate": 1_767_607_200_000, "stopDate": None, "cause": "No disk"}
    return event("Step Functions Execution Status Change", **{**told, **changes})


def test_an_execution_of_step_functions_is_a_problem_that_only_its_own_redrive_ends() -> None:
    failed, other, redriven = (
        readings_of(one)[0] for one in (execution("FAILED"), execution("TIMED_OUT", "e-2"), execution("SUCCEEDED"))
    )
    assert failed.fingerprint == redriven.fingerprint != other.fingerprint
    assert [one.status for one in (failed, other, redriven)] == [Status.FIRING, Status.FIRING, Status.RESOLVED]
    assert (failed.title, failed.description) == ("Step Functions nightly (e-1)", "FAILED: No disk")
    for no_failure in ("RUNNING", "PENDING_REDRIVE", "ABORTED"):
        assert isinstance(readings_of(in_envelope(execution(no_failure)))[0], Notice)
    for unclear in (execution(None), execution("FAILED", executionArn=None), execution("FAILED", stateMachineArn=7)):
        assert readings_of(unclear)[0].status is Status.FIRING


def test_an_instance_that_stopped_is_a_problem_until_it_runs_again() -> None:
    def instance(state: Any, machine: Any = "i-1") -> dict[str, Any]:
        return event("EC2 Instance State-change Notification", **{"instance-id": machine, "state": state})

    stopped, other, running = (
        readings_of(instance(*one))[0] for one in (("stopped",), ("stopped", "i-2"), ("running",))
    )
    (gone,) = readings_of(in_envelope(instance("terminated")))
    assert stopped.fingerprint == running.fingerprint == gone.fingerprint != other.fingerprint
    assert [one.status for one in (stopped, gone, running)] == [Status.FIRING, Status.FIRING, Status.RESOLVED]
    assert (stopped.title, stopped.labels["state"]) == ("EC2 instance i-1 is stopped", "STOPPED")
    for under_way in ("pending", "stopping", "shutting-down"):
        assert isinstance(readings_of(instance(under_way))[0], Notice)
    for unclear in (instance(None), instance("stopped", None), instance("a word of tomorrow")):
        assert readings_of(unclear)[0].status is Status.FIRING


def command(state: Any, machine: Any = "i-1", **changes: Any) -> dict[str, Any]:
    told = {"commandId": "c-1", "documentName": "AWS-RunPatchBaseline", "instanceId": machine, "status": state}
    return in_envelope({**told, "requestedDateTime": "2026-01-05T10:00:00Z", "eventTime": f"at {state}", **changes})


def test_a_command_that_failed_is_a_problem_on_each_machine_and_one_under_way_is_none() -> None:
    failed, other, whole = (readings_of(command("Failed", one))[0] for one in ("i-1", "i-2", None))
    (over,) = readings_of(command("Success"))
    assert failed.fingerprint == over.fingerprint
    assert len({one.fingerprint for one in (failed, other, whole)}) == 3
    assert [one.status for one in (failed, whole, over)] == [Status.FIRING, Status.FIRING, Status.RESOLVED]
    assert failed.title == "Command AWS-RunPatchBaseline on i-1: Failed"
    assert readings_of(command("TimedOut", detailedStatus="DeliveryTimedOut"))[0].description == "DeliveryTimedOut"
    assert all(isinstance(readings_of(command(state))[0], Notice) for state in ("InProgress", "Cancelled"))
    for unclear in (command(None), command("Failed", commandId=None)):
        assert readings_of(unclear)[0].status is Status.FIRING


def test_an_insight_of_devops_guru_is_one_problem_until_it_is_closed() -> None:
    def insight(kind: str, number: str = "i-1") -> dict[str, Any]:
        told = {"AccountId": "210987654321", "Region": "eu-central-1", "MessageType": kind, "InsightId": number}
        return in_envelope({**told, "InsightName": "Errors of the API", "InsightSeverity": "high", "Anomalies": [kind]})

    detail = {"accountId": "210987654321", "region": "eu-central-1", "messageType": "CLOSED_INSIGHT"}
    closed = event("DevOps Guru Insight Closed", **detail, insightId="i-1", insightName="Errors of the API")
    fired, raised, over, other_way = (
        readings_of(one)[0]
        for one in (insight("NEW_INSIGHT"), insight("SEVERITY_UPGRADED"), insight("CLOSED_INSIGHT"), closed)
    )
    assert fired.fingerprint == raised.fingerprint == over.fingerprint == other_way.fingerprint
    assert fired.fingerprint != readings_of(insight("NEW_INSIGHT", "i-2"))[0].fingerprint
    assert [one.status for one in (fired, raised)] == [Status.FIRING] * 2
    assert [one.status for one in (over, other_way)] == [Status.RESOLVED] * 2
    assert (fired.title, fired.severity) == ("Errors of the API", Severity.ERROR)


@pytest.mark.parametrize(
    ("number", "severity"),
    [
        (9.5, Severity.CRITICAL),
        (8, Severity.ERROR),
        (7.0, Severity.ERROR),
        (5.3, Severity.WARNING),
        (2, Severity.INFO),
        ("high", Severity.ERROR),
        (None, None),
    ],
)
def test_the_number_of_a_guardduty_finding_is_its_severity(number: Any, severity: Severity | None) -> None:
    (alert,) = readings_of(event("GuardDuty Finding", id="f-1", title="An instance scans ports", severity=number))
    assert alert.severity is severity


def test_an_event_of_rds_is_titled_with_what_happened_to_what() -> None:
    told = {"Event Source": "db-instance", "Source ID": "shop-db", "Event Message": "DB instance restarted"}
    (alert,) = readings_of(message(Message=json.dumps(told), Subject="RDS Notification Message"))
    assert alert.title == "shop-db: DB instance restarted"
    detail = {"SourceIdentifier": "shop-db", "Message": "A Multi-AZ failover has completed."}
    (alert,) = readings_of(event("RDS DB Instance Event", **detail))
    assert (alert.title, alert.labels["event"]) == (
        "shop-db: A Multi-AZ failover has completed.",
        "RDS DB Instance Event",
    )


def about(*resources: Any, **changes: Any) -> dict[str, Any]:
    """An event whose detail does not say what it is about."""
    told = event("Disk Array Degraded", shelf="upper", phase="degraded")
    return {**told, "resources": list(resources), **changes}


def test_an_event_is_about_its_resources_and_of_where_it_happened() -> None:
    arns = [f"arn:aws:storage:eu-central-1:210987654321:array/{name}" for name in ("a", "b")]
    told = [about(arns[0]), about(arns[1]), about(*arns), about(), about(arns[0], account="1"), about(region="x")]
    assert len({readings_of(one)[0].fingerprint for one in told}) == len(told)
    (alert,) = readings_of(about(*arns))
    assert alert.fingerprint == readings_of(in_envelope(about(*reversed(arns), id="another")))[0].fingerprint
    assert alert.title == "Disk Array Degraded (array/a, array/b)"
    assert alert.labels["resource"] == ",".join(arns)
    (elsewhere,) = readings_of(in_envelope(about(*arns, account="111122223333", region="us-east-1")))
    assert (elsewhere.labels["account"], elsewhere.labels["region"]) == ("111122223333", "us-east-1")


def test_an_event_whose_detail_has_an_id_is_known_by_it_whatever_it_is_about() -> None:
    first, second = ({**event("Macie Finding", id="f-1", title="A key is public"), "resources": [one]} for one in "ab")
    assert readings_of(first)[0].fingerprint == readings_of(second)[0].fingerprint


@pytest.mark.parametrize("resources", [None, "arn", [None, 1, "", {}], {}])
def test_an_event_about_nothing_that_can_be_read_pages(resources: Any) -> None:
    (alert,) = readings_of({**about(), "resources": resources})
    assert (alert.status, alert.title) == (Status.FIRING, "Disk Array Degraded")


def test_the_subject_never_outranks_the_alarm() -> None:
    (alert,) = readings_of(message(Subject='OK: "cpu" in EU', Message=json.dumps(alarm())))
    assert (alert.status, alert.title) == (Status.FIRING, "cpu")


def test_two_texts_are_two_problems_and_the_same_text_is_one() -> None:
    def fingerprint(text: str, **changes: Any) -> Any:
        return readings_of(message(Message=text, **changes))[0].fingerprint

    assert fingerprint("Job 1 failed") == fingerprint("Job 1 failed", Timestamp="2026-01-06T10:00:00.000Z")
    assert fingerprint("Job 1 failed") != fingerprint("Job 2 failed")
    assert fingerprint("Job 1 failed") != fingerprint("Job 1 failed", TopicArn=TOPIC + "2")


def test_message_attributes_tell_status_and_severity() -> None:
    attributes = {
        "State": {"Type": "String", "Value": "COMPLETED"},
        "severity": {"Type": "String", "Value": "critical"},
        "odd": 7,
    }
    (alert,) = readings_of(message(MessageAttributes=attributes))
    assert (alert.status, alert.severity.value) == (Status.RESOLVED, "critical")
    assert alert.labels["topic"] == "production-alarms"


def test_a_raw_text_is_read_only_when_sns_says_that_it_is_raw() -> None:
    (alert,) = readings_of(b"disk full", x_amz_sns_rawdelivery="true", x_amz_sns_topic_arn=TOPIC)
    assert (alert.title, alert.labels["topic"]) == ("disk full", "production-alarms")


def test_what_could_sign_confirm_or_unsubscribe_is_not_in_the_payload() -> None:
    envelope = signed(message(UnsubscribeURL="https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe"))
    (alert,) = readings_of(envelope)
    assert alert.payload.keys() == {"Type", "MessageId", "TopicArn", "Message", "Timestamp", "SignatureVersion"}


def test_a_retry_has_the_same_delivery_id_and_another_message_another() -> None:
    source = AwsSns(name="aws", auth=NoAuth())
    first = source.delivery_id(webhook_of(message(), x_amz_sns_message_id="m-1"))
    assert first == source.delivery_id(webhook_of(message(), x_amz_sns_message_id="m-1"))
    assert first != source.delivery_id(webhook_of(message(), x_amz_sns_message_id="m-2"))
    assert source.delivery_id(webhook_of(message())) is None
