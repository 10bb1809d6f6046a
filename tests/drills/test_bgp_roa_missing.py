"""An RPKI cache that does not answer on the configured port."""

from tests.drills.bgp import reconfigured
from tests.lab import Host, Lab

CONF = """
router id 192.0.2.1;
protocol device {{}}
roa4 table r4;
{cache}
"""
CACHE = "protocol rpki cache1 { roa4 { table r4; }; remote 127.0.0.1 port 3399; }"


def test_a_cache_that_does_not_answer(lab: Lab) -> None:
    host = lab.host("edge1")
    lab.birdd(host, CONF.format(cache=CACHE))

    def named() -> bool:
        found = {row["rule"]: row for row in host.report("--interval", "0")["findings"]}
        return found.get("bgp-roa-missing", {}).get("severity") == "warning"

    lab.wait(named, 20, "it is told once the daemon had its ten seconds")
    reconfigured(host, CONF.format(cache=""))
    assert silent(host)


def silent(host: Host) -> bool:
    return not host.report("--interval", "0")["findings"]
