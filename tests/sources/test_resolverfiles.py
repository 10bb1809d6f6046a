"""BIND and CoreDNS: whom they ask, by the text of their configuration."""

import pytest

from netdiag.sources.resolverfiles import Asked, named_includes, parse_corefile, parse_named

NAMED = """
options {
    directory "/var/cache/bind"; // forwarders { 192.0.2.66; };
    forwarders port 5300 { 192.0.2.1; 2001:db8::1 port 54 tls mine; mistake; };
    forward only; # forward first;
};
zone "lan." { type forward; forward only; forwarders { 192.0.2.7; }; };
zone "own" { type master; file "own"; };
view inside { match-clients { 10.0.0.0/8; }; forward only; forwarders { 192.0.2.8; }; };
"""


def test_named() -> None:
    assert parse_named(NAMED) == (
        Asked("192.0.2.1", 5300, None),
        Asked("2001:db8::1", 54, None),
        Asked("192.0.2.7", 53, "lan"),
        Asked("192.0.2.8", 53, None),
    )


@pytest.mark.parametrize(
    "text",
    [
        "options { forwarders { 192.0.2.1; }; };",
        "options { forwarders { 192.0.2.1; }; forward first; };",
        "options { forward only; forwarders { }; };",
        'options { forward only; }; zone "." { type hint; file "root"; };',
        "options { forward only; /* forwarders { 192.0.2.1; }; */ };",
        "}} { forwarders {",
        "",
    ],
)
def test_named_asks_the_world(text: str) -> None:
    assert parse_named(text) == ()


def test_named_includes() -> None:
    assert named_includes('include "/a"; # include "/no";\ninclude "b"; include') == ("/a", "b")


@pytest.mark.parametrize(
    ("text", "there"),
    [
        (".:53 {\n forward . 192.0.2.1 2001:db8::1 {\n max_fails 3\n }\n}", [("192.0.2.1", 53), ("2001:db8::1", 53)]),
        (". {\n forward . [2001:db8::1]:54 192.0.2.1:5300 tls://192.0.2.9\n}",
         [("2001:db8::1", 54), ("192.0.2.1", 5300), ("192.0.2.9", 853)]),
        (":1053 {\n forward . dns://192.0.2.1\n}", [("192.0.2.1", 53)]),
        ("dns://. {\n forward . 192.0.2.1 # and 192.0.2.2\n}", [("192.0.2.1", 53)]),
        (". {\n forward . resolver.example nonsense:x\n}", []),
        (". {\n # forward . 192.0.2.1\n whoami\n}", []),
        ("forward . 192.0.2.1", []),
    ],
)  # fmt: skip
def test_corefile(text: str, there: list[tuple[str, int]]) -> None:
    assert list(parse_corefile(text)) == [Asked(address, port, None) for address, port in there]


def test_corefile_domains_and_files() -> None:
    text = "lan:53 {\n forward . 192.0.2.1\n}\n. {\n forward consul. 127.0.0.1:8600\n forward . /etc/resolv.conf\n}\n"
    assert list(parse_corefile(text)) == [
        Asked("192.0.2.1", 53, "lan"),
        Asked("127.0.0.1", 8600, "consul"),
        ("/etc/resolv.conf", None),
    ]
    snippet = "(up) {\n forward . 192.0.2.1\n}\n"
    assert list(parse_corefile(snippet)) == [Asked("192.0.2.1", 53, "(up)")]
