"""Authentication for web services, by ASGI alone: no framework is needed, and any is fine."""

from .middleware import AuthMiddleware
from .service_auth import ServiceAuth

__all__ = ["AuthMiddleware", "ServiceAuth"]
