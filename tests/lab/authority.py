"""The certificate authority of a lab's cluster."""

from pathlib import Path

from tests.lab import programs
from tests.lab.commands import Argument, run

_DAYS = "30"  # a lab lives for hours


class Authority:
    """A certificate authority that signs for one cluster, by openssl 3.

    Args:
        directory: where its key and all certificates go.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.certificate = directory / "ca.crt"
        self._key = directory / "ca.key"

    def create(self) -> None:
        """Make the authority's own key and certificate."""
        self._request("ca", "/CN=lab-ca", "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, name: str, subject: str, extension: str) -> tuple[Path, Path]:
        """Make a key and a certificate for it.

        Args:
            name: names the files.
            subject: as in ``/O=system:masters/CN=admin``.
            extension: as in ``extendedKeyUsage=clientAuth``.

        Returns:
            The files of the certificate and the key.
        """
        return self._request(name, subject, extension, signer=["-CA", self.certificate, "-CAkey", self._key])

    def _request(
        self, name: str, subject: str, *extensions: str, signer: tuple[Argument, ...] | list[Argument] = ()
    ) -> tuple[Path, Path]:
        certificate, key = (self._directory / f"{name}.{kind}" for kind in ("crt", "key"))
        added = [word for extension in extensions for word in ("-addext", extension)]
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl = programs.find("openssl")
        files: list[Argument] = ["-keyout", key, "-out", certificate]
        run([openssl, "req", "-x509", *new_key, "-days", _DAYS, "-subj", subject, *added, *signer, *files])
        return certificate, key
