"""The formats for other programs: each read back by a strict reader, with every text hostile."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from netdiag.model.finding import Report, subject_text
from netdiag.render.ecs import render_ecs
from netdiag.render.formats import FORMATS
from netdiag.render.html import render_html
from netdiag.render.prometheus import render_prometheus
from netdiag.render.sarif import render_sarif
from netdiag.render.sensu import render_sensu
from tests.render.reports import HOSTILE, broken, clean, finding, hostile, report

REPORTS = [broken(), clean(), hostile()]
QUOTES = "a\"b'c\\d\\n\ne|f`g<script>h</script>\\"


def quoting() -> Report:
    """Every quote there is, and a backslash at the end."""
    return report(finding("x-y", "warning", QUOTES, QUOTES, suppressed=QUOTES, netns=QUOTES))


every = pytest.mark.parametrize("one", [*REPORTS, quoting()], ids=["broken", "clean", "hostile", "quoting"])


@every
@pytest.mark.parametrize("name", FORMATS)
def test_nothing_that_a_terminal_obeys_and_the_same_twice(name: str, one: Report) -> None:
    text = FORMATS[name](one)
    assert text.endswith("\n")
    assert all(character == "\n" or character.isprintable() for character in text)
    assert text == FORMATS[name](one)


def only(what: dict[str, Any], **types: type | tuple[type, ...]) -> None:
    """An object has these fields, of these types, and no others."""
    assert set(what) <= set(types), set(what) - set(types)
    for key, value in what.items():
        assert isinstance(value, types[key]), (key, value)


@every
def test_sarif(one: Report) -> None:
    """The parts of sarif-schema-2.1.0.json that are used: required fields, enums, ranges, and no field it forbids."""
    log = json.loads(render_sarif(one))
    only(log, **{"$schema": str}, version=str, runs=list)
    assert log["version"] == "2.1.0" and len(log["runs"]) == 1
    (run,) = log["runs"]
    only(run, tool=dict, invocations=list, results=list, columnKind=str, properties=dict)
    driver = run["tool"]["driver"]
    only(driver, name=str, version=str, rules=list)
    assert driver["name"] and len({rule["id"] for rule in driver["rules"]}) == len(driver["rules"])
    (invocation,) = run["invocations"]
    only(invocation, executionSuccessful=bool, machine=str, endTimeUtc=str, toolExecutionNotifications=list)
    assert len(invocation["toolExecutionNotifications"]) == len(one.not_evaluated)
    assert len(run["results"]) == len(one.findings)
    for result, found in zip(run["results"], one.findings, strict=True):
        assert {"ruleId", "level", "message", "locations"} <= set(result)
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error") and result["message"]["text"]
        assert 0 <= result["rank"] <= 100
        assert all(isinstance(value, str) for value in result["partialFingerprints"].values())
        (place,) = result["locations"][0]["logicalLocations"]
        only(place, name=str, fullyQualifiedName=str, kind=str)
        assert ("suppressions" in result) == (found.suppressed is not None)
        for row in result.get("suppressions", ()):
            assert row["kind"] in ("inSource", "external")


def sample(line: str) -> tuple[str, tuple[tuple[str, str], ...], float]:
    """One sample, character by character: name, labels, value, and no timestamp."""
    name = re.match(r"[a-zA-Z_:][a-zA-Z0-9_:]*", line)
    assert name, line
    labels, at = [], name.end()
    if line[at] == "{":
        at += 1
        while line[at] != "}":
            key = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="').match(line, at)
            assert key, line[at:]
            at, value = key.end(), ""
            while line[at] != '"':
                if line[at] == "\\":
                    value += {"n": "\n", "\\": "\\", '"': '"'}[line[at + 1]]
                    at += 1
                else:
                    value += line[at]
                at += 1
            labels.append((key[1], value))
            at += 1 + (line[at + 1] == ",")
        at += 1
    assert line[at] == " " and " " not in line[at + 1 :]
    return name[0], tuple(labels), float(line[at + 1 :])


def exposition(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """A strict reader of the text format: HELP, TYPE, then all samples of that name, nothing twice."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    typed: list[str] = []
    for line in text.splitlines():
        if line.startswith("# HELP "):
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert kind == "gauge" and name not in typed
            typed.append(name)
            continue
        name, labels, value = sample(line)
        assert name == typed[-1]
        assert len({key for key, _ in labels}) == len(labels)
        assert (name, labels) not in found
        found[name, labels] = value
    return found


@every
def test_prometheus(one: Report) -> None:
    samples = exposition(render_prometheus(one))
    rows = [dict(labels) for name, labels in samples if name == "netdiag_finding_info"]
    assert len(rows) == len(one.findings)
    live = sum(value for (name, _), value in samples.items() if name == "netdiag_findings")
    assert live == sum(found.suppressed is None for found in one.findings)
    assert samples["netdiag_verdict", ()] == {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}[one.verdict]


def test_prometheus_labels_come_back() -> None:
    rows = [dict(labels) for name, labels in exposition(render_prometheus(quoting())) if name == "netdiag_finding_info"]
    assert rows[0]["subject"] == subject_text(quoting().findings[0].subject).replace("\n", "\\x0a")


@every
def test_sensu(one: Report) -> None:
    event = json.loads(render_sensu(one))
    assert (event["type"], event["api_version"]) == ("Event", "core/v2")
    check = event["spec"]["check"]
    assert check["status"] == {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}[one.verdict]
    assert re.fullmatch(r"[\w.\-]+", event["spec"]["entity"]["metadata"]["name"], re.ASCII)
    lines = check["output"].splitlines()
    assert len(lines) == len(one.findings) + 3


@every
def test_ecs(one: Report) -> None:
    documents = [json.loads(line) for line in render_ecs(one).splitlines()]
    assert len(documents) == len(one.findings) + 1
    for document in documents:
        assert {"@timestamp", "ecs", "event", "host", "message"} <= set(document)
        assert document["event"]["kind"] in ("alert", "event", "state")
        assert document["event"]["category"] == ["network"]
    assert documents[-1]["netdiag"]["verdict"] == one.verdict


class Reader(HTMLParser):
    """Elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@every
def test_html(one: Report) -> None:
    reader = Reader()
    reader.feed(render_html(one))
    tags = {tag for tag, _ in reader.seen}
    assert not tags & {"script", "img", "link", "iframe", "object", "a", "form", "base"}
    policy = next(row["content"] for tag, row in reader.seen if "http-equiv" in row)
    assert policy is not None and policy.startswith("default-src 'none'")
    assert not [
        name for _, row in reader.seen for name in row if name.startswith("on") or name in ("src", "href", "style")
    ]
    assert sum(tag == "article" for tag, _ in reader.seen) == len(one.findings)


def test_html_shows_what_was_hostile() -> None:
    reader = Reader()
    reader.feed(render_html(hostile()))
    assert "<script>`rm -rf /`</script>" in reader.text and HOSTILE not in reader.text
