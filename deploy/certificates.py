"""Certificates of the private networks: an authority of our own, and one certificate for each broker and database node.

With the `openssl` command, which every server has. What is there is left alone, unless it is to be renewed.
"""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

from deploy.private_files import OWNER_READS, write_private

#: Ten years. Edges, workers and services know the authority by its file, and all of them have to be given another one
#: and restarted before it ends: that should be seldom. A node's certificate is renewed without any of them.
AUTHORITY_DAYS = 3652
#: Two years and some. docs/operations.md, "Certificates", says how they are renewed.
NODE_DAYS = 825
SELF_SIGNED_DAYS = 30
CA = "ca.pem"
CA_KEY = "ca.key"


def make_authority(directory: Path) -> None:
    """`ca.pem` and `ca.key`. The key signs nodes' certificates and is mounted nowhere."""
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
    """`<host>.pem`: the certificate and its key in one file, for a node that is reached under this name.

    With `renew`, also when it is there already: a new key and another term, of the same authority. The file is replaced
    at once, so that whoever fails halfway is left with the old one.
    """
    target = directory / f"{host}.pem"
    if target.exists() and not renew:
        return
    key, request, certificate, extensions = (directory / f"{host}.{suffix}" for suffix in ("key", "csr", "crt", "ext"))
    # A node of a replica set or cluster is a client of the others.
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
    """A certificate for the edge's public name that no browser trusts: to try it out, until yours is in its place."""
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
    """When a certificate ends. One that shares its file with others is the first in it."""
    shown = _openssl(certificate.parent, "x509", "-in", certificate.name, "-noout", "-enddate", "-dateopt", "iso_8601")
    return datetime.strptime(shown.strip(), "notAfter=%Y-%m-%d %H:%M:%SZ").replace(tzinfo=UTC)


def _new_key(name: str) -> tuple[str, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-keyout", name)


def _openssl(directory: Path, *arguments: str) -> str:
    """What it prints. The files that it makes are their owner's alone."""
    command = ["openssl", *arguments]
    done = subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True, umask=0o077)  # noqa: S603 - our own arguments
    return done.stdout
