"""Certificates of the private networks: an authority of our own, and one certificate for each broker and database node.

With the `openssl` command, which every server has. What is there is left alone.
"""

import subprocess
from pathlib import Path

#: Nodes are replaced more often than this; `python -m deploy` on an empty directory makes all of them anew.
DAYS = 825
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
            str(DAYS),
            "-subj",
            "/CN=Jincor Auth private networks",
        ),
        *("-addext", "basicConstraints=critical,CA:TRUE,pathlen:0", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
    )


def make_certificate(directory: Path, host: str) -> None:
    """`<host>.pem`: the certificate and its key in one file, for a node that is reached under this name."""
    target = directory / f"{host}.pem"
    if target.exists():
        return
    key, request, certificate, extensions = (directory / f"{host}.{suffix}" for suffix in ("key", "csr", "crt", "ext"))
    # A node of a replica set or cluster is a client of the others.
    extensions.write_text(f"subjectAltName=DNS:{host},DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n")
    _openssl(directory, "req", *_new_key(key.name), "-out", request.name, "-subj", f"/O=Jincor Auth/CN={host}")
    _openssl(
        directory,
        *("x509", "-req", "-in", request.name, "-CA", CA, "-CAkey", CA_KEY, "-out", certificate.name),
        *("-days", str(DAYS), "-extfile", extensions.name),
    )
    target.write_text(certificate.read_text() + key.read_text())
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
        *("req", "-x509", *_new_key(key.name), "-out", certificate.name, "-days", "30", "-subj", f"/CN={host}"),
        *("-addext", f"subjectAltName=DNS:{host},DNS:localhost,IP:127.0.0.1"),
    )
    target.write_text(certificate.read_text() + key.read_text())
    key.unlink()
    certificate.unlink()


def _new_key(name: str) -> tuple[str, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-keyout", name)


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)  # noqa: S603, S607
