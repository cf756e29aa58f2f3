"""Sign-up in examples/notes.py: what `auth.exception_handlers` answers to users."""

from pathlib import Path

from tests.e2e.client.installation import Installation
from tests.e2e.client.web_service import environment_of, serving
from tests.e2e.tenant import PASSWORD, Tenant
from tests.service import RunningService


async def test_sign_up_is_answered_with_what_the_user_can_correct(
    with_fastapi: Installation, service: RunningService, tenant: Tenant, tmp_path: Path
) -> None:
    env = environment_of(service, tenant)
    ann = {"login": "ann", "password": PASSWORD, "email": "ann@users.test"}
    async with serving(with_fastapi.bin / "python", "notes:app", "examples", env, tmp_path) as notes:
        weak = await notes.post("/signup", json={**ann, "password": "short", "email": "no email"})
        created = await notes.post("/signup", json=ann)
        taken = await notes.post("/signup", json=ann)
        logged_in = await notes.post("/login", json={"login": "ann", "password": PASSWORD})
        header = {"Authorization": f"Bearer {logged_in.json()['token']}"}
        assert (await notes.get("/notes", headers=header)).json() == []
    assert weak.status_code == 422
    assert [field["loc"] for field in weak.json()["detail"]] == [["email"], ["password"]]
    assert (created.status_code, taken.status_code, taken.json()) == (201, 409, {"detail": "login is taken"})
