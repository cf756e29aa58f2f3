"""A notes service: its users log in with Jincor Auth, and what they have open goes dark the moment they log out.

    AMQP_URL=amqp://… AUTH_EMAIL=me@example.com AUTH_PASSWORD=… uvicorn --app-dir examples notes:app --port 8080

Tokens are verified from memory. The feed of revocations keeps that honest: it tells of each logout within milliseconds,
and while it cannot be trusted every token is asked about.
"""

import os
from collections import defaultdict
from typing import Annotated

from fastapi import Body, Depends, FastAPI, HTTPException, Request, WebSocket
from jincor_auth_client import Claims, InvalidCredentials
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


@app.post("/login")
async def log_in(who: Credentials, request: Request) -> dict[str, str]:
    """A token for the header `Authorization: Bearer …`. Too many wrong passwords are answered 429."""
    password, address = who.password.get_secret_value(), request.client and request.client.host
    try:
        token = await auth.client.login(who.login, password, device_id=who.device, client_address=address)
    except InvalidCredentials as error:
        raise HTTPException(403, str(error)) from None
    return {"token": token}


@app.post("/logout", status_code=204)
async def log_out(request: Request, _: Reader) -> None:
    """From here on nobody accepts the token: not this service, not any other."""
    await auth.logout(request)


@app.get("/notes")
async def read(user: Reader) -> list[str]:
    """The notes of who asks."""
    return notes[user.id]


@app.post("/notes", status_code=204)
async def write(user: Writer, text: Annotated[str, Body(embed=True)]) -> None:
    """One more note."""
    notes[user.id].append(text)


@app.websocket("/notes/live")
async def write_live(socket: WriterSocket, user: Writer) -> None:
    """Keeps what is typed, until its writer goes or the session ends: then this is closed with 1008."""
    await socket.accept()
    async for text in socket.iter_text():
        notes[user.id].append(text)
        await socket.send_text(f"kept {len(notes[user.id])}")
