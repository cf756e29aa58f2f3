// Compiles against the types that openapi-typescript makes of the OpenAPI document.
import type { components, operations } from "./schema";

type Created = components["schemas"]["UserCreateBody"];
type Verified = operations["auth.verify"]["responses"][200]["content"]["application/json"];

const account = { login: "ada", email: "ada@example.com", password: "correct horse battery staple" };

export const text: Created = { ...account, scope: "company:read" };
export const rights: Created = { ...account, scope: { company: ["create", "read"], admin: true } };
export const none: Created = { ...account, scope: null };
// @ts-expect-error A scope is no number.
export const count: Created = { ...account, scope: 5 };

export function right({ decoded: { scope } }: Verified, name: string): unknown {
  return typeof scope === "object" && scope !== null ? scope[name] : undefined;
}
