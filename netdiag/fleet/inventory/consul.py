"""Consul's catalogue as an inventory: ``consul:URL``, token in CONSUL_HTTP_TOKEN.

GET /v1/catalog/nodes of the URL; its own query (``?dc=fra``, ``?filter=...``) goes along. Node metadata become labels,
the data centre the label ``datacenter``; a node in maintenance (the check ``_node_maintenance`` of
/v1/health/state/critical) is labelled drained. Consul's HTTP API: developer documentation, "Catalog" and "Health".
"""

from typing import Any

from netdiag.fleet import webapi
from netdiag.fleet.inventory.target import ADDRESS, NAME, Inventory, InventoryRefused, inventory, label, target
from netdiag.model.sweep import Target

MAINTENANCE = "_node_maintenance"


def read(place: str) -> Inventory:
    """The nodes of a catalogue. Raises InventoryRefused."""
    try:
        parts = webapi.base(place)
        headers = {"X-Consul-Token": webapi.token("CONSUL_HTTP_TOKEN")}
        nodes = webapi.ask(webapi.address(parts, "/v1/catalog/nodes"), headers=headers)
        # A filter of nodes is not one of checks.
        checks_at = webapi.address(parts._replace(query=_without_filter(parts.query)), "/v1/health/state/critical")
        checks = webapi.ask(checks_at, headers=headers)
    except webapi.ApiRefused as error:
        raise InventoryRefused(str(error)) from error
    source = f"{parts.scheme}://{parts.netloc}"
    if not _objects(nodes) or not _objects(checks):
        raise InventoryRefused(f"{source}: the answer is not Consul's")
    drained = {check.get("Node") for check in checks if check.get("CheckID") == MAINTENANCE}
    return inventory(source, (_target(source, node, node.get("Node") in drained) for node in nodes))


def _without_filter(query: str) -> str:
    return "&".join(word for word in query.split("&") if not word.startswith("filter="))


def _objects(rows: Any) -> bool:
    return isinstance(rows, list) and all(isinstance(row, dict) for row in rows)


def _target(source: str, node: dict[str, Any], drained: bool) -> Target:
    labels = usable(node.get("Meta"))
    if isinstance(node.get("Datacenter"), str):
        labels.setdefault("datacenter", node["Datacenter"])
    if drained:
        labels["drained"] = "true"
    address = node.get("Address")
    return target(source, node.get("Node"), address=address if _dialled(address) else None, labels=labels)


def _dialled(address: Any) -> bool:
    """An external node may carry an address that is none."""
    return isinstance(address, str) and ADDRESS.fullmatch(address) is not None


def usable(meta: Any) -> dict[str, str]:
    """Of a catalogue's metadata, what can be a label; others set it for their own ends, so the rest is left out."""
    found: dict[str, str] = {}
    for key, value in meta.items() if isinstance(meta, dict) else ():
        if isinstance(key, str) and NAME.fullmatch(key):
            try:
                found[key] = label(value)
            except ValueError:
                continue
    return found
