"""Routes of the documentation page: Swagger UI with its files, so that the page works without the internet."""

from importlib.metadata import distribution
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

#: Paths are relative, so the page also works behind a path prefix of a proxy.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Jincor Auth</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
#: A file of its own, because the page's Content-Security-Policy forbids inline scripts.
START = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true});\n'

#: Files of Swagger UI that the page loads, with their types: those of the operating system differ.
FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon-32x32.png": "image/png"}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def documentation() -> Response:
    """Redirect to the page, by a relative URL: a proxy may serve the edge below a path."""
    return RedirectResponse("docs")


@router.get("/docs")
async def page() -> Response:
    """Return the documentation page."""
    return HTMLResponse(PAGE)


@router.get("/docs/start.js")
async def start() -> Response:
    """Return the script that opens the OpenAPI document in Swagger UI."""
    return Response(START, media_type="text/javascript")


@router.get("/docs/{name}")
async def swagger_ui(name: str) -> Response:
    """Return a file of Swagger UI."""
    if name not in FILES:
        raise HTTPException(404)
    return FileResponse(_resources() / name, media_type=FILES[name])


def _resources() -> Path:
    """Return the folder with the files of Swagger UI. None of the package's own code runs."""
    return Path(str(distribution("fastapi-swagger").locate_file("fastapi_swagger/resources")))
