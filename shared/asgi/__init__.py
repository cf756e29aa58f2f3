"""Authentication for ASGI applications, with any framework or none."""

from .bearer import TokenVerifier
from .middleware import AuthMiddleware
from .service_auth import ServiceAuth

__all__ = ["AuthMiddleware", "ServiceAuth", "TokenVerifier"]
