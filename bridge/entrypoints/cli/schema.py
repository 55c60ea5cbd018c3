"""`schema`: the JSON Schemas for editors, to standard output or as files."""

import json
from pathlib import Path
from typing import Any

import click

from bridge.adapters.files import replace_text
from bridge.entrypoints.cli import tell, unused_config_option
from bridge.entrypoints.cli.tables import printed

NAMES = ("rules", "bridge", "tests")


@click.command()
@click.argument("name", type=click.Choice(NAMES), required=False)
@click.option("--out", "folder", type=click.Path(path_type=Path, file_okay=False), help="Write files into this folder.")
@unused_config_option
def schema(name: str | None, folder: Path | None) -> int:
    """Print the JSON Schema of bridge.yaml, rules or tests (all of them without a name), or write it as a file.

    An editor with a YAML language server finds it by the first line of the shipped examples.
    """
    from bridge.config.schema import file_name

    wanted = {one: made for one, made in every_schema().items() if name in (None, one)}
    if folder is None:
        printed(wanted if name is None else wanted[name])
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    for one, made in wanted.items():
        path = folder / file_name(one)
        replace_text(path, as_file(made))
        tell(f"wrote {path}")
    return 0


def every_schema() -> dict[str, dict[str, Any]]:
    """The schemas by name, for everything this program knows."""
    from bridge.config.schema import schemas
    from bridge.destinations import DESTINATIONS
    from bridge.sources import SOURCES

    return schemas(SOURCES, DESTINATIONS)


def as_file(made: dict[str, Any]) -> str:
    """A schema as the text of its file."""
    return json.dumps(made, ensure_ascii=False, indent=2) + "\n"
