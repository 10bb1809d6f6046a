"""The fleet's page: hostile names stay text, nothing is asked of anybody, and it fits every screen (in Chromium)."""

import re
from pathlib import Path

import msgspec
import pytest

from netdiag.fleet.compare import compare
from netdiag.fleet.judge import judge_fleet
from netdiag.fleet.load import Fleet
from netdiag.fleet.mesh import mesh
from netdiag.index.fleet import FleetView
from netdiag.model.finding import Finding
from netdiag.model.fleetdiff import Night
from netdiag.model.fleetreport import Notice, Unreached
from netdiag.render.fleetpage import fleet_page
from netdiag.render.fleetpage.page import Page
from netdiag.rules.build_regions import regions
from tests.render.browser import Browser
from tests.rules.test_fleet_examples import host

pytestmark = pytest.mark.timed

HOSTILE = "fra-<script>alert(1)</script>\x1b[31m\u202e\"'&" + "x" * 300

OVERLAPS = """
(() => {
  const words = [...document.querySelectorAll('h1,h2,h3,p,pre,dt,dd,summary,.figure,.chips > *,.tag,svg text')]
    .filter(e => e.checkVisibility() && !e.closest('details:not([open]) > :not(summary)'));
  const boxes = words.map(e => [e, e.getBoundingClientRect()]).filter(([e, b]) => b.width && b.height);
  const bad = [];
  for (let i = 0; i < boxes.length; i++) {
    const [one, a] = boxes[i];
    if (a.left < -0.5 || a.right > document.documentElement.clientWidth + 0.5) bad.push(['out', one.outerHTML]);
    for (let j = i + 1; j < boxes.length; j++) {
      const [two, b] = boxes[j];
      if (one.contains(two) || two.contains(one)) continue;
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 1.5 && high > 1.5) bad.push([one.outerHTML.slice(0, 150), two.outerHTML.slice(0, 150)]);
    }
  }
  return bad.slice(0, 5);
})()
"""
CUT = """
[...document.querySelectorAll('main *')].filter(e => e.checkVisibility() && getComputedStyle(e).display != 'inline'
  && !(e instanceof SVGElement) && e.scrollWidth > e.clientWidth + 1 && e.clientWidth
  && getComputedStyle(e).overflowX == 'visible').map(e => e.outerHTML.slice(0, 200)).slice(0, 5)
"""


def page() -> Page:
    """A region that lost another, a host that is odd, and names that mean harm."""
    hosts = regions("fra-a fra-b ams-c ams-d sin-e sin-f", lambda a, b: {a[:3], b[:3]} == {"fra", "sin"})
    fleet = Fleet(
        hosts=tuple(host(name, tables) for name, tables in (hosts | {HOSTILE: hosts["fra-a"]}).items()),
        unreached=(Unreached(name=HOSTILE, reason="</style><img src=x>"),),
        notices=(Notice(kind="stale", host=HOSTILE, detail=HOSTILE),),
    )
    report = judge_fleet(fleet)
    told: list[Finding] = [
        msgspec.structs.replace(
            finding, message=finding.message + HOSTILE, fix=HOSTILE, confirm=(HOSTILE,), suppressed=None
        )
        for finding in report.findings
    ]
    report = msgspec.structs.replace(report, findings=tuple(told))
    trend = [Night(night=f"2026-11-{20 + n}", hosts=6 + n % 2, critical=n % 3, warning=n * n) for n in range(5)]
    before = msgspec.structs.replace(report, findings=())
    return Page(report, mesh(FleetView(hosts=fleet.hosts)), trend, compare(before, report))


def test_what_is_foreign_stays_text() -> None:
    text = fleet_page(page())
    assert "<script" not in text and "<img" not in text and "\x1b" not in text and "\u202e" not in text
    assert not re.search(r"""(?:src|href)=["'](?!#)""", text) and "url(" not in text and "http:" not in text
    assert not re.search(r"<[^>]*\s(?:style|on\w+)=", text), "the policy forbids what no hash names"
    targets = set(re.findall(r'id="([^"]+)"', text))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= targets
    assert len(re.findall(r'id="[^"]+"', text)) == len(targets), "ids are unique"


def test_a_healthy_fleet_and_an_empty_one() -> None:
    well = Fleet(hosts=tuple(host(n, t) for n, t in regions("fra-a fra-b", lambda a, b: False).items()), unreached=())
    text = fleet_page(Page(judge_fleet(well), mesh(FleetView(hosts=well.hosts))))
    assert "Nothing wrong found" in text and "All 1 pairs" in text
    empty = Fleet(hosts=(), unreached=())
    assert 'class="verdict unknown"' in fleet_page(Page(judge_fleet(empty)))


@pytest.mark.xdist_group("browser")
def test_in_a_browser(tmp_path: Path) -> None:
    where = tmp_path / "fleet.html"
    where.write_text(fleet_page(page()), encoding="utf-8")
    (tmp_path / "profile").mkdir()
    browser = Browser(tmp_path / "profile")
    try:
        colours = set()
        for width in (1280, 400):
            for dark in (False, True):
                browser.open(where, width=width, dark=dark)
                assert browser.value("document.documentElement.scrollWidth <= innerWidth"), f"scrolls at {width}"
                assert browser.value(OVERLAPS) == []
                assert browser.value(CUT) == []
                colours.add(browser.value("getComputedStyle(document.body).backgroundColor"))
                browser.value("document.querySelectorAll('details').forEach(d => d.open = true)")
                assert browser.value("document.documentElement.scrollWidth <= innerWidth"), (
                    f"scrolls when opened, {width}"
                )
                assert browser.value(CUT) == []
                asked = [
                    e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"
                ]
                assert asked == [where.as_uri()]
                said = [
                    e
                    for e in browser.events
                    if e["method"] in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
                ]
                assert said == []
        assert len(colours) == 2, "daylight and dark differ"
    finally:
        browser.close()
