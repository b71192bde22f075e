'use strict';

// The loop: poll for an event, call the handler, report its result, poll again.

const { Invocation } = require('./context.js');
const { logError } = require('./console.js');
const { JSONStringifyError, NodeJsExit, toResponse } = require('./errors.js');
const idle = require('./idle.js');

class Runtime {
  #client;
  #handler;
  #metadata;
  #fatal;
  #handle;

  /**
   * @param {{report: function}} fatal its report is replaced for each
   *   invocation, so that a crash fails the event at hand
   */
  constructor(client, handler, metadata, fatal) {
    this.#client = client;
    this.#handler = handler;
    this.#metadata = metadata;
    this.#fatal = fatal;
    if (metadata.streaming) this.#handle = this.#handleStreaming;
    else this.#handle = metadata.callbacks ? this.#handleCallback : this.#handlePromise;
  }

  start() {
    this.#poll();
  }

  #poll() {
    this.#client.next().then((response) => {
      const invocation = new Invocation(response);
      invocation.enter();
      this.#fatal.report = (error) => this.#client.fresh().invocationError(invocation, toResponse(error));
      idle.reset();
      this.#handle(invocation);
    }).catch((error) => {
      // Not the function's failure: without the API there is nothing to serve.
      process.stderr.write(`the runtime cannot go on: ${error?.stack ?? error}\n`);
      process.exit(1);
    });
  }

  // Reports a result and polls in one write. The API's answer to the report
  // is not waited for: it has nothing that the runtime could act on.
  #succeed(invocation, result) {
    const body = serialize(result);
    this.#client.batch(() => {
      ignore(this.#client.respond(invocation, body));
      this.#poll();
    });
  }

  #fail(invocation, error) {
    logError('Invoke Error', error);
    this.#client.batch(() => {
      ignore(this.#client.invocationError(invocation, toResponse(error)));
      this.#poll();
    });
  }

  // Node.js 24 and later: the result is what the handler returns, or what its
  // promise resolves to.
  #handlePromise(invocation) {
    this.#onUnsettled(invocation, () => {});
    (async () => this.#handler(invocation.event(), invocation.context({})))()
      .then((result) => {
        idle.reset();
        this.#succeed(invocation, result);
      })
      .catch((error) => {
        idle.reset();
        this.#fail(invocation, error);
      });
  }

  // Up to Node.js 22: by promise, by callback or by the context's methods,
  // whichever comes first. A callback's result waits until the event loop is
  // empty, unless context.callbackWaitsForEmptyEventLoop is false.
  #handleCallback(invocation) {
    let finished = false;
    let waitForEmptyLoop = true;
    const first = (fn) => (...args) => {
      if (finished) return;
      fn(...args);
      finished = true;
    };
    // Polls only after the caller's stack has unwound: the environment may be
    // frozen as soon as the poll arrives.
    const finish = (error, result) => {
      idle.reset();
      if (error !== undefined && error !== null) {
        logError('Invoke Error', error);
        ignore(this.#client.invocationError(invocation, toResponse(error)));
      } else {
        const body = serialize(result);
        ignore(this.#client.respond(invocation, body));
      }
      setImmediate(() => this.#poll());
    };
    const callback = first((error, result) => {
      if ((error !== undefined && error !== null) || !waitForEmptyLoop) finish(error, result);
      else idle.set(() => finish(null, result));
    });
    const done = first(finish);
    const base = {
      get callbackWaitsForEmptyEventLoop() { return waitForEmptyLoop; },
      set callbackWaitsForEmptyEventLoop(value) { waitForEmptyLoop = value; },
      succeed: (result) => done(null, result),
      fail: (error) => done(error ?? 'handled'),
      done,
    };

    this.#onUnsettled(invocation, () => { finished = true; });
    let returned;
    try {
      returned = this.#handler(invocation.event(), invocation.context(base), callback);
    } catch (error) {
      callback(error ?? 'handled');
      return;
    }
    if (typeof returned?.then !== 'function') return;
    const settle = (report) => (value) => {
      if (finished) return;
      idle.reset();
      report(value);
      finished = true;
    };
    returned
      .then(settle((result) => this.#succeed(invocation, result)))
      .then(undefined, settle((error) => this.#fail(invocation, error ?? 'handled')));
  }

  #handleStreaming(invocation) {
    const { serveStream } = require('./stream.js');
    serveStream(this.#client, invocation, this.#handler, this.#metadata, (poll) => {
      idle.reset();
      poll ? idle.set(() => this.#poll()) : this.#poll();
    });
  }

  // The loop ran empty and nothing answered yet. An async handler then waits
  // for a promise that nobody can settle; any other simply has no result.
  #onUnsettled(invocation, mark) {
    idle.set(() => {
      idle.reset();
      mark();
      if (this.#metadata.isAsync) this.#fail(invocation, new NodeJsExit());
      else this.#succeed(invocation, null);
    });
  }
}

function ignore(promise) {
  promise.catch(() => {});
}

function serialize(result) {
  try {
    return JSON.stringify(result === undefined ? null : result) ?? 'null';
  } catch {
    const major = Number(process.versions.node.split('.')[0]);
    const message = 'Unable to stringify response body';
    throw major >= 24 ? new JSONStringifyError(message) : new Error(message);
  }
}

module.exports = { Runtime };
