"""The report as ``netdiag.report/1``: JSON whose keys always come in the same order, with one line break at the end.

The published schema is netdiag/schema/netdiag.report-1.schema.json. Nothing can fail.
"""

import msgspec

from netdiag.model.finding import Report
from netdiag.render.escape import json_text


def render_json(report: Report) -> str:
    """The whole report, indented by one space so that a person can read it and a diff shows one field a line."""
    return pretty(report)


def pretty(value: object) -> str:
    """Any value of the model as indented JSON, harmless on a terminal, with one line break at the end."""
    return json_text(msgspec.json.format(msgspec.json.encode(value), indent=1).decode()) + "\n"


def compact(value: object) -> str:
    """Any value of the model as JSON on one line, harmless on a terminal, without a line break."""
    return json_text(msgspec.json.encode(value).decode())
