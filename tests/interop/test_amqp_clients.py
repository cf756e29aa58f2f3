"""The broker URLs that this repository writes and documents mean the same virtual host to clients of other languages.

For librabbitmq and Java a URL that ends in `/` names the empty virtual host.
"""

import json
import shutil
import uuid
from pathlib import Path

import aio_pika
import pytest

from dev.processes import REPOSITORY
from tests.backends import Backend
from tests.interop.programs import output_of, program

TIMEOUT_SECONDS = 60
#: Connects, and publishes to a queue.
NODE_CLIENT = """
import amqp from 'amqplib';
const connection = await amqp.connect(process.argv[2]);
const channel = await connection.createConfirmChannel();
channel.sendToQueue(process.argv[3], Buffer.from('hello'));
await channel.waitForConfirms();
await connection.close();
"""


@pytest.mark.parametrize("ending", ["", "/%2F"])
async def test_librabbitmq_with_a_written_url_publishes_to_the_default_virtual_host(
    backend: Backend, ending: str
) -> None:
    await published(backend, (program("amqp-publish"), "--url={url}", "--routing-key={queue}", "--body=hello"), ending)


async def test_amqplib_with_a_written_url_publishes_to_the_default_virtual_host(
    backend: Backend, tmp_path: Path
) -> None:
    node, npm = program("node", in_ci=True), program("npm", in_ci=True)
    directory = tmp_path / "node"
    shutil.copytree(REPOSITORY / "examples" / "node", directory, ignore=shutil.ignore_patterns("node_modules"))
    await output_of(directory, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    (directory / "publish.js").write_text(NODE_CLIENT)
    for ending in ("", "/%2F"):
        await published(backend, (node, str(directory / "publish.js"), "{url}", "{queue}"), ending)


async def published(backend: Backend, command: tuple[str, ...], ending: str) -> None:
    """Run a client that publishes, and find its message through aio-pika with the URL that the repository writes."""
    assert backend.amqp_url.endswith("/%2F")
    url, queue_name = backend.amqp_url.removesuffix("/%2F") + ending, uuid.uuid4().hex
    async with await aio_pika.connect(backend.amqp_url) as connection, connection.channel() as channel:
        queue = await channel.declare_queue(queue_name, exclusive=False, auto_delete=True)
        await output_of(REPOSITORY, *(part.format(url=url, queue=queue_name) for part in command))
        message = await queue.get(timeout=TIMEOUT_SECONDS)
        assert message.body.startswith(b"hello")
        await queue.delete()
    listed = json.loads(await backend.ctl(["list_vhosts", "name", "--formatter=json"]))
    assert {"name": ""} not in listed
