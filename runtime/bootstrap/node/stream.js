'use strict';

// Response streaming: what the handler writes is sent on at once as a chunked
// request, and an error after the first byte as the request's trailers.

const { Writable } = require('stream');
const idle = require('./idle.js');
const { logError } = require('./console.js');
const { InvalidStreamingOperation, toResponse } = require('./errors.js');

const HTTP_INTEGRATION = 'application/vnd.awslambda.http-integration-response';

/** What awslambda.HttpResponseStream offers to handlers behind HTTP. */
class HttpResponseStream {
  /** Sends status and headers as a prelude: JSON, eight NUL bytes, then the body. */
  static from(stream, prelude) {
    stream.setContentType(HTTP_INTEGRATION);
    const head = JSON.stringify(prelude);
    stream._onBeforeFirstWrite = (write) => {
      write(head);
      write(new Uint8Array(8));
    };
    return stream;
  }
}

class ResponseStream extends Writable {
  #open;
  #request = null;
  #contentType = 'application/octet-stream';
  #settle;

  /** Resolves once the API has answered. */
  acknowledged;

  /** @param {function(string): import('http').ClientRequest} open starts the request for a content type */
  constructor(open, highWaterMark) {
    super({ highWaterMark, decodeStrings: true });
    this.#open = open;
    this.acknowledged = new Promise((resolve, reject) => { this.#settle = { resolve, reject }; });
    this.acknowledged.catch((error) => this.destroy(error));
  }

  setContentType(contentType) {
    if (this.#request) throw new InvalidStreamingOperation('Cannot set content-type, too late.');
    this.#contentType = contentType;
  }

  write(chunk, encoding, callback) {
    if (typeof chunk !== 'string' && !(chunk instanceof Uint8Array)) chunk = JSON.stringify(chunk);
    return super.write(chunk, encoding, callback);
  }

  _write(chunk, _encoding, callback) {
    this.#begin().write(chunk, callback);
  }

  _final(callback) {
    this.#begin().end(callback);
  }

  /** Ends the stream with an error. */
  fail(error) {
    const body = toResponse(error);
    const request = this.#begin();
    request.addTrailers({
      'Lambda-Runtime-Function-Error-Type': body.errorType.replace(/[^\x20-\x7e]/g, '?'),
      'Lambda-Runtime-Function-Error-Body': Buffer.from(JSON.stringify(body)).toString('base64'),
    });
    request.end();
  }

  #begin() {
    if (this.#request) return this.#request;
    const request = this.#open(this.#contentType);
    this.#request = request;
    const { resolve, reject } = this.#settle;
    request.on('response', (response) => response.resume().on('end', resolve).on('error', reject));
    request.on('error', reject);
    if (typeof this._onBeforeFirstWrite === 'function') {
      this._onBeforeFirstWrite((chunk) => request.write(chunk));
    }
    return request;
  }
}

let agent;

function openRequest(client, invocation, contentType) {
  const http = require('http');
  agent ??= new http.Agent({ keepAlive: true, maxSockets: 1 });
  const headers = {
    'Lambda-Runtime-Function-Response-Mode': 'streaming',
    Trailer: 'Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body',
    'Content-Type': contentType,
    'Transfer-Encoding': 'chunked',
  };
  const attempt = invocation.headers['lambda-runtime-invocation-id'];
  if (attempt) headers['Lambda-Runtime-Invocation-Id'] = attempt;
  const { host, port, path: socketPath } = client.address;
  const request = http.request({
    host, port, socketPath, agent, headers, method: 'POST',
    path: `/2018-06-01/runtime/invocation/${invocation.id}/response`,
  });
  request.flushHeaders();
  return request;
}

/**
 * Handles one event with a streaming handler, then calls done with whether the
 * next poll is to wait for an empty event loop.
 */
async function serveStream(client, invocation, handler, metadata, done) {
  let wait = true;
  const stream = new ResponseStream((type) => openRequest(client, invocation, type), metadata.highWaterMark);
  stream.on('error', () => {}); // reported by acknowledged, and to the handler by its own listeners
  let failed = false;
  const fail = async (error) => {
    if (failed) return;
    failed = true;
    idle.reset();
    logError('Invoke Error', error);
    stream.fail(error);
    await stream.acknowledged.catch(() => {});
    done(false);
  };
  idle.set(() => fail('Response stream is not finished.'));
  try {
    const base = metadata.callbacks ? {
      get callbackWaitsForEmptyEventLoop() { return wait; },
      set callbackWaitsForEmptyEventLoop(value) { wait = value; },
    } : {};
    const returned = handler(invocation.event(), stream, invocation.context(base));
    if (typeof returned?.then !== 'function') {
      await fail('Streaming does not support non-async handlers.');
      return;
    }
    if ((await returned) !== undefined) console.warn('Streaming handlers ignore return values.');
    await stream.acknowledged;
    if (failed) return;
  } catch (error) {
    await fail(error);
    return;
  }
  done(wait && metadata.callbacks);
}

module.exports = { HttpResponseStream, serveStream };
