"""One typical request of each operation, as JSON."""

from dataclasses import dataclass
from typing import Any

NEW_PASSWORD = "another fine password"


#: Members of replies that are new for each repetition of a request: nothing is stored that they could be read from.
NEW_EACH_TIME = {
    "key.create": {"api_key"},
    "key.rotate": {"api_key"},
    "oauth.token": {"access_token"},
    "tenant.reset": {"code", "expires_at"},
}


@dataclass(frozen=True)
class Accounts:
    """The subjects of the requests: a tenant with its token, its user ann with a token and its session, and operators.

    The operator's password is that of ann.
    """

    email: str
    password: str
    """The password of the tenant and of ann."""
    tenant_token: str
    token: str
    session: str
    registration_key: str | None = None
    api_key: str = "0VfKe3RtQ8mLz2Xb9WsYcA"
    """The id of an API key of the tenant."""
    whole_api_key: str = "jak_"
    """An API key of the tenant, for operations that take no other credential."""
    office_token: str = ""
    """The token of the operators' tenant."""
    operator_token: str = ""
    """A token of the operator, who has all operator permissions."""
    operator: str = "olga"
    colleague: str = "oskar"
    """A user of the operators' tenant that is no operator yet."""
    tenant: str | None = None
    """The id of the tenant, which requests of an operator name."""
    reset_code: str | None = None
    """A live code that an operator got for the tenant."""

    def request(self, operation: str) -> dict[str, Any]:
        """Return a request that succeeds with a visible effect: it revokes existing sessions or creates something."""
        by_tenant = {"tenantToken": self.tenant_token}
        about_ann = {**by_tenant, "login": "ann"}
        about_token = {**by_tenant, "token": self.token}
        by_operator = {"tenantToken": self.operator_token}
        on_tenant = {**by_operator, "onTenant": self.tenant}
        requests: dict[str, dict[str, Any]] = {
            "principal.get": by_tenant,
            "tenant.register": {
                "email": f"new.{self.email}",
                "password": self.password,
                "registrationKey": self.registration_key,
            },
            "tenant.login": {"email": self.email, "password": self.password},
            "tenant.verify": {"token": self.tenant_token},
            "tenant.logout": {"token": self.tenant_token},
            "tenant.update": {**by_tenant, "currentPassword": self.password, "password": NEW_PASSWORD},
            "tenant.disable": {**by_tenant, "password": self.password},
            "tenant.enable": {"email": self.email, "registrationKey": self.registration_key},
            "tenant.delete": {**by_tenant, "password": self.password},
            "user.create": {**by_tenant, "login": "bob", "email": "bob@example.com", "password": self.password},
            "user.get": about_ann,
            "user.list": by_tenant,
            "user.update": {**about_ann, "email": "new@example.com", "password": NEW_PASSWORD},
            "user.delete": about_ann,
            "auth.login": {**about_ann, "password": self.password, "deviceId": "phone"},
            "auth.verify": {"checks": [about_token]},
            "auth.logout": about_token,
            "token.introspect": about_token,
            "token.revoke": about_token,
            "session.list": about_ann,
            "session.revoke": {**about_ann, "sessionId": self.session},
            "session.revoke_all": about_ann,
            "event.list": by_tenant,
            "audit.list": by_tenant,
            "tenant.list": {**by_operator, "q": self.email},
            "tenant.get": on_tenant,
            "tenant.revoke_sessions": on_tenant,
            "tenant.reset": on_tenant,
            "tenant.complete_reset": {"email": self.email, "code": self.reset_code, "password": NEW_PASSWORD},
            "user.search": {**by_operator, "q": "ann"},
            "audit.search": {**by_operator, "login": self.operator},
            "settings.get": by_tenant,
            "settings.update": {**by_tenant, "settings": {"maxKeyLifetimeDays": 90}},
            "key.create": {**by_tenant, "name": "gateway", "permissions": ["tokens:verify"]},
            "key.list": by_tenant,
            "key.rotate": {**by_tenant, "id": self.api_key},
            "key.revoke": {**by_tenant, "id": self.api_key},
            "oauth.token": {"tenantToken": self.whole_api_key},
            "operator.login": {
                "tenantToken": self.office_token,
                "login": self.operator,
                "password": self.password,
                "deviceId": "laptop",
            },
            "operator.logout": by_operator,
            "operator.set_password": {**by_operator, "currentPassword": self.password, "password": NEW_PASSWORD},
            "operator.list": by_operator,
            "operator.update": {**by_operator, "login": self.colleague, "permissions": ["users:read"]},
        }
        return {} if operation.startswith("health.") else requests[operation]
