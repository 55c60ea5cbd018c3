"""A webhook as the files of a rule test: redacted body and headers, and a test that pins what is decided today."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from bridge import wiring
from bridge.config.models import Settings
from bridge.domain.alert import Reading, Webhook
from bridge.domain.errors import DecodeError
from bridge.pipeline import decide
from bridge.rules.book import RuleBook
from bridge.samples import Redactor, Sample, slug, test_of
from bridge.sources.base import Source

TESTS_SCHEMA = "tests.schema.json"
Files = dict[PurePosixPath, bytes]


def stem_of(webhook: Webhook, readings: tuple[Reading, ...], redactor: Redactor, mark: str) -> str:
    """What the files of a test are called: source, title, and something that tells it from others."""
    title = readings[0].title if readings else ""
    return f"{slug(webhook.source, redactor.text(title))}-{mark}"


def test_files(
    settings: Settings,
    book: RuleBook,
    source: Source,
    webhook: Webhook,
    *,
    stem: str,
    about: str,
    redactor: Redactor,
) -> Files:
    """The files of a test, by their path in the rules folder. Raises DecodeError when the body cannot be read."""
    sample = redactor.sample(webhook, stem)
    return {
        PurePosixPath("fixtures", sample.body_name): sample.body,
        PurePosixPath("fixtures", sample.headers_name): sample.headers_file,
        PurePosixPath(f"{stem}.test.yaml"): _text(settings, book, source, webhook, sample, about).encode(),
    }


def _text(settings: Settings, book: RuleBook, source: Source, webhook: Webhook, sample: Sample, about: str) -> str:
    """The test of a sample: what is decided of the redacted body, for that is what the test will send."""
    readings = source.alerts_in(replace(webhook, body=sample.body, headers=sample.headers))
    destinations = wiring.destinations(settings)
    decided = decide(readings, book, destinations)
    explanation = wiring.explained(settings, book, readings, source=webhook.source)
    nearest = next((one.nearest for one in explanation.alerts if one.nearest is not None), None)
    because = None if nearest is None else (nearest.rule, nearest.misses[0].condition)
    return test_of(sample, decided, destinations, because=because, about=about, schema=TESTS_SCHEMA)


def read_again(sources: Mapping[str, Source], webhook: Webhook) -> tuple[Reading, ...] | str:
    """The readings of a stored webhook, or the sentence why it cannot be read."""
    source = sources.get(webhook.source)
    if source is None:
        return f"the source {webhook.source} is not configured any more"
    try:
        return source.alerts_in(webhook)
    except DecodeError as error:
        return f"{webhook.source}: {error}"
