"""How the page looks, in daylight and in the dark, on a desk and in a hand; and the policy that lets only this in."""

import base64
import hashlib
import html

from netdiag.render.escape import visible

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1b2330; --soft: #5b6675; --line: #dfe3e9; --code: #f0f2f5;
  --critical: #b3261e; --warning: #9a5b00; --info: #1f5fae; --ok: #1b7a45;
  --critical-wash: #fbeceb; --warning-wash: #fdf3e1; --info-wash: #e9f1fb; --ok-wash: #e6f4ec;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --card: #1a2029; --ink: #e6eaf0; --soft: #9aa5b4; --line: #2c3542; --code: #232b36;
    --critical: #ff8a80; --warning: #f2b85b; --info: #82b4f5; --ok: #6fcf97;
    --critical-wash: #3a1f20; --warning-wash: #372a14; --info-wash: #1a2b42; --ok-wash: #16301f;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); overflow-wrap: anywhere; }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
a { color: var(--info); text-decoration: none; } a:hover, a:focus { text-decoration: underline; }
h1, h2, h3 { line-height: 1.25; margin: 0; font-weight: 650; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin: 2.75rem 0 .9rem; } h3 { font-size: 1rem; }
p { margin: .4rem 0; }
.soft { color: var(--soft); } .small { font-size: .875rem; }
code, pre { font: .84rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: var(--code); border-radius: .4rem; margin: .3rem 0; overflow-x: auto; padding: .55rem .75rem; }
header { display: flex; flex-wrap: wrap; align-items: center; gap: .6rem 1rem; }
.verdict { border-radius: 2rem; font-size: .85rem; font-weight: 700; letter-spacing: .05em; padding: .2rem .85rem;
  text-transform: uppercase; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; margin-top: .8rem; font-size: .9rem; }
.figures { display: grid; gap: .75rem; margin-top: 1.4rem;
  grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); }
.figure { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .7rem .95rem; }
.figure b { display: block; font-size: 1.55rem; font-weight: 650; line-height: 1.2;
  font-variant-numeric: tabular-nums; }
.figure span { color: var(--soft); font-size: .85rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; margin: .8rem 0;
  padding: .95rem 1.1rem; }
article.card { border-left: .3rem solid var(--line); }
article.critical { border-left-color: var(--critical); } article.warning { border-left-color: var(--warning); }
article.info { border-left-color: var(--info); }
article > .message { font-size: 1.05rem; font-weight: 550; margin: .35rem 0 .2rem; }
.suppressed { opacity: .65; }
.tag { border-radius: .3rem; font-size: .74rem; font-weight: 650; letter-spacing: .03em; padding: .1rem .45rem;
  text-transform: uppercase; white-space: nowrap; }
.critical > .tag, .tag.critical, .verdict.critical, .verdict.unknown {
  background: var(--critical-wash); color: var(--critical); }
.tag.warning, .verdict.warning { background: var(--warning-wash); color: var(--warning); }
.tag.info { background: var(--info-wash); color: var(--info); }
.tag.ok, .verdict.ok { background: var(--ok-wash); color: var(--ok); }
.n-critical { color: var(--critical); } .n-warning { color: var(--warning); }
.chips { display: flex; flex-wrap: wrap; gap: .35rem; margin: .55rem 0 .3rem; }
.chips a, .chips span { background: var(--code); border-radius: .3rem; font-size: .82rem; padding: .05rem .5rem; }
details { margin-top: .5rem; } summary { color: var(--soft); cursor: pointer; font-size: .9rem; }
summary:hover { color: var(--ink); }
.label { color: var(--soft); font-size: .78rem; letter-spacing: .04em; margin: .7rem 0 0; text-transform: uppercase; }
dl { display: grid; gap: .2rem 1rem; grid-template-columns: minmax(7rem, 1fr) minmax(0, 2fr); margin: .5rem 0;
  font-size: .9rem; }
dt { color: var(--soft); } dd { margin: 0; }
ul.below { list-style: none; margin: .5rem 0 0; padding: 0; font-size: .9rem; }
ul.below li { border-top: 1px solid var(--line); padding: .35rem 0; }
.two { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
.two > .card { margin: 0; min-width: 0; }
svg { display: block; height: auto; max-width: 100%; width: 100%; }
svg text { fill: var(--ink); font: 13px system-ui, sans-serif; } svg text.soft { fill: var(--soft); font-size: 12px; }
svg .region { fill: var(--page); stroke: var(--line); } svg .way { stroke: var(--line); fill: none; }
svg .way.sick { stroke: var(--critical); } svg .pair { stroke: var(--critical); stroke-width: 1; opacity: .45; }
svg .dot { fill: var(--ok); } svg .dot.critical { fill: var(--critical); } svg .dot.warning { fill: var(--warning); }
svg .plate { fill: var(--card); stroke: var(--critical); } svg text.sick { fill: var(--critical); font-weight: 650; }
svg .grid { stroke: var(--line); } svg .curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg .curve.critical { stroke: var(--critical); } svg .curve.warning { stroke: var(--warning); }
svg .curve.hosts { stroke: var(--info); } svg .end.critical { fill: var(--critical); }
svg .end.warning { fill: var(--warning); } svg .end.hosts { fill: var(--info); }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; font-size: .85rem; color: var(--soft); }
.key i { border-radius: 50%; display: inline-block; height: .65rem; margin-right: .4rem; width: .65rem; }
.key .critical { background: var(--critical); } .key .warning { background: var(--warning); }
.key .ok { background: var(--ok); } .key .hosts { background: var(--info); }
.rows { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
.rows > * { border-top: 1px solid var(--line); margin: 0; padding: .5rem 1rem; }
.rows > *:first-child { border-top: 0; }
.row { display: grid; align-items: baseline; gap: .1rem 1rem; grid-template-columns: 11rem 8rem minmax(0, 1fr) auto; }
.host summary { display: grid; align-items: baseline; gap: .1rem 1rem; color: var(--ink);
  grid-template-columns: minmax(0, 14rem) minmax(0, 9rem) minmax(0, 1fr) auto; list-style: none; }
.host summary::-webkit-details-marker { display: none; }
.host summary b { font-weight: 600; } .host:target { background: var(--info-wash); }
@media (max-width: 40rem) {
  main { padding: 1rem .85rem 3rem; } h1 { font-size: 1.35rem; }
  .row, .host summary { grid-template-columns: minmax(0, 1fr) auto; }
  .row > .wide, .host summary > .wide { grid-column: 1 / -1; grid-row: 2; }
  .host summary > .region { display: none; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; } dd { margin-bottom: .4rem; }
  .figures { grid-template-columns: repeat(2, minmax(0, 1fr)); } .figure:first-child { grid-column: 1 / -1; }
  pre { white-space: pre-wrap; } svg.map .plate, svg.map .sick:not(.way) { display: none; }
  svg.map text.name { font-size: 20px; }
}
@media print { body { background: none; } .card, .rows, .figure { break-inside: avoid; } }
"""
HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{HASH}'; base-uri 'none'; form-action 'none'"


def text(foreign: str) -> str:
    """A foreign string, harmless and in full."""
    return html.escape(visible(foreign), quote=True)


def anchor(host: str) -> str:
    """The id of a host's place in the page: letters, digits and hyphens, one for each name."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in host)[:60]
    return f"host-{plain}-{hashlib.sha256(host.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
