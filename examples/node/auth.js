// A client of Jincor Auth over AMQP. It does not reconnect: when the connection is lost, the calls in flight fail and
// `lost` resolves with the reason. The process should then exit and be restarted by its supervisor.

import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import amqp from 'amqplib';

const DIRECT_REPLY_TO = 'amq.rabbitmq.reply-to';
const SESSION_REVOKED = 'com.jincor.auth.session.revoked';
/** Errors that the client detects itself, without an error reply. */
const DETECTED = {
  unavailable: 'no broker or no worker',
  overloaded: 'the queue is full',
  deadline_exceeded: 'no answer in time',
};

/** A failed call. `code` is one of the error codes in docs/amqp.md, which never change. */
export class AuthError extends Error {
  constructor({ code, message = DETECTED[code], problems = [], retryAfterSeconds }) {
    super(message);
    Object.assign(this, { code, problems, retryAfterSeconds });
  }
}

export class Auth {
  #connection;
  #channel;
  #calls = new Map();
  #lose;
  /** Resolves with the reason when the connection is lost. */
  lost = new Promise((resolve) => (this.#lose = resolve));

  static async connect(url, { timeoutMs = 5000 } = {}) {
    const address = new URL(url);
    address.searchParams.set('heartbeat', '5'); // in seconds; a broker that stays silent for a few of them counts as lost
    const auth = new Auth();
    auth.#connection = await amqp.connect(address.href, { timeout: timeoutMs });
    auth.#watch(auth.#connection);
    // With confirms the broker reports at once that it cannot accept a request. RabbitMQ requires that the consumer of
    // direct replies uses the channel that publishes the requests, without acknowledgements.
    auth.#channel = await auth.#connection.createConfirmChannel();
    auth.#watch(auth.#channel);
    auth.#channel.on('return', ({ properties }) => auth.#fail(properties.correlationId, 'unavailable'));
    await auth.#channel.consume(DIRECT_REPLY_TO, (message) => auth.#accept(message), { noAck: true });
    return auth;
  }

  /** Returns the reply to a request, or throws an AuthError. A retry must pass the `messageId` of the first attempt. */
  call(operation, request, { messageId = randomUUID(), timeoutMs = 5000 } = {}) {
    const id = randomUUID();
    const properties = {
      contentType: 'application/json',
      type: operation,
      correlationId: id,
      messageId,
      replyTo: DIRECT_REPLY_TO,
      mandatory: true, // without a worker the broker returns the request instead of dropping it
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

  /** Returns the claims of a live user token. The operation accepts a batch of checks; this sends one. */
  async verify(tenantToken, token) {
    const { answers } = await this.call('auth.verify', { checks: [{ tenantToken, token }] });
    if (answers[0].error) throw new AuthError(answers[0].error);
    return answers[0].claims;
  }

  /** Returns an emitter of `revoked` for each later revocation of this tenant. Duplicates are possible. */
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
    await this.#connection.close().catch(() => {}); // it may already be closed
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

  /** Removes and returns the call in flight with this id, or undefined if it has already ended. */
  #end(id) {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    clearTimeout(call?.timer);
    return call;
  }
}
