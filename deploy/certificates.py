"""Certificates of the private networks: our own authority, and a certificate for each broker and database node.

Uses the `openssl` command. Existing files are kept unless they are to be renewed.
"""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

from deploy.private_files import OWNER_READS, write_private

#: Ten years. Edges, workers and services trust the authority's file, so replacing it means restarting all of
#: them. None needs a restart when a node's certificate is renewed.
AUTHORITY_DAYS = 3652
#: Two years and three months. docs/operations.md, "Certificates", describes the renewal.
NODE_DAYS = 825
SELF_SIGNED_DAYS = 30
CA = "ca.pem"
CA_KEY = "ca.key"


def make_authority(directory: Path) -> None:
    """Create `ca.pem` and `ca.key`. The key signs the nodes' certificates; no container mounts it."""
    if (directory / CA).exists():
        return
    _openssl(
        directory,
        *(
            "req",
            "-x509",
            *_new_key(CA_KEY),
            "-out",
            CA,
            "-days",
            str(AUTHORITY_DAYS),
            "-subj",
            "/CN=Jincor Auth private networks",
        ),
        *("-addext", "basicConstraints=critical,CA:TRUE,pathlen:0", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
    )


def make_certificate(directory: Path, host: str, *, renew: bool = False) -> None:
    """Create `<host>.pem`: the certificate and key of the node with this host name, in one file.

    An existing file is kept. With `renew` it is replaced by a new key and certificate of the same
    authority. The replacement is atomic, so a failure leaves the old file.
    """
    target = directory / f"{host}.pem"
    if target.exists() and not renew:
        return
    key, request, certificate, extensions = (directory / f"{host}.{suffix}" for suffix in ("key", "csr", "crt", "ext"))
    # Nodes of a replica set or cluster are also clients of each other.
    names = f"subjectAltName=DNS:{host},DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n"
    write_private(extensions, names, OWNER_READS)
    _openssl(directory, "req", *_new_key(key.name), "-out", request.name, "-subj", f"/O=Jincor Auth/CN={host}")
    _openssl(
        directory,
        *("x509", "-req", "-in", request.name, "-CA", CA, "-CAkey", CA_KEY, "-out", certificate.name),
        *("-days", str(NODE_DAYS), "-extfile", extensions.name),
    )
    write_private(target, certificate.read_text() + key.read_text(), OWNER_READS)
    for part in (key, request, certificate, extensions):
        part.unlink()


def make_self_signed(directory: Path, name: str, host: str) -> None:
    """Create a self-signed certificate for the edge's public name, for tests. Replace it before production."""
    target = directory / name
    if target.exists():
        return
    key, certificate = directory / f"{name}.key", directory / f"{name}.crt"
    _openssl(
        directory,
        *("req", "-x509", *_new_key(key.name), "-out", certificate.name, "-days", str(SELF_SIGNED_DAYS)),
        *("-subj", f"/CN={host}"),
        *("-addext", f"subjectAltName=DNS:{host},DNS:localhost,IP:127.0.0.1"),
    )
    write_private(target, certificate.read_text() + key.read_text(), OWNER_READS)
    key.unlink()
    certificate.unlink()


def good_until(certificate: Path) -> datetime:
    """Return when a certificate expires. If the file holds several, the first one counts."""
    shown = _openssl(certificate.parent, "x509", "-in", certificate.name, "-noout", "-enddate", "-dateopt", "iso_8601")
    return datetime.strptime(shown.strip(), "notAfter=%Y-%m-%d %H:%M:%SZ").replace(tzinfo=UTC)


def _new_key(name: str) -> tuple[str, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-keyout", name)


def _openssl(directory: Path, *arguments: str) -> str:
    """Run openssl and return its output. Only their owner can read the files that it creates."""
    command = ["openssl", *arguments]
    done = subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True, umask=0o077)  # noqa: S603 - our own arguments
    return done.stdout
