"""Container images of a few files of this machine, written without a builder: a layer, a configuration and a manifest.

The lab's own images, that is; that of the operator is built as users get it (``Dockerfile``).
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # as images name them


@dataclass(frozen=True)
class Image:
    """A container image of one layer."""

    name: str
    """With registry and tag, as in ``docker.io/library/pause:lab``."""
    entrypoint: Sequence[str]
    files: Mapping[str, Path | bytes]
    """By absolute path in the image: a file of this machine, or the content."""
    environment: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    """Symbolic links, by absolute path in the image: where they point."""

    def write(self, archive: Path) -> Path:
        """Write the image as a docker-archive and return the archive's path."""
        layer = self._layer()
        environment = {"PATH": "/usr/bin:/bin", **self.environment}.items()
        digest = hashlib.sha256(layer).hexdigest()
        configuration = {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Entrypoint": list(self.entrypoint), "Env": [f"{name}={value}" for name, value in environment]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
        manifest = [{"Config": "config.json", "RepoTags": [self.name], "Layers": ["layer.tar"]}]
        with tarfile.open(archive, "w") as tar:
            _add(tar, "layer.tar", layer)
            _add(tar, "config.json", json.dumps(configuration).encode())
            _add(tar, "manifest.json", json.dumps(manifest).encode())
        return archive

    def _layer(self) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for path, source in self.files.items():
                _add(tar, path, source if isinstance(source, bytes) else source.read_bytes())
            for path, target in self.links.items():
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                tar.addfile(entry)
        return buffer.getvalue()


def _add(tar: tarfile.TarFile, path: str, content: bytes) -> None:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.size, entry.mode = len(content), 0o755
    tar.addfile(entry, io.BytesIO(content))
