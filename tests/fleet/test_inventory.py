"""Inventories: what each kind gives, and that whatever is wrong is one line."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netdiag.fleet.inventory import InventoryRefused, Target, UnknownInventory, read_inventory
from tests.fleet.webserver import Api

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.setattr("shutil.which", lambda name: None)  # an ansible-inventory of this machine is not what is tested

    def put(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return put


def hosts(words: str) -> dict[str, Target]:
    return {target.name: target for target in read_inventory(words).targets}


TOML = """
[defaults]
user = "netdiag"
labels = { region = "fra" }
[[host]]
name = "fra-edge1"
address = "192.0.2.1"
port = 2222
[host.labels]
role = "edge"
drained = true
[[host]]
name = "ams-edge1"
labels = { region = "ams" }
"""


def test_toml_and_json_say_the_same(write: Write) -> None:
    found = hosts("file:" + write("h.toml", TOML))
    assert found["fra-edge1"] == Target(
        name="fra-edge1",
        address="192.0.2.1",
        port=2222,
        user="netdiag",
        labels={"region": "fra", "role": "edge", "drained": "true"},
    )
    assert found["ams-edge1"].address == "ams-edge1" and found["ams-edge1"].labels == {"region": "ams"}
    import tomllib

    assert hosts("file:" + write("h.json", json.dumps(tomllib.loads(TOML)))) == found


def test_lines(write: Write) -> None:
    found = hosts("file:" + write("hosts", "# all\nfra-a address=2001:db8::1 port=22 role=edge # one\n\nfra-b\n"))
    assert found["fra-a"] == Target(name="fra-a", address="2001:db8::1", port=22, labels={"role": "edge"})
    assert set(found) == {"fra-a", "fra-b"}


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("h.toml", "[[host]]\nname = 'a'\nadress = 'b'", "unknown key 'adress' (did you mean address?)"),
        ("h.toml", "[[host]]\naddress = 'b'", "name is missing"),
        ("h.toml", "nope", "not TOML"),
        ("h.json", '{"host": [{"name": "a", "name": "b"}]}', "a key stands twice"),
        ("h.json", "[" * 100_000, "not JSON"),
        ("h.json", '[{"name": "a", "port": 70000}]', "a: port must be a port"),
        ("h", "a\nA", "A stands there twice"),
        ("h", "a x", "line 1: must be NAME key=value"),
        ("h", "-oProxyCommand=x", "cannot be one"),
        ("h", "../../etc/x", "cannot be one"),
        ("h", "a address=$(id)", "cannot be one"),
        ("h", "", "holds no host"),
    ],
)
def test_what_is_wrong_is_one_line(write: Write, name: str, text: str, complaint: str) -> None:
    with pytest.raises(InventoryRefused) as refused:
        read_inventory("file:" + write(name, text))
    assert complaint in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("words", ["hosts.toml", "files:x", "file:", ""])
def test_words_that_name_no_kind(words: str) -> None:
    with pytest.raises(UnknownInventory):
        read_inventory(words)


INI = """
lone ansible_host=192.0.2.9
[edges]
fra-edge[01:03]:2222 role=edge
ams-edge1 ansible_host=ams.example.net ansible_user=ops kernel="6.8 x"
[edges:vars]
region = fra
role = wrong
[europe:children]
edges
[europe:vars]
region = eu
netdiag_label_rack = 7 # seven
"""
YAML = """
all:
  hosts:
    lone: {ansible_host: 192.0.2.9}
  children:
    europe:
      vars: {region: eu, netdiag_label_rack: 7}
      children:
        edges:
          vars: {region: fra, role: wrong}
          hosts:
            fra-edge[01:03]: {role: edge, ansible_port: 2222}
            ams-edge1: {ansible_host: ams.example.net, ansible_user: ops, kernel: 6.8 x}
"""


def test_ansible_ini_and_yaml_say_the_same(write: Write) -> None:
    found = hosts("ansible:" + write("hosts", INI))
    assert set(found) == {"lone", "fra-edge01", "fra-edge02", "fra-edge03", "ams-edge1"}
    edge = found["fra-edge02"]
    assert (edge.port, edge.labels) == (2222, {"region": "fra", "role": "edge", "rack": "7"})
    ams = found["ams-edge1"]
    assert (ams.address, ams.user, ams.labels["kernel"]) == ("ams.example.net", "ops", "6.8 x")
    assert found["lone"].address == "192.0.2.9" and found["lone"].labels == {}
    assert hosts("ansible:" + write("hosts.yml", YAML)) == found


LISTED = {
    "_meta": {"hostvars": {"a": {"ansible_host": "192.0.2.1", "region": "fra", "drained": True}}},
    "all": {"children": ["ungrouped", "web"]},
    "web": {"hosts": ["a", "b"], "vars": {"role": "web"}},
    "old": ["c"],
}


def test_ansible_list_in_a_file_and_from_a_script(write: Write) -> None:
    found = hosts("ansible:" + write("list.json", json.dumps(LISTED)))
    assert found["a"].labels == {"region": "fra", "drained": "true", "role": "web"} and set(found) == {"a", "b", "c"}
    script = write("inventory.sh", f"#!/bin/sh\n[ \"$1\" = --list ] && echo '{json.dumps(LISTED)}'\n")
    Path(script).chmod(0o755)
    assert hosts("ansible:" + script) == found
    Path(script).write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    with pytest.raises(InventoryRefused, match="exit status 3: broken"):
        read_inventory("ansible:" + script)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("h.yml", "plugin: aws_ec2", "a plugin's inventory"),
        ("h.yml", "a: &a\n  children:\n    b: *a\n", "more groups|below itself"),
        ("h.yml", "a: [", "not YAML"),
        ("h.yml", "a: !!python/object:os.system {}", "not YAML"),
        ("h.yml", "all: {hosts: {a: {ansible_host: '{{ ip }}'}}}", "template"),
        ("hosts", "[a:children]\nb\n[b:children]\na\n[a]\nx\n", "below itself"),
        ("hosts", "a[0:9999999]\n", "a range"),
        ("hosts", "[a\n", "line 1: .* not closed"),
        ("hosts", "[a:nope]\n", "none of"),
    ],
)
def test_ansible_that_cannot_be_read(write: Write, name: str, text: str, complaint: str) -> None:
    with pytest.raises(InventoryRefused, match=complaint):
        read_inventory("ansible:" + write(name, text))


def test_group_vars_beside_the_file_are_not_passed_over(write: Write, tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    with pytest.raises(InventoryRefused, match="group_vars"):
        read_inventory("ansible:" + write("hosts", "a\n"))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "consul-secret")
    monkeypatch.setenv("NOMAD_TOKEN", "nomad-secret")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # never for this machine itself
    with Api() as found:
        yield found


def test_consul(api: Api) -> None:
    api.answers["/v1/catalog/nodes"] = (
        200,
        [
            {
                "Node": "fra-edge1",
                "Address": "192.0.2.1",
                "Datacenter": "fra1",
                "Meta": {"role": "edge", "bad key!": "x"},
            },
            {"Node": "fra-edge2", "Address": "192.0.2.2", "Datacenter": "fra1", "Meta": None},
        ],
    )
    api.answers["/v1/health/state/critical"] = 200, [{"Node": "fra-edge2", "CheckID": "_node_maintenance"}]
    found = hosts(f"consul:{api.url}?dc=fra1&filter=x")
    assert found["fra-edge1"] == Target(
        name="fra-edge1", address="192.0.2.1", labels={"role": "edge", "datacenter": "fra1"}
    )
    assert found["fra-edge2"].labels == {"datacenter": "fra1", "drained": "true"}
    assert [(path, query) for _, path, query, _ in api.asked] == [
        ("/v1/catalog/nodes", {"dc": ["fra1"], "filter": ["x"]}),
        ("/v1/health/state/critical", {"dc": ["fra1"]}),
    ]
    assert all(headers["x-consul-token"] == "consul-secret" for _, _, _, headers in api.asked)


def test_nomad(api: Api) -> None:
    node = {"Address": "192.0.2.1", "Datacenter": "dc1", "NodeClass": "edge", "SchedulingEligibility": "eligible"}
    api.answers["/v1/nodes"] = (
        200,
        [
            {**node, "ID": "old", "Name": "fra-1", "Status": "down", "Address": "192.0.2.99"},
            {**node, "ID": "1", "Name": "fra-1", "Status": "ready"},
            {**node, "ID": "2", "Name": "fra-2", "Status": "ready", "Drain": True},
        ],
    )
    for identity in ("1", "2"):
        api.answers[f"/v1/node/{identity}"] = 200, {"Meta": {"region": "fra"}, "Attributes": {"kernel.version": "6.8"}}
    found = hosts(f"nomad:{api.url}?region=eu")
    assert found["fra-1"].address == "192.0.2.1"
    assert found["fra-1"].labels == {
        "region": "fra", "kernel": "6.8", "datacenter": "dc1", "node_class": "edge", "status": "ready"
    }  # fmt: skip
    assert found["fra-2"].labels["drained"] == "true"
    asked = {path for _, path, query, _ in api.asked if query == {"region": ["eu"]}}
    assert asked == {"/v1/nodes", "/v1/node/1", "/v1/node/2"}
    assert all(headers["x-nomad-token"] == "nomad-secret" for *_, headers in api.asked)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ((403, "Permission denied"), "403 Forbidden: .*Permission denied"),
        ((302, ""), "302"),
        ((200, b"<html>"), "not JSON"),
        ((200, {"a": 1}), "is not Consul's"),
        ((200, [1]), "is not Consul's"),
        ((200, []), "holds no host"),
    ],
)
def test_a_catalogue_that_does_not_answer_as_it_should(api: Api, answer: Any, complaint: str) -> None:
    api.answers["/v1/catalog/nodes"] = answer
    api.answers["/v1/health/state/critical"] = 200, []
    with pytest.raises(InventoryRefused, match=complaint) as refused:
        read_inventory(f"consul:{api.url}")
    assert "secret" not in str(refused.value)


def test_a_token_is_not_sent_in_the_clear(api: Api) -> None:
    with pytest.raises(InventoryRefused, match="only over https"):
        read_inventory("consul:http://192.0.2.1:8500")
    with pytest.raises(InventoryRefused, match="a password in a URL"):
        read_inventory("nomad:https://u:p@192.0.2.1")
    with pytest.raises(InventoryRefused, match="no http or https URL"):
        read_inventory("nomad:file:///etc/passwd")
    with pytest.raises(InventoryRefused, match="refused"):
        read_inventory("nomad:http://127.0.0.1:1")
