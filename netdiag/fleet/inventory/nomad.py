"""Nomad's nodes as an inventory: ``nomad:URL``, token in NOMAD_TOKEN.

GET /v1/nodes of the URL, then /v1/node/ID of each; the URL's own query (``?region=eu``, ``?filter=...``) goes along
with the first. A node's metadata become labels, and: datacenter, node_class, node_pool, status, kernel, and ``drained``
where a drain is under way or the node is not eligible. A host that registered anew is listed twice until Nomad forgets
the old node: the one that is ready counts. Nomad's HTTP API: developer documentation, "Nodes".
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import SplitResult, quote

from netdiag.fleet import webapi
from netdiag.fleet.inventory.consul import usable
from netdiag.fleet.inventory.target import Inventory, InventoryRefused, inventory, target
from netdiag.model.sweep import Target

AT_ONCE = 16
FIELDS = {"Datacenter": "datacenter", "NodeClass": "node_class", "NodePool": "node_pool", "Status": "status"}


def read(place: str) -> Inventory:
    """The nodes of a cluster. Raises InventoryRefused."""
    try:
        parts = webapi.base(place)
        headers = {"X-Nomad-Token": webapi.token("NOMAD_TOKEN")}
        nodes = webapi.ask(webapi.address(parts, "/v1/nodes"), headers=headers)
        source = f"{parts.scheme}://{parts.netloc}"
        if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
            raise InventoryRefused(f"{source}: the answer is not Nomad's")
        counted = list(_newest(nodes))
        with ThreadPoolExecutor(AT_ONCE) as threads:
            whole = list(threads.map(lambda node: _whole(parts, headers, node), counted))
    except webapi.ApiRefused as error:
        raise InventoryRefused(str(error)) from error
    return inventory(source, (_target(source, *pair) for pair in zip(counted, whole, strict=True)))


def _newest(nodes: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """One node a name, the ready one first."""
    found: dict[str, dict[str, Any]] = {}
    for node in sorted(nodes, key=lambda node: node.get("Status") != "ready"):
        found.setdefault(str(node.get("Name")), node)
    return found.values()


def _whole(parts: SplitResult, headers: dict[str, str | None], node: dict[str, Any]) -> dict[str, Any]:
    """What the list leaves out of a node: Attributes and Meta. Raises ApiRefused."""
    path = f"/v1/node/{quote(str(node.get('ID')), safe='')}"
    found = webapi.ask(webapi.address(parts._replace(query=_region(parts.query)), path), headers=headers)
    return found if isinstance(found, dict) else {}


def _region(query: str) -> str:
    return "&".join(word for word in query.split("&") if word.startswith("region="))


def _target(source: str, node: dict[str, Any], whole: dict[str, Any]) -> Target:
    labels = usable(whole.get("Meta"))
    labels |= usable({label: node.get(field) for field, label in FIELDS.items() if node.get(field)})
    attributes = whole.get("Attributes")
    if isinstance(attributes, dict):
        labels |= usable({"kernel": attributes.get("kernel.version")})
    if node.get("Drain") is True or node.get("SchedulingEligibility") == "ineligible":
        labels["drained"] = "true"
    return target(source, node.get("Name"), address=node.get("Address"), labels=labels)
