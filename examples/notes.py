"""A notes service: its users log in with Jincor Auth, and their open connections close as soon as they log out.

    AMQP_URL=amqp://… AUTH_EMAIL=me@example.com AUTH_PASSWORD=… uvicorn --app-dir examples notes:app --port 8080

Verifications are cached. The revocation feed reports each logout within milliseconds. While the feed is not
alive, a worker verifies every token.
"""

import os
from collections import defaultdict
from typing import Annotated

from fastapi import Body, Depends, FastAPI, Request, WebSocket
from jincor_auth_client import Claims
from jincor_auth_client.fastapi import FastApiAuth
from pydantic import BaseModel, SecretStr

auth = FastApiAuth(
    os.environ["AMQP_URL"], email=os.environ["AUTH_EMAIL"], password=os.environ["AUTH_PASSWORD"], name="notes"
)
app = FastAPI(title="Notes", lifespan=auth.lifespan, exception_handlers=auth.exception_handlers)

Reader = Annotated[Claims, Depends(auth.require("notes:read"))]
Writer = Annotated[Claims, Depends(auth.require("notes:write"))]
WriterSocket = Annotated[WebSocket, Depends(auth.websocket("notes:write"))]

notes: dict[str, list[str]] = defaultdict(list)


class Credentials(BaseModel):
    login: str
    password: SecretStr
    device: str = "browser"


class NewUser(BaseModel):
    login: str
    password: SecretStr
    email: str


@app.post("/signup", status_code=201)
async def sign_up(given: NewUser) -> None:
    """Create a user. A weak password is answered 422, and a login that is taken 409."""
    password = given.password.get_secret_value()
    await auth.client.users.create(given.login, password, email=given.email, scope="notes:read notes:write")


@app.post("/login")
async def log_in(given: Credentials, request: Request) -> dict[str, str]:
    """Return a token for the header `Authorization: Bearer …`.

    Wrong credentials are answered 403, and too many failed attempts 429.
    """
    password, address = given.password.get_secret_value(), request.client.host if request.client else None
    token = await auth.client.login(given.login, password, device_id=given.device, client_address=address)
    return {"token": token}


@app.post("/logout", status_code=204)
async def log_out(request: Request, _: Reader) -> None:
    """Revoke the session of the token. Every service rejects the token from then on."""
    await auth.logout(request)


@app.get("/notes")
async def read(user: Reader) -> list[str]:
    """Return the notes of the user."""
    return notes[user.id]


@app.post("/notes", status_code=204)
async def write(user: Writer, text: Annotated[str, Body(embed=True)]) -> None:
    """Add a note."""
    notes[user.id].append(text)


@app.websocket("/notes/live")
async def write_live(socket: WriterSocket, user: Writer) -> None:
    """Save each received text as a note. When the session ends, the socket is closed with 1008."""
    await socket.accept()
    async for text in socket.iter_text():
        notes[user.id].append(text)
        await socket.send_text(f"kept {len(notes[user.id])}")
