// A client of Jincor Auth over AMQP. It does not reconnect: when the connection is lost, the calls under way fail and
// `lost` tells why, so that whoever supervises this process starts it anew.

import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import amqp from 'amqplib';

const DIRECT_REPLY_TO = 'amq.rabbitmq.reply-to';
const SESSION_REVOKED = 'com.jincor.auth.session.revoked';
/** What no message says, and a caller finds out by itself. */
const FOUND_OUT = {
  unavailable: 'no broker or no worker',
  overloaded: 'the queue is full',
  deadline_exceeded: 'no answer in time',
};

/** An answer that is not the one asked for. Its `code` is one of docs/amqp.md and never changes. */
export class AuthError extends Error {
  constructor({ code, message = FOUND_OUT[code], problems = [], retryAfterSeconds }) {
    super(message);
    Object.assign(this, { code, problems, retryAfterSeconds });
  }
}

export class Auth {
  #connection;
  #channel;
  #calls = new Map();
  #lose;
  /** Resolves with the reason when the connection is gone. */
  lost = new Promise((resolve) => (this.#lose = resolve));

  static async connect(url, { timeoutMs = 5000 } = {}) {
    const address = new URL(url);
    address.searchParams.set('heartbeat', '5'); // seconds, after some of which a silent broker counts as gone
    const auth = new Auth();
    auth.#connection = await amqp.connect(address.href, { timeout: timeoutMs });
    auth.#watch(auth.#connection);
    // With confirms the broker says at once when it cannot take a request. The consumer of the replies has to be on
    // the channel that publishes the requests, and takes them without acknowledgements.
    auth.#channel = await auth.#connection.createConfirmChannel();
    auth.#watch(auth.#channel);
    auth.#channel.on('return', ({ properties }) => auth.#fail(properties.correlationId, 'unavailable'));
    await auth.#channel.consume(DIRECT_REPLY_TO, (message) => auth.#accept(message), { noAck: true });
    return auth;
  }

  /** The reply to a request; throws an AuthError. Who tries again gives the `messageId` of the first time. */
  call(operation, request, { messageId = randomUUID(), timeoutMs = 5000 } = {}) {
    const id = randomUUID();
    const properties = {
      contentType: 'application/json',
      type: operation,
      correlationId: id,
      messageId,
      replyTo: DIRECT_REPLY_TO,
      mandatory: true, // without a worker it is returned, not dropped
      persistent: false,
      expiration: timeoutMs,
      headers: { 'x-deadline-ms': Date.now() + timeoutMs },
    };
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#fail(id, 'deadline_exceeded'), timeoutMs);
      this.#calls.set(id, { resolve, reject, timer });
      try {
        this.#channel.publish('rpc', operation, Buffer.from(JSON.stringify(request)), properties, (error) => {
          if (error) this.#fail(id, error.message === 'message nacked' ? 'overloaded' : 'unavailable');
        });
      } catch {
        this.#fail(id, 'unavailable'); // the channel is closed
      }
    });
  }

  /** The claims of a live user token. The operation answers many checks at once, each for itself; this is one. */
  async verify(tenantToken, token) {
    const { answers } = await this.call('auth.verify', { checks: [{ tenantToken, token }] });
    if (answers[0].error) throw new AuthError(answers[0].error);
    return answers[0].claims;
  }

  /** Emits `revoked` with each session of this tenant that ends from now on; some may come twice. */
  async revocations(tenant) {
    const revocations = new EventEmitter();
    const channel = await this.#connection.createChannel();
    this.#watch(channel);
    const { queue } = await channel.assertQueue(`sub.node-example.${randomUUID()}`, { exclusive: true });
    await channel.bindQueue(queue, 'events', `session.revoked.${tenant}`);
    const accept = (message) => {
      if (message === null) return this.#close(new Error('the queue of events was deleted'));
      const { exchange, routingKey } = message.fields;
      if (exchange !== 'events' || routingKey !== `session.revoked.${tenant}`) return; // no worker announced it
      if (message.properties.type !== SESSION_REVOKED) return;
      revocations.emit('revoked', JSON.parse(message.content).data);
    };
    await channel.consume(queue, accept, { noAck: true });
    return revocations;
  }

  async close() {
    await this.#connection.close().catch(() => {}); // it may be gone already
  }

  #watch(emitter) {
    emitter.on('error', (error) => this.#close(error));
    emitter.on('close', () => this.#close(new Error('the connection was closed')));
  }

  #close(reason) {
    for (const id of this.#calls.keys()) this.#fail(id, 'unavailable');
    this.#lose(reason);
  }

  #accept(message) {
    if (message === null) return this.#close(new Error('the consumer of replies was cancelled'));
    const call = this.#end(message.properties.correlationId);
    const body = JSON.parse(message.content);
    if (message.properties.type === 'error') call?.reject(new AuthError(body));
    else call?.resolve(body);
  }

  #fail(id, code) {
    this.#end(id)?.reject(new AuthError({ code }));
  }

  /** The call of this id, which is under way no longer. None if nobody waits for it any more. */
  #end(id) {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    clearTimeout(call?.timer);
    return call;
  }
}
