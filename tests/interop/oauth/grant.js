// Finds the server's endpoints and gets an access token by client credentials. Prints the results as JSON.
// Usage: node grant.js LIBRARY METHOD, with URL, CLIENT, SECRET, SCOPE and TOKEN in the environment.

import * as oauth from "oauth4webapi";
import * as openid from "openid-client";

const { URL: server, CLIENT: id, SECRET: secret, SCOPE: scope, TOKEN: token } = process.env;
const [library, method] = process.argv.slice(2);
const url = new URL(server);

async function openidClient() {
  const authentication = method === "basic" ? openid.ClientSecretBasic(secret) : openid.ClientSecretPost(secret);
  const options = { algorithm: "oauth2", execute: [openid.allowInsecureRequests] };
  const configuration = await openid.discovery(url, id, secret, authentication, options);
  return {
    grant: () => openid.clientCredentialsGrant(configuration, { scope }),
    introspect: () => openid.tokenIntrospection(configuration, token),
  };
}

async function oauth4webapi() {
  const authentication = method === "basic" ? oauth.ClientSecretBasic(secret) : oauth.ClientSecretPost(secret);
  const client = { client_id: id };
  const options = { [oauth.allowInsecureRequests]: true };
  const found = await oauth.discoveryRequest(url, { algorithm: "oauth2", ...options });
  const metadata = await oauth.processDiscoveryResponse(url, found);
  return {
    grant: async () => {
      const asked = new URLSearchParams({ scope });
      const response = await oauth.clientCredentialsGrantRequest(metadata, client, authentication, asked, options);
      return oauth.processClientCredentialsResponse(metadata, client, response);
    },
    introspect: async () => {
      const response = await oauth.introspectionRequest(metadata, client, authentication, token, options);
      return oauth.processIntrospectionResponse(metadata, client, response);
    },
  };
}

async function result(call) {
  try {
    return await call();
  } catch (error) {
    const challenges = Array.isArray(error.cause) ? error.cause.map((each) => each.scheme) : undefined;
    return { error: error.error ?? error.code, status: error.status, challenges };
  }
}

const client = await { "openid-client": openidClient, oauth4webapi }[library]();
console.log(JSON.stringify([await result(client.grant), await result(client.introspect)]));
