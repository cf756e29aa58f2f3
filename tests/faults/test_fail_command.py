"""The fault injection itself: what mongod is told, and what the proxy answers."""

import pytest
from pymongo.errors import AutoReconnect, OperationFailure, WTimeoutError

from tests.faults.fail_command import WTIMEOUT, FailCommand
from tests.faults.mongo_link import MongoLink
from tests.mongo_driver import connect


@pytest.mark.parametrize(
    ("fault", "mode", "data"),
    [
        (FailCommand(["find"], error_code=189), "alwaysOn", {"errorCode": 189}),
        (FailCommand(["find"], times=2, close_connection=True), {"times": 2}, {"closeConnection": True}),
        (FailCommand(["find"], skip=3, error_code=6, error_labels=["RetryableError"]), {"skip": 3}, {
            "errorCode": 6, "errorLabels": ["RetryableError"]}),
        (FailCommand(["find"], block_ms=50), "alwaysOn", {"blockConnection": True, "blockTimeMS": 50}),
    ],
)  # fmt: skip
def test_fault_for_mongod_is_its_fail_point(fault: FailCommand, mode: object, data: dict[str, object]) -> None:
    """Field names from the mongo-driver specifications: no mongod runs here."""
    assert not fault.only_proxy
    assert fault.fail_point() == {
        "configureFailPoint": "failCommand",
        "mode": mode,
        "data": {"failCommands": ["find"], "appName": "jincor-auth", **data},
    }


async def test_fault_at_the_proxy_reaches_the_driver(mongo_url: str) -> None:
    """Before and after the command is carried out, for chosen commands and occurrences."""
    async with MongoLink(mongo_url) as link, connect(link.url) as through, connect(mongo_url) as direct:
        proxied, stored = through.collection("users"), direct.collection("users")
        async with link.failing(FailCommand(["insert"], skip=1, times=1, error_code=11601)):
            await proxied.insert_one({"_id": "first"})
            with pytest.raises(OperationFailure) as refused:
                await proxied.insert_one({"_id": "refused"})
            await proxied.insert_one({"_id": "second"})
        assert refused.value.code == 11601
        async with link.failing(FailCommand(["insert"], write_concern_error=WTIMEOUT)):
            with pytest.raises(WTimeoutError):
                await proxied.insert_one({"_id": "not durable"})
        async with link.failing(FailCommand(["insert"], close_after=True)):
            with pytest.raises(AutoReconnect):
                await proxied.insert_one({"_id": "unanswered"})
        async with link.failing(FailCommand(["insert"], close_connection=True)):
            with pytest.raises(AutoReconnect):
                await proxied.insert_one({"_id": "unsent"})
        documents = await stored.find({}).sort("_id").to_list(None)
        assert [document["_id"] for document in documents] == ["first", "not durable", "second", "unanswered"]


async def test_hello_that_the_proxy_rewrites_reaches_the_driver(mongo_url: str) -> None:
    """In handshakes and in answers to the driver's later questions."""
    async with MongoLink(mongo_url) as link:
        link.hello = {"isWritablePrimary": False, "ismaster": False, "secondary": True}
        async with connect(link.url) as through:
            hello = await through.collection("users").database.client.admin.command("hello")
    assert (hello["isWritablePrimary"], hello["secondary"]) == (False, True)
