'use strict';

// A client of the Runtime API on one kept-alive connection, without node:http:
// the round trip is on the path of every invocation, and a parser for the few
// shapes of answer that this API has costs a fraction of the general one.
//
// Requests are answered in order, so they may be pipelined: a response and the
// poll for the next event leave in one write.
//
// The connection keeps the process alive only while an answer is awaited;
// during a handler the event loop may run empty, see idle.js.

const net = require('net');

const BASE = '/2018-06-01/runtime';
const MAX_RECONNECTS = 3;
const HEADER_END = Buffer.from('\r\n\r\n');

class RuntimeClient {
  /** What net.connect takes to reach the API. */
  address;
  #host;
  #socket = null;
  #pending = []; // requests without an answer yet: {head, body, resolve, reject}
  #reader = new ResponseReader();
  #reconnects = 0;

  /**
   * @param {string} api "host:port", the value of AWS_LAMBDA_RUNTIME_API
   * @param {string} [socketPath] a unix socket of the same API, preferred when given
   */
  constructor(api, socketPath) {
    this.#host = api || 'localhost';
    const colon = this.#host.lastIndexOf(':');
    this.address = socketPath
      ? { path: socketPath }
      : { host: this.#host.slice(0, colon), port: Number(this.#host.slice(colon + 1)) };
    this.#connect();
  }

  /** Waits for the next event; resolves to {headers, body}, headers in lower case. */
  next() {
    return this.#send(`GET ${BASE}/invocation/next HTTP/1.1\r\nHost: ${this.#host}\r\n\r\n`, '')
      .then((response) => {
        if (response.status !== 200) {
          throw new Error(`the Runtime API answered ${response.status} to the poll for the next event`);
        }
        return response;
      });
  }

  /** Reports a handler's result, already serialized. */
  respond(invocation, body) {
    return this.#post(`/invocation/${invocation.id}/response`, body, invocation.echo);
  }

  /** Reports a handler's error. */
  invocationError(invocation, error) {
    return this.#postError(`/invocation/${invocation.id}/error`, error, invocation.echo);
  }

  /** Reports that the function could not be loaded. */
  initError(error) {
    return this.#postError('/init/error', error, '');
  }

  /**
   * A client with a connection of its own, for what must not wait in line
   * behind a poll.
   */
  fresh() {
    return new RuntimeClient(this.#host, this.address.path);
  }

  /** Runs fn with everything it sends leaving in one write. */
  batch(fn) {
    this.#socket.cork();
    try {
      return fn();
    } finally {
      this.#socket.uncork();
    }
  }

  #postError(path, error, echo) {
    // Header values cannot hold arbitrary text.
    const type = error.errorType.replace(/[^\x20-\x7e]/g, '?');
    return this.#post(path, JSON.stringify(error), `${echo}Lambda-Runtime-Function-Error-Type: ${type}\r\n`);
  }

  #post(path, body, extra) {
    return this.#send(
      `POST ${BASE}${path} HTTP/1.1\r\nHost: ${this.#host}\r\n` +
      `Content-Type: application/json\r\n${extra}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n`,
      body);
  }

  #send(head, body) {
    return new Promise((resolve, reject) => {
      const request = { data: head + body, resolve, reject };
      this.#pending.push(request);
      this.#socket.ref();
      this.#socket.write(request.data);
    });
  }

  #connect() {
    const socket = net.connect(this.address);
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#receive(chunk));
    socket.on('error', (error) => { socket.lastError = error; });
    socket.on('close', () => this.#lost(socket));
    if (this.#pending.length === 0) socket.unref();
  }

  #receive(chunk) {
    this.#reconnects = 0;
    for (const response of this.#reader.push(chunk)) {
      if (response.status < 200) continue; // 100 Continue
      const request = this.#pending.shift();
      if (this.#pending.length === 0) this.#socket.unref();
      if (request) request.resolve(response);
    }
  }

  // The connection may break while the process is frozen or restored from a
  // snapshot. What had no answer is sent again on a new one; the API refuses
  // the second copy of a result it has seen.
  #lost(socket) {
    if (socket !== this.#socket) return;
    this.#reader = new ResponseReader();
    if (this.#reconnects++ >= MAX_RECONNECTS) {
      const error = socket.lastError || new Error('the Runtime API closed the connection');
      for (const request of this.#pending.splice(0)) request.reject(error);
      return;
    }
    this.#connect();
    for (const request of this.#pending) this.#socket.write(request.data);
  }
}

// Splits a byte stream into HTTP responses: {status, headers, body}.
class ResponseReader {
  #data = null; // bytes not consumed yet
  #parts = []; // of the current body
  #current = null;
  #missing = 0; // bytes of the current body, -1 while it is chunked

  push(chunk) {
    const complete = [];
    for (;;) {
      if (this.#current && this.#missing >= 0) {
        const taken = Math.min(chunk.length, this.#missing);
        this.#parts.push(taken === chunk.length ? chunk : chunk.subarray(0, taken));
        this.#missing -= taken;
        if (this.#missing > 0) return complete;
        chunk = chunk.subarray(taken);
        complete.push(this.#finish());
        if (chunk.length === 0) return complete;
      }
      if (this.#data) {
        chunk = Buffer.concat([this.#data, chunk]);
        this.#data = null;
      }
      if (!this.#current) {
        const end = chunk.indexOf(HEADER_END);
        if (end < 0) {
          this.#data = chunk;
          return complete;
        }
        this.#current = parseHead(chunk.utf8Slice(0, end));
        chunk = chunk.subarray(end + 4);
        const { headers, status } = this.#current;
        if (status < 200 || status === 204 || status === 304) this.#missing = 0;
        else this.#missing = headers['transfer-encoding'] ? -1 : Number(headers['content-length'] || 0);
        if (this.#missing >= 0) continue;
      }
      const rest = this.#chunks(chunk);
      if (rest === null) return complete;
      complete.push(this.#finish());
      chunk = rest;
      if (chunk.length === 0) return complete;
    }
  }

  // Consumes chunks of a chunked body; returns what follows it, or null if
  // more data is needed.
  #chunks(data) {
    for (;;) {
      const line = data.indexOf('\r\n');
      if (line < 0) break;
      const size = parseInt(data.latin1Slice(0, line), 16);
      if (data.length < line + 2 + size + 2) break;
      if (size === 0) return data.subarray(line + 4);
      this.#parts.push(data.subarray(line + 2, line + 2 + size));
      data = data.subarray(line + 2 + size + 2);
    }
    this.#data = data;
    return null;
  }

  #finish() {
    const response = this.#current;
    response.body = this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts);
    this.#current = null;
    this.#parts = [];
    return response;
  }
}

function parseHead(text) {
  const lines = text.split('\r\n');
  const headers = {};
  for (let i = 1; i < lines.length; i++) {
    const colon = lines[i].indexOf(':');
    headers[lines[i].slice(0, colon).toLowerCase()] = lines[i].slice(colon + 1).trim();
  }
  return { status: Number(lines[0].slice(9, 12)), headers, body: null };
}

module.exports = { RuntimeClient, ResponseReader };
