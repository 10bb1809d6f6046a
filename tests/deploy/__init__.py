"""What is put on hosts: the Nomad job, the systemd units, the Ansible role and its module."""
