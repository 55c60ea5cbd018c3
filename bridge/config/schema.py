"""JSON Schemas of bridge.yaml, of rule files and of their tests: what an editor completes, explains and underlines.

Made from the pydantic models, the operators and the tables of sources and destinations; a key without a description is
a mistake that a test finds. They are draft-07, which every YAML language server reads, and refuse nothing that works;
`incident-bridge check` knows more: names, files, regexes, templates.
"""

from bridge.config.schema_bridge import bridge_schema
from bridge.config.schema_parts import Schema, Types
from bridge.config.schema_rules import rules_schema
from bridge.config.schema_tests import tests_schema


def schemas(sources: Types, destinations: Types) -> dict[str, Schema]:
    """All of them by name, which is also the name of their file: <name>.schema.json."""
    return {
        "bridge": bridge_schema(sources, destinations),
        "rules": rules_schema(destinations),
        "tests": tests_schema(),
    }


def file_name(name: str) -> str:
    """What the file of a schema is called."""
    return f"{name}.schema.json"
