"""Authentication for ASGI applications, with any framework or none."""

from .middleware import AuthMiddleware
from .service_auth import ServiceAuth

__all__ = ["AuthMiddleware", "ServiceAuth"]
