// Revokes a token and introspects it before and after, as an OAuth 2.0 client. Prints the three results as JSON.
// Usage: node client.js LIBRARY METHOD, with URL, SECRET and TOKEN in the environment.

import * as oauth from "oauth4webapi";
import * as openid from "openid-client";

const { URL: server, SECRET: secret, TOKEN: token } = process.env;
const [library, method] = process.argv.slice(2);
const metadata = {
  issuer: server,
  introspection_endpoint: `${server}/introspect`,
  revocation_endpoint: `${server}/revoke`,
};

function openidClient() {
  const authentications = {
    default: undefined,
    basic: openid.ClientSecretBasic(secret),
    post: openid.ClientSecretPost(secret),
  };
  const configuration = new openid.Configuration(metadata, "gateway", secret, authentications[method]);
  openid.allowInsecureRequests(configuration);
  return {
    introspect: () => openid.tokenIntrospection(configuration, token),
    revoke: () => openid.tokenRevocation(configuration, token),
  };
}

function oauth4webapi() {
  const authentication = method === "basic" ? oauth.ClientSecretBasic(secret) : oauth.ClientSecretPost(secret);
  const client = { client_id: "gateway" };
  const options = { [oauth.allowInsecureRequests]: true };
  return {
    introspect: async () => {
      const response = await oauth.introspectionRequest(metadata, client, authentication, token, options);
      return oauth.processIntrospectionResponse(metadata, client, response);
    },
    revoke: async () => {
      const response = await oauth.revocationRequest(metadata, client, authentication, token, options);
      return oauth.processRevocationResponse(response);
    },
  };
}

async function result(call) {
  try {
    return (await call()) ?? "done";
  } catch (error) {
    const challenges = Array.isArray(error.cause) ? error.cause.map((each) => each.scheme) : undefined;
    return { error: error.error ?? error.code, status: error.status, challenges };
  }
}

const client = { "openid-client": openidClient, oauth4webapi }[library]();
const results = [];
for (const call of [client.introspect, client.revoke, client.introspect]) results.push(await result(call));
console.log(JSON.stringify(results));
