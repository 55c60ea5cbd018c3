"""Rule files as they are written: the keys of a file, of its `defaults` and of a rule.

What a key means is in its description, which editors show. What the models take as anything, the compiler looks at.
"""

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

RULE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,99}")


class RuleSettingsModel(BaseModel):
    """What a rule says beside its match and its incident; `defaults:` may say it for all rules of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    account: str | None = Field(default=None, description="The account of bridge.yaml the incident goes to.")
    severity: Any = Field(default=None, description="Overrides the alert's severity, for order and folding.")
    dedup: list[str] | None = Field(
        default=None, description="Paths whose values say what is the same incident; default [source, fingerprint]."
    )
    fold_by: list[str] | None = Field(
        default=None, description="Paths whose values say which incidents may fold into one; default the rule's id."
    )
    on_acknowledge: Any = Field(default=None, description="ignore (default), acknowledge, or note.")
    on_resolve: Any = Field(
        default=None,
        description="resolve (default), {resolve: {resolution: text}}, note or {note: text} (says so and leaves it "
        "open), or ignore.",
    )
    on_severity_rise: Any = Field(
        default=None,
        description="What a joining alert of a higher severity changes: {update: {field: value}}, or ignore; default "
        "its rule's urgency, priority and policy, or its severity.",
    )
    hold_resolve: str | None = Field(default=None, description="How long to wait before resolving; default 0s.")
    reopen_within: str | None = Field(
        default=None,
        description="How long after its resolve a problem that comes back belongs to its incident; default 0s.",
    )
    mode: str | None = Field(default=None, description="live (default), or shadow: decided and recorded, not sent.")


class RuleModel(RuleSettingsModel):
    """One rule as written."""

    id: str = Field(description="Its name, unique over all files.")
    match: dict[str, Any] | None = Field(default=None, description="Conditions by path; all must hold.")
    when: str | None = Field(default=None, description="One boolean Jinja expression, without braces.")
    incident: dict[str, Any] = Field(description="The fields of the incident, as the account's type names them.")
    continue_: bool = Field(default=False, alias="continue", description="Whether later rules are tried as well.")


class RuleFileModel(BaseModel):
    """One rule file as written; its rules are read one by one, so that one bad rule hides no other's problems."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    defaults: dict[str, Any] = Field(default={}, description="Settings for every rule of this file.")
    maps: dict[str, Any] = Field(
        default={}, description="Maps by name, for {from: path, map: name} in this file's rules."
    )
    rules: list[Any] = Field(default=[], description="The rules, in the order they are tried.")
    unmatched: str | None = Field(default=None, description="record, or the id of the rule that then decides.")
