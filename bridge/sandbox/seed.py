"""What the sandbox's two organisations are made of: services, people, priorities, severities, statuses."""

from typing import Any

BOT_EMAIL = "incident-bridge@example.com"

PD_USERS: tuple[dict[str, Any], ...] = (
    {"id": "PBRIDGE", "type": "user", "name": "Incident Bridge", "email": BOT_EMAIL, "role": "user"},
    {"id": "PONCALL", "type": "user", "name": "On-call", "email": "oncall@example.com", "role": "user"},
)
PD_POLICIES: tuple[dict[str, Any], ...] = ({"id": "PPOLDEF", "type": "escalation_policy", "name": "Default"},)
PD_SERVICES: tuple[dict[str, Any], ...] = (
    {"id": "PSVPGPR", "type": "service", "name": "Postgres Primary", "status": "active"},
    {"id": "PSVCHKO", "type": "service", "name": "Checkout API", "status": "active"},
    {"id": "PSVCATC", "type": "service", "name": "Catch-all", "status": "active"},
)
PD_PRIORITIES: tuple[dict[str, Any], ...] = tuple(
    {"id": f"PPRIO{n}X", "type": "priority", "name": f"P{n}"} for n in range(1, 6)
)
PD_INCIDENT_TYPES: tuple[dict[str, Any], ...] = (
    {"id": "PTYPDEF", "type": "incident_type", "name": "incident_default", "display_name": "Base Incident"},
    {"id": "PTYPMAJ", "type": "incident_type", "name": "major_incident", "display_name": "Major Incident"},
    {"id": "PTYPSEC", "type": "incident_type", "name": "security", "display_name": "Security"},
)
PD_ABILITIES = ("teams", "urgencies", "priorities", "service_support_hours")

IO_SEVERITIES: tuple[dict[str, Any], ...] = tuple(
    {"id": f"01HSANDB0XSEVER1TY0000000{n}", "name": name, "description": text, "rank": n}
    for n, name, text in (
        (1, "Minor", "Issues with **low impact**."),
        (2, "Major", "Issues causing **significant impact**."),
        (3, "Critical", "Issues causing **very high impact**."),
    )
)
IO_TYPES: tuple[dict[str, Any], ...] = tuple(
    {
        "id": f"01HSANDB0XTYPE0000000000{n:02}",
        "name": name,
        "description": "",
        "is_default": n == 1,
        "create_in_triage": triage,
        "private_incidents_only": private,
    }
    for n, name, triage, private in (
        (1, "Default", "optional", False),
        (2, "Customer Impact", "optional", False),
        (3, "Needs Triage", "always", False),
        (4, "Security", "optional", True),
    )
)
IO_STATUSES: tuple[dict[str, Any], ...] = tuple(
    {"id": f"01HSANDB0XSTATVS00000000{n:02}", "name": name, "description": "", "category": category, "rank": n}
    for n, name, category in (
        (1, "Triage", "triage"),
        (2, "Investigating", "live"),
        (3, "Fixing", "live"),
        (4, "Monitoring", "live"),
        (5, "Documenting", "learning"),
        (6, "Paused", "paused"),
        (7, "Closed", "closed"),
        (8, "Declined", "declined"),
        (9, "Canceled", "canceled"),
        (10, "Merged", "merged"),
    )
)
IO_TEAM_FIELD = "01HSANDB0XF1E1DAFFTEAM0001"
IO_FIELDS: tuple[dict[str, Any], ...] = (
    {"id": IO_TEAM_FIELD, "name": "Affected Team", "description": "", "field_type": "single_select"},
    {"id": "01HSANDB0XF1E1DT1CKET00001", "name": "Ticket", "description": "", "field_type": "text"},
)
IO_OPTIONS: tuple[dict[str, Any], ...] = tuple(
    {"id": f"01HSANDB0X0PT10N00000000{n:02}", "custom_field_id": IO_TEAM_FIELD, "sort_key": n * 10, "value": value}
    for n, value in enumerate(("Payments", "Platform", "Support"), start=1)
)
IO_ROLES: tuple[dict[str, Any], ...] = (
    {
        "id": "01HSANDB0XR01E000000000001",
        "name": "Incident Lead",
        "description": "The person currently coordinating the incident",
        "instructions": "",
        "role_type": "lead",
        "shortform": "lead",
    },
    {
        "id": "01HSANDB0XR01E000000000002",
        "name": "Reporter",
        "description": "The person who reported the incident",
        "instructions": "",
        "role_type": "reporter",
        "shortform": "reporter",
    },
)
IO_USERS: tuple[dict[str, Any], ...] = (
    {"id": "01HSANDB0XVSER000000000001", "name": "On-call", "email": "oncall@example.com", "role": "responder"},
)
IO_KEY = {
    "name": "Sandbox key",
    "roles": ["incident_creator", "incident_editor", "viewer"],
    "id": "01HSANDB0XKEY0000000000001",
}
IO_SEEDED_AT = "2026-01-01T00:00:00.000000Z"
