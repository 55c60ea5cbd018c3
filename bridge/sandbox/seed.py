"""What the sandbox's two organisations are made of: services, people, priorities, severities, statuses."""

from typing import Any

BOT_EMAIL = "incident-bridge@example.com"

PD_USERS: tuple[dict[str, Any], ...] = (
    {"id": "PBRIDGE", "type": "user", "name": "Incident Bridge", "email": BOT_EMAIL, "role": "user"},
    {"id": "PONCALL", "type": "user", "name": "On-call", "email": "oncall@example.com", "role": "user"},
)
PD_POLICIES: tuple[dict[str, Any], ...] = (
    {"id": "PPOLDEF", "type": "escalation_policy", "name": "Default"},
    {"id": "PPOLPAY", "type": "escalation_policy", "name": "Payments"},
)
PD_LEVELS = 3  # of each policy
PD_SERVICES: tuple[dict[str, Any], ...] = (
    {"id": "PSVPGPR", "type": "service", "name": "Postgres Primary", "status": "active"},
    {"id": "PSVCHKO", "type": "service", "name": "Checkout API", "status": "active"},
    {"id": "PSVCATC", "type": "service", "name": "Catch-all", "status": "active"},
    {"id": "PSVRETD", "type": "service", "name": "Retired", "status": "disabled"},
)
PD_PRIORITIES: tuple[dict[str, Any], ...] = tuple(
    {"id": f"PPRIO{n}X", "type": "priority", "name": f"P{n}"} for n in range(1, 6)
)
PD_INCIDENT_TYPES: tuple[dict[str, Any], ...] = (
    {"id": "PTYPDEF", "type": "incident_type", "name": "incident_default", "display_name": "Base Incident"},
    {"id": "PTYPMAJ", "type": "incident_type", "name": "major_incident", "display_name": "Major Incident"},
    {"id": "PTYPSEC", "type": "incident_type", "name": "security", "display_name": "Security"},
)
PD_REVOKED = "revoked"  # tokens that are refused something; any other is a full one
PD_READ_ONLY = "read-only"
PD_NO_PRIORITIES = "no-priorities"
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
IO_REGIONS_FIELD = "01HSANDB0XF1E1DREG10NS0001"
IO_SERVICES_FIELD = "01HSANDB0XF1E1DSERV1CES001"
IO_CATALOG = "01HSANDB0XCATA10GSERV1CE01"  # a catalog type: the services
IO_FIELDS: tuple[dict[str, Any], ...] = (
    {"id": IO_TEAM_FIELD, "name": "Affected Team", "description": "", "field_type": "single_select"},
    {"id": "01HSANDB0XF1E1DT1CKET00001", "name": "Ticket", "description": "", "field_type": "text"},
    {"id": IO_REGIONS_FIELD, "name": "Regions", "description": "", "field_type": "multi_select"},
    {
        "id": IO_SERVICES_FIELD,
        "name": "Services",
        "description": "",
        "field_type": "multi_select",
        "catalog_type_id": IO_CATALOG,
    },
    {"id": "01HSANDB0XF1E1DRVNB00K0001", "name": "Runbook", "description": "", "field_type": "link"},
    {"id": "01HSANDB0XF1E1DCVST0MERS01", "name": "Customers affected", "description": "", "field_type": "numeric"},
)
IO_OPTIONS: tuple[dict[str, Any], ...] = tuple(
    {"id": f"01HSANDB0X0PT10N00000000{n:02}", "custom_field_id": field, "sort_key": n * 10, "value": value}
    for n, field, value in (
        (1, IO_TEAM_FIELD, "Payments"),
        (2, IO_TEAM_FIELD, "Platform"),
        (3, IO_TEAM_FIELD, "Support"),
        (4, IO_REGIONS_FIELD, "EU"),
        (5, IO_REGIONS_FIELD, "US"),
    )
)
IO_ENTRIES: tuple[dict[str, Any], ...] = tuple(
    {
        "id": f"01HSANDB0XENTRY000000000{n:02}",
        "catalog_type_id": IO_CATALOG,
        "name": name,
        "external_id": external_id,
        "aliases": aliases,
        "rank": n,
    }
    for n, name, external_id, aliases in (
        (1, "Checkout API", "checkout", ["cart"]),
        (2, "Postgres Primary", "pg-main", []),
        (3, "Search", "search", []),
    )
)
IO_TIMESTAMPS: tuple[dict[str, Any], ...] = tuple(
    {"id": f"01HSANDB0XT1MESTAMP00000{n:02}", "name": name, "rank": n}
    for n, name in ((1, "Reported at"), (2, "Impact started at"), (3, "Resolved at"))
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
        "shortform": "",
    },
    {
        "id": "01HSANDB0XR01E000000000003",
        "name": "Communications",
        "description": "The person who tells customers",
        "instructions": "",
        "role_type": "custom",
        "shortform": "comms",
    },
)
IO_USERS: tuple[dict[str, Any], ...] = tuple(
    {
        "id": f"01HSANDB0XVSER0000000000{n:02}",
        "name": name,
        "email": email,
        "slack_user_id": slack_user_id,
        "role": "responder",
        "is_active": True,
    }
    for n, name, email, slack_user_id in (
        (1, "On-call", "oncall@example.com", "U0SANDB0X1"),
        (2, "Support Lead", "support-lead@example.com", "U0SANDB0X2"),
    )
)
IO_KEY = {
    "name": "Sandbox key",
    "roles": ["incident_creator", "incident_editor", "viewer"],
    "id": "01HSANDB0XKEY0000000000001",
}
IO_SEEDED_AT = "2026-01-01T00:00:00.000000Z"
