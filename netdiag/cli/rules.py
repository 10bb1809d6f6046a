"""``netdiag rules``: the list of rules."""

import click

from netdiag.cli import _output
from netdiag.cli._errors import Usage, nearest
from netdiag.cli._rulenames import modules
from netdiag.cli._verb import Session, Verb, json_option


@click.command(cls=Verb, short_help="List the rules.")
@json_option()
@click.option("--domain", metavar="DOMAIN", help="Only the rules of this domain.")
@click.option("--reads", metavar="TABLE", help="Only the rules that judge or weigh this table.")
@click.option(
    "--all", "everything", is_flag=True, help="Also the faults that cannot be decided from one host, and why."
)
def command(session: Session, *, as_json: bool, domain: str | None, reads: str | None, everything: bool) -> int:
    """List the rules: id, the worst severity that each reports, domain, and the fault in a few words."""
    from netdiag.index.view import COLLECTOR_OF
    from netdiag.render.rulepages import rules_json, rules_text
    from netdiag.rules.undecidable import UNDECIDABLE

    found = list(modules().values())
    undecidable = {name: why for name, why in UNDECIDABLE.items() if name not in modules()} if everything else {}
    if domain is not None:
        domains = {module.domain for module in found}
        if domain not in domains:
            raise Usage(f"no such domain: {domain}{nearest(domain, domains)}; there are {', '.join(sorted(domains))}")
        found = [module for module in found if module.domain == domain]
    if reads is not None:
        tables = {*COLLECTOR_OF, *(name.partition(".")[0] for name in COLLECTOR_OF)}
        if reads not in tables:
            raise Usage(f"no such table: {reads}{nearest(reads, tables)}; there are {', '.join(sorted(tables))}")
        found = [
            module
            for module in found
            if any(
                name in (reads, f"{reads}.{name.partition('.')[2]}")
                for name in (*module.rule.reads, *module.rule.consults)
            )
        ]
    if domain is not None or reads is not None:
        undecidable = {}
    text = rules_json(found, undecidable) if as_json else rules_text(found, _output.terminal_width(), undecidable)
    _output.emit([text], utf8=as_json)
    return 0
