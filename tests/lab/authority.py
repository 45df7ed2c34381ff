"""The certificate authority of a lab's cluster."""

from collections.abc import Sequence
from pathlib import Path

from tests.lab import programs
from tests.lab.commands import Argument, run

_DAYS = "30"  # a lab lives for hours
# Not this machine's own, which may make every certificate one of an authority.
_OPENSSL_CONFIGURATION = "[req]\ndistinguished_name = none\n[none]\n"


class Authority:
    """A certificate authority that signs for one cluster, by openssl 3.

    Its certificates pass the strict checks of Python 3.13 and later.

    Args:
        directory: where its key and all certificates go.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.certificate = directory / "ca.crt"
        self._key = directory / "ca.key"

    def create(self) -> None:
        """Make the authority's own key and certificate."""
        extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]
        self._request("ca", "/CN=lab-ca", extensions)

    def issue(self, name: str, subject: str, extension: str) -> tuple[Path, Path]:
        """Make a key and a certificate for it.

        Args:
            name: names the files.
            subject: as in ``/O=system:masters/CN=admin``.
            extension: as in ``extendedKeyUsage=clientAuth``.

        Returns:
            The files of the certificate and the key.
        """
        extensions = ["basicConstraints=critical,CA:FALSE", "authorityKeyIdentifier=keyid", extension]
        return self._request(name, subject, extensions, ["-CA", self.certificate, "-CAkey", self._key])

    def _request(
        self, name: str, subject: str, extensions: Sequence[str], signer: Sequence[Argument] = ()
    ) -> tuple[Path, Path]:
        certificate, key = (self._directory / f"{name}.{kind}" for kind in ("crt", "key"))
        added = [word for extension in ("subjectKeyIdentifier=hash", *extensions) for word in ("-addext", extension)]
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        request = [programs.find("openssl"), "req", "-x509", "-config", "/dev/stdin", *new_key, "-days", _DAYS]
        files: list[Argument] = ["-keyout", key, "-out", certificate]
        run([*request, "-subj", subject, *added, *signer, *files], stdin=_OPENSSL_CONFIGURATION)
        return certificate, key
