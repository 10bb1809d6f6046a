"""Make the published schemas from the model: ``python -m netdiag.schema.make`` writes the files beside this one.

msgspec turns the types into JSON Schema; added here are the sentences, the constants and lists that the types do not
hold, and what is required. Objects stay open, because fields may be added within /1. Fails with KeyError where a field
has no sentence.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from netdiag.model.codec import BULK, SMALL
from netdiag.model.finding import KINDS, Report
from netdiag.model.fleetdiff import FleetDiff
from netdiag.model.fleetmatrix import MatrixReport
from netdiag.model.fleetpath import FleetPathReport
from netdiag.model.fleetreport import FleetReport
from netdiag.model.probe import ProbeReport
from netdiag.model.sweep import Finished, Outcome, Plan, SweepReport
from netdiag.model.trace import TraceReport
from netdiag.model.walk import PathReport
from netdiag.schema.sentences import field_sentences, type_sentence
from netdiag.schema.words import TABLES
from netdiag.snapshotfile.document import SCHEMA_MAJOR, SCHEMA_NAME, BulkCard, Document, empty_tables

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SPARSE = ("Outcome", "SweptHost")
"""Structs that are written without the fields that have their default."""
ID_PATTERN = "^[0-9a-f]{16}$"


def report_schema() -> dict[str, Any]:
    """Schema of ``netdiag.report/1``. A report always has every field."""
    definitions = _all_required(Report)
    finding = definitions["Finding"]["properties"]
    finding["id"]["pattern"] = ID_PATTERN
    finding["subject"] = {
        "description": finding["subject"]["description"],
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"description": "What kind of thing it is.", "enum": list(KINDS)}},
        "additionalProperties": {"type": ["string", "integer"]},
    }
    root = definitions.pop("Report")
    root["description"] = (
        "What `netdiag check --json` prints: one host, one moment. null: unknown; []: known to be empty."
    )
    root["properties"]["schema"]["const"] = "netdiag.report/1"
    return _published("netdiag.report-1", "netdiag report", root, definitions)


def snapshot_schema() -> dict[str, Any]:
    """Schema of ``snapshot.json`` of ``netdiag.snapshot/1``."""
    definitions = _definitions([Document, BulkCard, *SMALL.values()])
    shapes, _ = msgspec.json.schema_components(SMALL.values(), ref_template="#/$defs/{name}")
    by_name = dict(zip(SMALL, shapes, strict=True)) | {name: {"$ref": "#/$defs/BulkCard"} for name in BULK}
    root = definitions.pop("Document")
    root["description"] = "snapshot.json of a .netdiag file: everything but the columns of the bulk tables."
    root["properties"]["schema"] = {
        "description": root["properties"]["schema"]["description"],
        "const": f"{SCHEMA_NAME}/{SCHEMA_MAJOR}",
    }
    root["required"] = ["schema", *root["required"]]
    root["properties"]["tables"] = {
        "description": root["properties"]["tables"]["description"],
        "type": "object",
        "properties": {name: {"description": TABLES[name], **by_name[name]} for name in empty_tables()},
    }
    return _published("netdiag.snapshot-1", "netdiag snapshot", root, definitions)


def path_schema() -> dict[str, Any]:
    """Schema of ``netdiag.path/1``."""
    said = "What `netdiag path --json` prints: what one host does with one packet. null: unknown or none."
    return _whole(PathReport, "netdiag.path-1", "netdiag path", said)


def fleet_path_schema() -> dict[str, Any]:
    """Schema of ``netdiag.fleet-path/1``."""
    said = "What `netdiag fleet path --json` prints: one packet from host to host. null: unknown or none."
    return _whole(FleetPathReport, "netdiag.fleet-path-1", "netdiag fleet path", said)


def probe_schema() -> dict[str, Any]:
    """Schema of ``netdiag.probe/1``."""
    said = "What `netdiag probe --json` prints: packets that were sent because somebody asked, and what came back."
    return _whole(ProbeReport, "netdiag.probe-1", "netdiag probe", said)


def _all_required(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Definitions of a report that always has every field."""
    return _required(_definitions([kind]))


def _required(definitions: dict[str, Any]) -> dict[str, Any]:
    """Every field is there, but for what is left out where it says nothing."""
    for name, definition in definitions.items():
        if name not in SPARSE:
            definition["required"] = list(definition["properties"])
        for field in definition["properties"].values():
            field.pop("default", None)
    return definitions


def _whole(kind: type[msgspec.Struct], name: str, title: str, said: str) -> dict[str, Any]:
    """Schema of a report that always has every field."""
    definitions = _all_required(kind)
    root = definitions.pop(kind.__name__)
    root["description"] = said
    root["properties"]["schema"]["const"] = name.replace("-1", "/1")
    return _published(name, title, root, definitions)


def trace_schema() -> dict[str, Any]:
    """Schema of ``netdiag.trace/1``."""
    said = "What `netdiag trace ... --json` prints: what was seen for a while. null: not told."
    return _whole(TraceReport, "netdiag.trace-1", "netdiag trace", said)


def fleet_report_schema() -> dict[str, Any]:
    """Schema of ``netdiag.fleet-report/1``: findings as in ``netdiag.report/1``, with the hosts that they are about."""
    definitions = _all_required(FleetReport)
    _of_fleet(definitions)
    root = definitions.pop("FleetReport")
    root["description"] = (
        "What `netdiag fleet check --json` prints: many hosts, each at its newest. null: unknown; []: known empty."
    )
    root["properties"]["schema"]["const"] = "netdiag.fleet-report/1"
    return _published("netdiag.fleet-report-1", "netdiag fleet report", root, definitions)


def _of_fleet(definitions: dict[str, Any]) -> None:
    """Findings of a fleet name the hosts that they are about."""
    finding = definitions["Finding"]["properties"]
    finding["id"]["pattern"] = ID_PATTERN
    finding["subject"] = {
        "description": finding["subject"]["description"],
        "type": "object",
        "required": ["kind", "hosts"],
        "properties": {
            "kind": {"description": "What kind of thing it is.", "enum": list(KINDS)},
            "hosts": {
                "description": "Names of the hosts that it is about.",
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
            },
        },
        "additionalProperties": {"type": ["string", "integer"]},
    }


def fleet_diff_schema() -> dict[str, Any]:
    """Schema of ``netdiag.fleet-diff/1``."""
    said = "What `netdiag fleet diff --json` prints: two nights of a fleet held against each other."
    whole = _whole(FleetDiff, "netdiag.fleet-diff-1", "netdiag fleet diff", said)
    _of_fleet(whole["$defs"])
    return whole


def fleet_matrix_schema() -> dict[str, Any]:
    """Schema of ``netdiag.fleet-matrix/1``."""
    said = "What `netdiag fleet matrix --json` prints: which host of a mesh reaches which, and with how long packets."
    return _whole(MatrixReport, "netdiag.fleet-matrix-1", "netdiag fleet matrix", said)


def sweep_report_schema() -> dict[str, Any]:
    """Schema of ``netdiag.sweep-report/1``."""
    said = "What `netdiag sweep --json` prints: what became of every host of an inventory."
    return _whole(SweepReport, "netdiag.sweep-report-1", "netdiag sweep report", said)


def sweep_schema() -> dict[str, Any]:
    """Schema of one line of the ledger, ``netdiag.sweep/1``."""
    lines = (Plan, Outcome, Finished)
    definitions = _required(_definitions(list(lines)))
    definitions["Plan"]["properties"]["schema"]["const"] = "netdiag.sweep/1"
    root = {
        "description": "One line of the ledger of a sweep: first the plan, then one a host, in the end when it was.",
        "anyOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in lines],
    }
    return _published("netdiag.sweep-1", "netdiag sweep ledger", root, definitions)


def _published(name: str, title: str, root: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    head = {"$schema": DIALECT, "$id": f"urn:{name.replace('.', ':')}", "title": title}
    return {**head, **{key: value for key, value in root.items() if key != "title"}, "$defs": definitions}


def _definitions(types: list[Any]) -> dict[str, Any]:
    """msgspec's definitions of these types and what they refer to, in alphabetical order, with sentences."""
    _, found = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    structs = _structs(types)
    definitions: dict[str, Any] = {}
    for name in sorted(found):
        definition = json.loads(json.dumps(found[name]))
        definition["description"] = type_sentence(structs[name])
        said = field_sentences(structs[name])
        sentences = {field.encode_name: said[field.name] for field in msgspec.structs.fields(structs[name])}
        if (tag := structs[name].__struct_config__.tag_field) is not None:
            sentences[tag] = "Which kind of result it is."
        for field, shape in definition["properties"].items():
            if not sentences[field]:
                raise KeyError(
                    f"{name}.{field} has no sentence: write one below it in the model, or in schema/words.py"
                )
            definition["properties"][field] = {"description": sentences[field], **_enums_in_order(shape)}
        definitions[name] = definition
    return definitions


def _enums_in_order(shape: dict[str, Any]) -> dict[str, Any]:
    """msgspec sorts a Literal's values; the contract's order is the one in which a person thinks of them."""
    order = ("ok", "partial", "inconsistent", "absent", "denied", "timeout", "critical", "warning", "info", "certain")
    if "enum" in shape:
        rank = {word: position for position, word in enumerate(order)}
        shape["enum"] = sorted(shape["enum"], key=lambda word: (rank.get(word, len(rank)), word))
    return shape


def _structs(types: list[Any]) -> dict[str, type[Any]]:
    """Every struct that the types lead to, by name."""
    found: dict[str, type[Any]] = {}

    def walk(kind: Any) -> None:
        if isinstance(kind, msgspec.inspect.StructType):
            if kind.cls.__name__ in found:
                return
            found[kind.cls.__name__] = kind.cls
            for field in kind.fields:
                walk(field.type)
        for attribute in ("item_type", "key_type", "value_type"):
            if (inner := getattr(kind, attribute, None)) is not None:
                walk(inner)
        for inner in (*getattr(kind, "types", ()), *getattr(kind, "item_types", ())):
            walk(inner)

    for kind in types:
        walk(msgspec.inspect.type_info(kind))
    return found


def texts() -> dict[str, str]:
    """File name and content of each schema."""
    schemas = {"netdiag.report-1": report_schema(), "netdiag.snapshot-1": snapshot_schema()} | {
        "netdiag.path-1": path_schema(),
        "netdiag.trace-1": trace_schema(),
        "netdiag.fleet-report-1": fleet_report_schema(),
        "netdiag.fleet-path-1": fleet_path_schema(),
        "netdiag.probe-1": probe_schema(),
        "netdiag.fleet-diff-1": fleet_diff_schema(),
        "netdiag.fleet-matrix-1": fleet_matrix_schema(),
        "netdiag.sweep-1": sweep_schema(),
        "netdiag.sweep-report-1": sweep_report_schema(),
    }
    return {f"{name}.schema.json": json.dumps(schema, indent=1) + "\n" for name, schema in schemas.items()}


def main() -> None:
    """Write the files."""
    for name, text in texts().items():
        Path(__file__).with_name(name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
