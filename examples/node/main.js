// Registers a tenant, logs a user in and out, and receives the revocation of the session.
// AMQP_URL: the broker. AUTH_REGISTRATION_KEY: permits registering a tenant.

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Auth } from './auth.js';

async function story(auth, registrationKey) {
  const email = `${randomUUID()}@example.com`;
  const tenant = await auth.call('tenant.register', { email, password: 'correct horse battery', registrationKey });
  console.log(`registered ${tenant.login}`);

  const asTenant = { tenantToken: tenant.token };
  const user = { login: 'ann', password: 'battery horse correct' };
  await auth.call('user.create', { ...asTenant, ...user, email: 'ann@example.com', scope: 'orders:read' });
  const { accessToken: token } = await auth.call('auth.login', { ...asTenant, ...user, deviceId: 'laptop' });
  const claims = await auth.verify(tenant.token, token);
  console.log(`verified ${claims.login}: ${claims.scope}`);

  const revocations = await auth.revocations(tenant.id);
  const [[revocation]] = await Promise.all([
    once(revocations, 'revoked', { signal: AbortSignal.timeout(10_000) }),
    auth.call('auth.logout', { ...asTenant, token }),
  ]);
  console.log(`revoked ${revocation.sessionId === claims.jti ? 'this' : 'another'} session: ${revocation.reason}`);

  const refusal = await auth.verify(tenant.token, token).catch((error) => error);
  console.log(`refused: ${refusal.code}`);
}

try {
  const auth = await Auth.connect(process.env.AMQP_URL ?? 'amqp://localhost');
  const lost = auth.lost.then((reason) => Promise.reject(reason));
  await Promise.race([story(auth, process.env.AUTH_REGISTRATION_KEY), lost]).finally(() => auth.close());
} catch (error) {
  console.error(`failed: ${error.code ?? error.name}: ${error.message}`);
  process.exit(1);
}
