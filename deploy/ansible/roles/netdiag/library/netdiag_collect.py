#!/usr/bin/python3
"""Ansible module: write a snapshot of the state of this host's network into a folder of its own."""

# Runs on hosts with whatever Python Ansible finds there, so nothing of netdiag is imported.

import os
import shutil
import tempfile

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: netdiag_collect
short_description: Write a snapshot of the state of a host's network
description:
  - Runs C(netdiag collect) and says where the snapshot is. The host is only read; the snapshot holds no secret.
options:
  program:
    description: Path or name of netdiag on the host.
    type: str
    default: netdiag
  interval:
    description: Seconds between the two samples of counters; 0 for one sample.
    type: float
    default: 1
  deadline:
    description: Seconds for everything.
    type: float
    default: 30
  all_netns:
    description: Read every network namespace that can be reached.
    type: bool
    default: false
  hostname:
    description: Name that the snapshot carries; the host's own where it is not given.
    type: str
author: netdiag
"""
EXAMPLES = r"""
- netdiag_collect:
    deadline: 20
  register: collected
"""
RETURN = r"""
folder:
  description: Folder that holds nothing but the snapshot; to be removed.
  type: str
  returned: success
snapshot:
  description: Path of the snapshot.
  type: str
  returned: success
octets:
  description: Its size in bytes.
  type: int
  returned: success
"""
ARGUMENTS = {
    "program": {"type": "str", "default": "netdiag"},
    "interval": {"type": "float", "default": 1.0},
    "deadline": {"type": "float", "default": 30.0},
    "all_netns": {"type": "bool", "default": False},
    "hostname": {"type": "str", "default": None},
}


def command(params, snapshot):
    """The words to run."""
    words = [params["program"], "collect", "-o", snapshot]
    words += ["--interval", "%g" % params["interval"], "--deadline", "%g" % params["deadline"]]
    if params["hostname"]:
        words += ["--hostname", params["hostname"]]
    return words + (["--all-netns"] if params["all_netns"] else [])


def main():
    """Collect, and tell Ansible."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    folder = tempfile.mkdtemp(prefix="netdiag.")
    snapshot = os.path.join(folder, "host.netdiag")
    status, _, said = module.run_command(command(module.params, snapshot))
    if status != 0 or not os.path.exists(snapshot):
        shutil.rmtree(folder, ignore_errors=True)
        lines = said.strip().splitlines()
        module.fail_json(msg="netdiag collect: %s" % (lines[-1] if lines else "status %d" % status), rc=status)
    module.exit_json(changed=False, folder=folder, snapshot=snapshot, octets=os.path.getsize(snapshot))


if __name__ == "__main__":
    main()
