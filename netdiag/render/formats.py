"""The formats of a report by name, but for the text of a terminal, which wants to know the terminal."""

from collections.abc import Callable

from netdiag.model.finding import Report
from netdiag.render.ecs import render_ecs
from netdiag.render.html import render_html
from netdiag.render.json import render_json
from netdiag.render.markdown import render_markdown
from netdiag.render.prometheus import render_prometheus
from netdiag.render.sarif import render_sarif
from netdiag.render.sensu import render_sensu

FORMATS: dict[str, Callable[[Report], str]] = {
    "json": render_json,
    "markdown": render_markdown,
    "html": render_html,
    "sarif": render_sarif,
    "prometheus": render_prometheus,
    "sensu": render_sensu,
    "ecs": render_ecs,
}
