"""Certificates for the sweep's own key, signed by Vault's SSH engine: POST /v1/MOUNT/sign/ROLE, token in VAULT_TOKEN.

The key is made for this sweep and never leaves memory. A certificate is asked for a short life and replaced at half of
it. Vault's HTTP API: developer documentation, "SSH secrets engine", "Sign SSH key". Raises Unreached.
"""

import asyncio
import time
from typing import TYPE_CHECKING

from netdiag.fleet import webapi
from netdiag.fleet.sweep.transport import Unreached

if TYPE_CHECKING:
    import asyncssh

SHORTEST = 60.0
"""Seconds of a certificate's life."""


class VaultSigner:
    """A key, and the certificate that is good now."""

    def __init__(self, url: str, role: str, mount: str, lasts: float) -> None:
        import asyncssh

        self.parts = webapi.base(url)
        self.path = f"/v1/{mount.strip('/')}/sign/{role}"
        self.lasts = max(SHORTEST, lasts)
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.certificates: dict[str, tuple[float, asyncssh.SSHCertificate]] = {}
        self.turn = asyncio.Lock()

    async def pair(self, user: str) -> "tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]":
        """The key and a certificate for this user. Raises Unreached."""
        async with self.turn:
            until, certificate = self.certificates.get(user, (0.0, None))
            if certificate is None or time.monotonic() >= until:
                asked = time.monotonic()
                certificate = await asyncio.to_thread(self._signed, user)
                self.certificates[user] = (asked + self.lasts / 2, certificate)
        return self.key, certificate

    def _signed(self, user: str) -> "asyncssh.SSHCertificate":
        import asyncssh

        body = {
            "public_key": self.key.export_public_key().decode().strip(),
            "valid_principals": user,
            "cert_type": "user",
            "ttl": f"{self.lasts:.0f}s",
        }
        try:
            headers = {
                "X-Vault-Token": webapi.token("VAULT_TOKEN"),
                "X-Vault-Namespace": webapi.token("VAULT_NAMESPACE"),
            }
            answer = webapi.ask(webapi.address(self.parts, self.path), headers=headers, body=body)
            certificate = asyncssh.import_certificate(answer["data"]["signed_key"])
        except webapi.ApiRefused as error:
            raise Unreached(f"no certificate from Vault: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise Unreached("no certificate from Vault: its answer holds none") from error
        return certificate
