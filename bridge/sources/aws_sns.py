"""Amazon SNS: CloudWatch alarms, EventBridge events and plain messages, from a topic subscribed over HTTPS.

In: one message with its envelope, the same inside Lambda's `Records`, a raw delivery, or an EventBridge event. Out: one
Reading per message.

Facts: SOURCES.md sections 1 and 8, which cite https://docs.aws.amazon.com/sns/latest/dg/ (message and JSON formats,
verifying signatures, delivery retries). What is decided here:

- An alarm's fingerprint is its ARN, the same through SNS and EventBridge; account, region and name where an old message
  has none. ALARM fires, OK resolves; INSUFFICIENT_DATA fires too, for nobody is told of it who did not ask to be.
- An alarm over several time series tells of each that breaches, its contributor, by an id of 16 characters: each is a
  problem of its own, for each has its own OK. Through SNS as AlarmContributorId
  (https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_AlarmContributor.html), through EventBridge as
  detail.alarmContributor (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html;
  both read 2026-11). What it says of the alarm as a whole is one problem more.
- EventBridge's "CloudWatch Alarm Configuration Change" (same page) is a Notice: an alarm that is made or edited keeps
  its state. One that is deleted is resolved, for nobody else ever will; of its contributors the event says nothing.
- The episode is the time an alarm went to ALARM. An OK cannot know it and ends whichever there is.
- AWS Health tells of one event (an outage of AWS, maintenance) in updates that share its ARN, and says "closed" at the
  end; an event may affect several accounts, each of them a problem of its own
  (https://docs.aws.amazon.com/health/latest/ug/aws-health-events-eventbridge-schema.html; read 2026-11).
- What other services tell, and which of it is a problem: aws_events.py.
- Another EventBridge event, or another JSON message, is read as the generic source reads its object. An event is about
  its `resources`: the detail need not name them, as that of an ECS service does not
  (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_events.html; read 2026-11). So they are in
  its title and, with account and region, in its key, unless the detail has an id of its own.
- A test, a launch or a termination that EC2 Auto Scaling tells of, and a mail of SES that went well, are Notices; a
  launch that failed pages, once for its group, and so do bounces.
- A plain text is known by topic, subject and text: the same words again are the same problem. A message attribute
  called State or status says whether it fires.
- Severity is null: CloudWatch has none. A message attribute `severity` gives one; a finding of GuardDuty has a number.
- An event of RDS is titled with what it is about and its message
  (https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_Events.Messages.html; own knowledge).
- `auth: sns_signature` needs `topics`: AWS signs for whoever owns a topic. The host that certificates come from and
  that confirmations go to is fixed; a message is taken for an hour, as long as SNS tries, and five minutes.
- The subscription confirms itself: its Notice wants a call, which is made later, once, and follows no redirect.
- payload is the envelope with its Message decoded; what could sign, confirm or unsubscribe is left out of it.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from types import MappingProxyType
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, urlsplit

from bridge.domain.alert import Alert, Link, Notice, Reading, Status, Webhook
from bridge.domain.delivery import HttpRequest
from bridge.domain.errors import DecodeError, SignatureError, Unverifiable
from bridge.sources.absent import key_of, text_of
from bridge.sources.aws_events import as_event, told_by_service
from bridge.sources.base import Auth, Certificate, Setting, SignatureAuth, TextsSetting
from bridge.sources.body import block_at, json_in, kind_of, object_in, says_anything
from bridge.sources.generic import reading_anyway
from bridge.sources.signatures import verify_shared
from bridge.sources.texts import (
    LABELS_MAX,
    delivery_under,
    digest_of,
    identity,
    instant_of,
    layered_labels,
    line,
    link_of,
    links_of,
    paragraphs,
    scalar_pairs,
    texts_in,
)

SIGNATURE = "sns_signature"
TOLERANCE = timedelta(minutes=65)  # SNS gives up after 3600 s (SOURCES.md section 8, "Retries")

_MESSAGE_ID = "x-amz-sns-message-id"
_TOPIC = "x-amz-sns-topic-arn"
_RAW = "x-amz-sns-rawdelivery"

_ARN = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]{1,40}:[0-9]{12}:[A-Za-z0-9_.-]{1,256}")
_ALARM_ARN = re.compile(r"arn:aws:cloudwatch:([a-z0-9-]{1,40}):[^:]*:alarm:(.+)")
_HOST = re.compile(r"sns\.[a-z0-9-]{1,40}\.amazonaws\.com(?:\.cn)?")  # section 8: "Fetch the certificate only from"
_CERTIFICATE_PATH = re.compile(r"/[A-Za-z0-9_.-]{1,200}\.pem")
_SIGNED = {  # section 8: "Signed text"; Subject only if present
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_CERTIFICATE_URLS = ("SigningCertURL", "SigningCertUrl")  # the second is Lambda's spelling
_NOT_SHOWN = frozenset(
    {"Signature", "SigningCertURL", "SigningCertUrl", "UnsubscribeURL", "UnsubscribeUrl", "SubscribeURL", "Token"}
)
_RECORDS_MAX = 1_000
_RESOURCES_SHOWN = 3
_CONFIGURED = "CloudWatch Alarm Configuration Change"
_KINDS = ("Event", "notificationType", "eventType")
_NO_PROBLEM = {
    "s3:TestEvent": "a test of S3's",
    # https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_NotificationConfiguration.html (read 2026-11)
    "autoscaling:TEST_NOTIFICATION": "a test of EC2 Auto Scaling's",
    "autoscaling:EC2_INSTANCE_LAUNCH": "EC2 Auto Scaling tells what it did",
    "autoscaling:EC2_INSTANCE_TERMINATE": "EC2 Auto Scaling tells what it did",
    # https://docs.aws.amazon.com/ses/latest/dg/configure-sns-notifications.html (own knowledge)
    "AmazonSnsSubscriptionSucceeded": "SES says that its notifications come here",
}
_WENT_WELL = frozenset({"Send", "Delivery", "Open", "Click"})  # of a mail, in the words of SES
_GUARD_DUTY = "GuardDuty Finding"
_SEVERITIES = ((9, "critical"), (7, "high"), (4, "medium"), (0, "low"))
"""From where on a finding of GuardDuty is that bad: 9.0 to 10.0, 7.0 to 8.9, 4.0 to 6.9, 1.0 to 3.9
(https://docs.aws.amazon.com/guardduty/latest/ug/guardduty_findings-severity.html; own knowledge)."""
_DELETED = "DELETED"  # no state of CloudWatch's: what becomes of an alarm that has no state any more


def _no_topic(text: str) -> tuple[str, str] | None:
    if _ARN.fullmatch(text):
        return None
    return f"'{text[:80]}' is no topic's ARN", "write it as arn:aws:sns:eu-west-1:123456789012:alarms"


def _nobody(_url: str) -> bytes | None:
    raise Unverifiable("there is nobody to fetch a certificate")


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSns:
    """The topics of an AWS account that post here, known by Amazon's signature or by any shared secret."""

    type: ClassVar[str] = "aws_sns"
    signature_keys: ClassVar[frozenset[str]] = frozenset()
    signature_words: ClassVar[frozenset[str]] = frozenset({SIGNATURE})
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "topics": TextsSetting(
                about="aws_sns: ARNs of the topics that may post here",
                wrong=_no_topic,
                needed_by=frozenset({SIGNATURE}),
            )
        }
    )
    confirmations: ClassVar[str] = "subscription"
    name: str
    auth: Auth
    topics: tuple[str, ...] = ()
    certificate: Certificate = _nobody

    def asking(self, certificate: Certificate) -> "AwsSns":
        """The same source, which gets Amazon's certificates from there."""
        return replace(self, certificate=certificate)

    def verify(self, webhook: Webhook) -> None:
        """Check the shared secret, the topics, and the signature. Raises SignatureError, Unverifiable."""
        signed = isinstance(self.auth, SignatureAuth) and self.auth.kind == SIGNATURE
        if not signed:
            verify_shared(self.auth, webhook)
        if not signed and not self.topics:
            return
        try:
            envelopes = [envelope for _, envelope in _messages(object_in(webhook))]
        except DecodeError as error:
            if signed:
                raise SignatureError("the body is no SNS message") from error
            envelopes = [{}]
        for envelope in envelopes:
            self._check(envelope, webhook, signed=signed)

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The reading of each message, in its order. Raises DecodeError."""
        try:
            body = object_in(webhook)
        except DecodeError:
            text = webhook.body.decode("utf-8", "replace").strip()
            if webhook.headers.get(_RAW, "").lower() != "true" or not text:
                raise
            return self._told({"TopicArn": webhook.headers.get(_TOPIC), "Message": text})
        messages = list(_messages(body))
        if len(messages) > _RECORDS_MAX:
            raise DecodeError("$.Records", f"{len(messages)} records in one request; send at most {_RECORDS_MAX}")
        return tuple(chain.from_iterable(self._readings(element, envelope) for element, envelope in messages))

    def delivery_id(self, webhook: Webhook) -> str | None:
        """The message id with its body; None for what no topic delivered."""
        return delivery_under(webhook, _MESSAGE_ID)

    def confirmation(self, webhook: Webhook) -> HttpRequest | None:
        """The call that confirms a subscription, when its address is Amazon's; None for any other message."""
        url = _confirming_url(object_in(webhook))
        return None if url is None else HttpRequest(method="GET", url=url, headers={})

    def _check(self, envelope: Mapping[str, Any], webhook: Webhook, *, signed: bool) -> None:
        topic = text_of(envelope.get("TopicArn")) or (None if signed else webhook.headers.get(_TOPIC))
        if topic not in self.topics:
            raise SignatureError("the message is of a topic that is not among the source's topics")
        if signed:
            _verify_signature(envelope, webhook.received_at, self.certificate)

    def _readings(self, element: Any, envelope: Mapping[str, Any]) -> tuple[Reading, ...]:
        if not isinstance(element, dict):
            return (self._notice(f"a record is {kind_of(element)}, not an object", element),)
        match envelope.get("Type"):
            case "SubscriptionConfirmation":
                return (self._subscription(envelope),)
            case "UnsubscribeConfirmation":
                topic = line(text_of(envelope.get("TopicArn")) or "a topic")
                reason = f"the subscription to {topic} ended; nothing more comes from it"
                return (self._notice(reason, _shown(envelope)),)
        if envelope:
            return self._told(envelope)
        return self._of_object(element, {}, element)

    def _subscription(self, envelope: Mapping[str, Any]) -> Notice:
        topic = line(text_of(envelope.get("TopicArn")) or "a topic")
        if _confirming_url(envelope) is None:
            return self._notice(f"a subscription to {topic} is not confirmed: its address is not AWS's", envelope)
        notice = self._notice(f"the subscription to {topic} confirms itself within a minute", _shown(envelope))
        return replace(notice, fingerprint=self.confirmations, title=topic)

    def _told(self, envelope: Mapping[str, Any]) -> tuple[Reading, ...]:
        """The readings of one message in its envelope."""
        message = _decoded(envelope.get("Message"))
        payload = {**_shown(envelope), "Message": message}
        if isinstance(message, dict):
            return self._of_object(message, envelope, payload)
        return (self._of_text(text_of(message) or "", envelope, payload),)

    def _of_object(self, told: Mapping[str, Any], envelope: Mapping[str, Any], payload: Any) -> tuple[Reading, ...]:
        message = as_event(told)
        if not says_anything(message):
            return (self._notice("the message says nothing", payload),)
        if (why := _no_problem(message)) is not None:
            return (self._notice(why, payload),)
        problems = told_by_service(message)
        if isinstance(problems, str):
            return (self._notice(problems, payload),)
        if problems is not None:
            return tuple(self._of_service(one, message, envelope, payload) for one in problems)
        return (self._of_other(message, envelope, payload),)

    def _of_service(
        self, told: Mapping[str, Any], message: Mapping[str, Any], envelope: Mapping[str, Any], payload: Any
    ) -> Reading:
        """A problem in the generic source's words."""
        read = reading_anyway(self.name, self.type, told)
        if isinstance(read, Notice):
            return replace(read, payload=payload)
        return replace(
            read,
            reported_at=read.reported_at or instant_of(message.get("time")) or instant_of(envelope.get("Timestamp")),
            labels=layered_labels(
                read.labels.items(), _origin(message).items(), _where(envelope).items(), _attributes(envelope)
            ),
            payload=payload,
        )

    def _of_other(self, message: Mapping[str, Any], envelope: Mapping[str, Any], payload: Any) -> Reading:
        event = isinstance(message.get("detail"), dict) and text_of(message.get("detail-type")) is not None
        if event and message["detail-type"] == _CONFIGURED and "alarmName" in message["detail"]:
            return self._configured(message, envelope, payload)
        if event and "alarmName" in message["detail"] and block_at(message, "detail", "state"):
            return _alarm(self.name, _alarm_of_event(message), envelope, payload)
        if "AlarmName" in message and "NewStateValue" in message:
            return _alarm(self.name, message, envelope, payload)
        return self._of_anything(message, envelope, payload, event=event)

    def _configured(self, event: Mapping[str, Any], envelope: Mapping[str, Any], payload: Any) -> Reading:
        """A change of what an alarm watches says nothing of its state, but one that is deleted ends its problem."""
        alarm, operation = _alarm_of_event(event), text_of(event["detail"].get("operation")) or "change"
        if operation == "delete":
            return _alarm(self.name, {**alarm, **_deleted(event)}, envelope, payload)
        notice = self._notice(f"the alarm's configuration changed ({line(operation, 40)}), not its state", payload)
        return replace(notice, title=line(text_of(alarm["AlarmName"]) or ""))

    def _of_anything(
        self, message: Mapping[str, Any], envelope: Mapping[str, Any], payload: Any, *, event: bool
    ) -> Reading:
        """An event of EventBridge by its detail, any other object as it is."""
        detail = message["detail"] if event and says_anything(message["detail"]) else message
        if event and (health := key_of(detail.get("eventArn"))) is not None:
            detail = _health(message, health)
        if (group := key_of(message.get("AutoScalingGroupARN"))) is not None and not event:
            detail = {**message, "key": identity(key_of(message.get("Event")) or "", group)}
        resources = _resources(message) if event else []
        subject = _event_title(message, resources) if event else text_of(envelope.get("Subject"))
        if event and message["detail-type"] == _GUARD_DUTY:
            detail = {**detail, "severity": _guard_duty_severity(detail.get("severity"))}
        headline = _headline(detail if event else message)
        reading = reading_anyway(self.name, self.type, detail, titles=(headline, subject))
        if isinstance(reading, Notice):
            return replace(reading, payload=payload)
        own = {**_origin(message), "resource": ",".join(resources)} if event else {}
        return replace(
            reading,
            fingerprint=_event_fingerprint(message, resources, reading.fingerprint) if event else reading.fingerprint,
            reported_at=reading.reported_at or instant_of(message.get("time")) or instant_of(envelope.get("Timestamp")),
            labels=layered_labels(reading.labels.items(), own.items(), _where(envelope).items(), _attributes(envelope)),
            payload=payload,
        )

    def _of_text(self, text: str, envelope: Mapping[str, Any], payload: Any) -> Reading:
        subject = text_of(envelope.get("Subject"))
        if not text and subject is None:
            return self._notice("the message says nothing", payload)
        attributes = dict(_attributes(envelope))
        read = reading_anyway(self.name, self.type, {"title": subject or line(text), **attributes})
        topic = key_of(envelope.get("TopicArn")) or ""
        return Alert(
            source=self.name,
            source_type=self.type,
            fingerprint=identity("message", topic.rpartition(":")[2], digest_of([topic, subject, text])),
            status=read.status if isinstance(read, Alert) else Status.FIRING,
            severity=read.severity if isinstance(read, Alert) else None,
            reported_at=instant_of(envelope.get("Timestamp")),
            title=line(subject or text.partition("\n")[0]) or f"Alert from {self.name}",
            description=paragraphs(text),
            labels=layered_labels(attributes.items(), _where(envelope).items()),
            payload=payload,
        )

    def _notice(self, reason: str, payload: Any) -> Notice:
        return Notice(source=self.name, source_type=self.type, reason=reason, payload=payload)


def _messages(body: Mapping[str, Any]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Each message of a body with its envelope; an empty envelope where it came without."""
    records = body.get("Records")
    if isinstance(records, list) and any("Sns" in record for record in records if isinstance(record, dict)):
        for record in records:
            yield record, block_at(record, "Sns")
    else:
        yield body, body if "Message" in body and ("TopicArn" in body or "Type" in body) else {}


def _origin(event: Mapping[str, Any]) -> dict[str, str | None]:
    """Where an event of EventBridge comes from; nothing of what is none."""
    names = {"event": "detail-type", "event_source": "source", "account": "account", "region": "region"}
    is_event = text_of(event.get("detail-type")) is not None
    return {label: text_of(event.get(name)) for label, name in names.items()} if is_event else {}


def _resources(event: Mapping[str, Any]) -> list[str]:
    """What an event is about, in an order that is always the same."""
    return sorted(texts_in(event.get("resources")))


def _event_title(event: Mapping[str, Any], resources: list[str]) -> str:
    """What happened, and to what: of an ARN only what stands behind region and account."""
    what = line(text_of(event["detail-type"]) or "")
    named = ", ".join(arn.split(":", 5)[-1] for arn in resources[:_RESOURCES_SHOWN])
    return f"{what} ({named})" if named else what


def _event_fingerprint(event: Mapping[str, Any], resources: list[str], told: str) -> str:
    """An event by its detail's own id; without one also by where it happened and to what."""
    kind = (text_of(event.get("source")) or "", text_of(event["detail-type"]) or "")
    if told.startswith("key:"):
        return identity("event", *kind, told)
    where = [key_of(event.get(name)) for name in ("account", "region")]
    return identity("event", *kind, digest_of([where, resources]), told)


def _no_problem(message: Mapping[str, Any]) -> str | None:
    """Why a message reports no problem, in words of its service that mean no more than that."""
    kinds = [text_of(message.get(name)) or "" for name in _KINDS]
    if block_at(message, "mail") and not _WENT_WELL.isdisjoint(kinds):
        return "SES tells what became of a mail that went well"
    return next((why for kind in kinds if (why := _NO_PROBLEM.get(kind)) is not None), None)


def _decoded(message: Any) -> Any:
    """A Message as the JSON object it may hold, else as it is."""
    if not isinstance(message, str) or not message.lstrip().startswith("{"):
        return message
    try:
        return json_in(message.encode())
    except DecodeError:
        return message


def _shown(envelope: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in envelope.items() if key not in _NOT_SHOWN}


def _where(envelope: Mapping[str, Any]) -> dict[str, str | None]:
    """What an envelope says of its origin: arn:aws:sns:<region>:<account>:<topic>."""
    parts = (text_of(envelope.get("TopicArn")) or "").split(":", 5)
    if len(parts) < 6:
        return {}
    return {"topic": parts[5], "region": parts[3], "account": parts[4]}


def _attributes(envelope: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    attributes = block_at(envelope, "MessageAttributes")
    for name in list(attributes)[:LABELS_MAX]:
        yield name, text_of(block_at(attributes, name).get("Value"))


def _deleted(event: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of an alarm by its deletion, for nobody will ever say OK of it.

    The event's time has no fraction of a second, so that the last change of state may seem to come after it.
    """
    state = block_at(event, "detail", "state")
    times = [time for told in (event.get("time"), state.get("timestamp")) if (time := instant_of(told)) is not None]
    return {
        "NewStateValue": _DELETED,
        "NewStateReason": "The alarm was deleted.",
        "StateChangeTime": max(times).isoformat() if times else None,
        "OldStateValue": state.get("value"),
    }


def _alarm_of_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """EventBridge's "CloudWatch Alarm State Change" in the words of the message that SNS carries."""
    detail = event["detail"]
    contributor = block_at(detail, "alarmContributor")
    resources = event.get("resources")
    state = block_at(detail, "state")
    return {
        "AlarmName": detail["alarmName"],
        "AlarmArn": resources[0] if isinstance(resources, list) and resources else None,
        "AlarmDescription": block_at(detail, "configuration").get("description"),
        "AWSAccountId": event.get("account"),
        "Region": event.get("region"),
        "NewStateValue": state.get("value"),
        "NewStateReason": state.get("reason"),
        "StateChangeTime": state.get("timestamp") or event.get("time"),
        "OldStateValue": block_at(detail, "previousState").get("value"),
        "AlarmContributorId": contributor.get("id"),
        "AlarmContributorAttributes": block_at(contributor, "attributes"),
        "Trigger": {"Metrics": _metrics_of_event(detail)},
    }


def _metrics_of_event(detail: Mapping[str, Any]) -> list[Any]:
    metrics = block_at(detail, "configuration").get("metrics")
    found: list[Any] = []
    for metric in metrics[:LABELS_MAX] if isinstance(metrics, list) else []:
        of = block_at(metric, "metricStat", "metric")
        named = block_at(of, "dimensions")
        dimensions = [{"name": name, "value": value} for name, value in named.items()]
        told = {"MetricName": of.get("name"), "Namespace": of.get("namespace"), "Dimensions": dimensions}
        found.append({"MetricStat": {"Metric": told}})
    return found


def _guard_duty_severity(value: Any) -> Any:
    """A finding's number as a word; any other value as it is."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return value
    return next((word for least, word in _SEVERITIES if value >= least), None)


def _headline(told: Mapping[str, Any]) -> str | None:
    """What RDS says happened, and to what: its event has no title, and the subject is the same for all of them."""
    for about, what in (("Source ID", "Event Message"), ("SourceIdentifier", "Message")):
        if (name := text_of(told.get(about))) is not None and (text := text_of(told.get(what))) is not None:
            return f"{name}: {text}"
    return None


def _health(event: Mapping[str, Any], arn: str) -> dict[str, Any]:
    """AWS Health's event in the words of the generic source."""
    detail = event["detail"]
    account = key_of(detail.get("affectedAccount")) or key_of(event.get("account")) or ""
    code, region = text_of(detail.get("eventTypeCode")), text_of(detail.get("eventRegion"))
    told = detail.get("eventDescription")
    languages = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    return {
        "fingerprint": identity(account, arn),
        "title": f"{code} ({region})" if code and region else code,
        "status": detail.get("statusCode"),
        "service": detail.get("service"),
        "description": languages[0].get("latestDescription") if languages else None,
    }


def _alarm(source: str, alarm: Mapping[str, Any], envelope: Mapping[str, Any], payload: Any) -> Alert:
    state = (text_of(alarm.get("NewStateValue")) or "").upper()
    status = Status.RESOLVED if state in ("OK", _DELETED) else Status.FIRING
    name = text_of(alarm.get("AlarmName"))
    changed_at = instant_of(alarm.get("StateChangeTime"))
    episode = key_of(alarm.get("StateChangeTime")) if state == "ALARM" else None
    reasons = (text_of(alarm.get("AlarmDescription")), text_of(alarm.get("NewStateReason")))
    return Alert(
        source=source,
        source_type=AwsSns.type,
        fingerprint=_alarm_fingerprint(alarm, payload),
        episode=None if episode is None else identity(episode),
        reported_at=changed_at or instant_of(envelope.get("Timestamp")),
        status=status,
        severity=None,
        title=line(_titled(alarm, name or text_of(envelope.get("Subject")) or f"Alert from {source}")),
        description=paragraphs("\n\n".join(reason for reason in reasons if reason)),
        labels=_alarm_labels(alarm, envelope),
        links=links_of(_console(alarm)),
        starts_at=changed_at if state == "ALARM" else None,
        ends_at=changed_at if status is Status.RESOLVED else None,
        payload=payload,
    )


def _titled(alarm: Mapping[str, Any], title: str) -> str:
    """A title with what the time series is of, where the alarm watches several."""
    values = [value for _, value in scalar_pairs(block_at(alarm, "AlarmContributorAttributes")) if value is not None]
    return f"{line(title)} ({', '.join(values)})" if values else title


def _alarm_fingerprint(alarm: Mapping[str, Any], payload: Any) -> str:
    contributor = key_of(alarm.get("AlarmContributorId"))
    kind, series = ("alarm", ()) if contributor is None else ("contributor", (contributor,))
    if (arn := key_of(alarm.get("AlarmArn"))) is not None:
        return identity(kind, arn, *series)
    if (name := key_of(alarm.get("AlarmName"))) is not None:
        account, region = key_of(alarm.get("AWSAccountId")) or "", key_of(alarm.get("Region")) or ""
        return identity(kind, account, region, name, *series)
    return identity("body", digest_of(payload))


def _alarm_labels(alarm: Mapping[str, Any], envelope: Mapping[str, Any]) -> Mapping[str, str]:
    """The alarm's dimensions or its contributor's, and what it watches; of several metrics the first that is one."""
    trigger = block_at(alarm, "Trigger")
    metrics = trigger.get("Metrics")
    stats = (block_at(metric, "MetricStat", "Metric") for metric in metrics) if isinstance(metrics, list) else ()
    metric = next((one for one in stats if one), trigger)
    dimensions = metric.get("Dimensions")
    given = [
        (text_of(one.get("name")) or "", text_of(one.get("value")))
        for one in (dimensions[:LABELS_MAX] if isinstance(dimensions, list) else ())
        if isinstance(one, dict)
    ]
    where = _where(envelope)
    arn = (text_of(alarm.get("AlarmArn")) or "").split(":")
    region = where.get("region") or (arn[3] if len(arn) > 3 else None) or text_of(alarm.get("Region"))
    own = {
        "alarm": text_of(alarm.get("AlarmName")),
        "state": text_of(alarm.get("NewStateValue")),
        "old_state": text_of(alarm.get("OldStateValue")),
        "namespace": text_of(metric.get("Namespace")),
        "metric": text_of(metric.get("MetricName")),
        "account": text_of(alarm.get("AWSAccountId")),
        "region": region,
        "topic": where.get("topic"),
    }
    contributor = scalar_pairs(block_at(alarm, "AlarmContributorAttributes"))
    return layered_labels(own.items(), contributor, given, _attributes(envelope))


def _console(alarm: Mapping[str, Any]) -> Link | None:
    found = _ALARM_ARN.fullmatch(text_of(alarm.get("AlarmArn")) or "")
    if found is None:
        return None
    region, name = found[1], quote(found[2], safe="")
    address = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#alarmsV2:alarm/{name}"
    return link_of("CloudWatch alarm", address)


def _is_amazon(url: str, path: re.Pattern[str]) -> bool:
    """Whether an address is of SNS itself, with nothing in it that another program could read differently."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and not set(url) & set(" \\@#")
    return plain and parts.scheme == "https" and bool(_HOST.fullmatch(parts.netloc) and path.fullmatch(parts.path))


_ROOT = re.compile(r"/")


def _confirming_url(envelope: Mapping[str, Any]) -> str | None:
    url = envelope.get("SubscribeURL")
    if envelope.get("Type") != "SubscriptionConfirmation" or not isinstance(url, str) or not _is_amazon(url, _ROOT):
        return None
    asked = parse_qs(urlsplit(url).query)
    return url if asked.get("Action") == ["ConfirmSubscription"] else None


def _verify_signature(envelope: Mapping[str, Any], received_at: datetime, certificate: Certificate) -> None:
    """Check an envelope's signature and age. Raises SignatureError, Unverifiable."""
    kind, version = envelope.get("Type"), envelope.get("SignatureVersion")
    url = next((envelope[name] for name in _CERTIFICATE_URLS if isinstance(envelope.get(name), str)), None)
    given = envelope.get("Signature")
    if kind not in _SIGNED or version not in ("1", "2") or not isinstance(given, str) or url is None:
        raise SignatureError("the message is not signed as SNS signs")
    if not _is_amazon(url, _CERTIFICATE_PATH):
        raise SignatureError("the address of the signing certificate is not Amazon's")
    sent_at = instant_of(envelope.get("Timestamp"))
    if sent_at is None or abs(received_at - sent_at) > TOLERANCE:
        raise SignatureError("the message is too old or from the future")
    try:
        signature = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureError("the signature is unreadable") from error
    pem = certificate(url)
    if pem is None:
        raise SignatureError("there is no signing certificate at its address")
    _check_rsa(pem, signature, _signed_text(envelope, kind), version, received_at)


def _signed_text(envelope: Mapping[str, Any], kind: str) -> bytes:
    lines: list[str] = []
    for name in _SIGNED[kind]:
        value = envelope.get(name)
        if value is None and name == "Subject":
            continue
        if not isinstance(value, str):
            raise SignatureError(f"the message has no {name}")
        lines.append(f"{name}\n{value}\n")
    return "".join(lines).encode("utf-8", "surrogatepass")


def _check_rsa(pem: bytes, signature: bytes, text: bytes, version: str, at: datetime) -> None:
    # imported when the first signed message comes: 16 MB and 90 ms that most installations never need
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA1, SHA256

    try:
        held = x509.load_pem_x509_certificate(pem)
        key = held.public_key()
    except ValueError as error:
        raise SignatureError("the signing certificate is unreadable") from error
    if not isinstance(key, RSAPublicKey):
        raise SignatureError("the signing certificate has no RSA key")
    if not held.not_valid_before_utc <= at <= held.not_valid_after_utc:
        raise SignatureError("the signing certificate is not valid now")
    try:
        key.verify(signature, text, PKCS1v15(), SHA256() if version == "2" else SHA1())  # noqa: S303 - version 1 is SHA1
    except InvalidSignature as error:
        raise SignatureError("signature wrong") from error
