"""Jinja in its sandbox: templates checked when loaded, rendered per alert.

In: template texts when rules are loaded (every Problem at once, as ConfigError), an Alert when they are used.
Out: text, or native JSON values; or RenderError, after which the caller falls back.

Nothing a template can say runs long, and no clock is read: every render has a Meter, and each pass of a loop, each
filter and each operator that could grow a value pays in steps for what it is about to do. Payload text is data: it is
never parsed, no Python method or attribute is reachable, and filters and tests are the tables in filters.py.
"""

from bridge.render.filters import FILTERS, TESTS
from bridge.render.findings import nearest
from bridge.render.meter import Meter, OneWebhook, RenderError, WebhookSpentError
from bridge.render.templates import OUTPUT_MAX_CHARS, Expression, Renderer, Text

__all__ = [
    "FILTERS", "OUTPUT_MAX_CHARS", "TESTS", "Expression", "Meter", "OneWebhook", "RenderError", "Renderer", "Text",
    "WebhookSpentError", "nearest",
]  # fmt: skip
