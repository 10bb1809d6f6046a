"""Numbers against the kernel's own headers, where they are installed (Debian: linux-libc-dev)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from netdiag.sources.netlink import constants

HEADERS = ("netlink", "rtnetlink", "if_link", "if_addr", "fib_rules", "neighbour", "nexthop")


def test_every_constant_that_the_headers_know_has_their_value(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not Path("/usr/include/linux/rtnetlink.h").exists():
        pytest.skip("needs a C compiler and linux-libc-dev")
    text = "".join(Path(f"/usr/include/linux/{name}.h").read_text("utf-8", "replace") for name in HEADERS)
    known = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", text))
    # NLA_TYPE_MASK is ~(...) there, an int; here it is what is left of it in 16 bits.
    names = [name for name in vars(constants) if name.isupper() and name in known - {"NLA_TYPE_MASK"}]
    assert len(names) > 200
    source = tmp_path / "numbers.c"
    includes = "".join(f"#include <linux/{name}.h>\n" for name in HEADERS)
    lines = "".join(f'printf("{name} %lld\\n", (long long){name});\n' for name in names)
    source.write_text(f"#include <stdio.h>\n#include <sys/socket.h>\n{includes}int main(void) {{\n{lines}}}\n")
    subprocess.run([compiler, "-o", tmp_path / "numbers", source], check=True)
    printed = subprocess.run([tmp_path / "numbers"], check=True, capture_output=True, text=True).stdout
    theirs = {name: int(value) for name, value in (line.split() for line in printed.splitlines())}
    assert {name: getattr(constants, name) for name in names} == theirs
