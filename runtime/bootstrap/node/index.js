'use strict';

// Kiln's managed Node.js runtime: loads the function that _HANDLER names and
// serves its invocations from the Runtime API. The only entry point; the other
// files beside it each hold one concern.

const { RuntimeClient } = require('./client.js');
const { patchConsole, logError } = require('./console.js');
const { UnhandledPromiseRejection, toResponse } = require('./errors.js');
const { load, describe } = require('./loader.js');
const { Runtime } = require('./runtime.js');
const idle = require('./idle.js');

function main() {
  const socketPath = process.env._KILN_RUNTIME_SOCKET;
  delete process.env._KILN_RUNTIME_SOCKET;
  patchConsole();
  const client = new RuntimeClient(process.env.AWS_LAMBDA_RUNTIME_API, socketPath);

  // Until the first invocation a fatal error is one of the init phase; the
  // runtime replaces this function for each invocation.
  const fatal = {
    report: (error) => client.fresh().initError(toResponse(error)),
  };
  const die = (message, error, code) => {
    logError(message, error);
    const exit = () => process.exit(code);
    fatal.report(error).then(exit, exit);
  };
  process.on('uncaughtException', (error) => die('Uncaught Exception', error, 129));
  process.on('unhandledRejection', (reason, promise) => {
    die('Unhandled Promise Rejection', new UnhandledPromiseRejection(reason, promise), 128);
  });
  process.on('beforeExit', idle.invoke);

  const taskRoot = process.env.LAMBDA_TASK_ROOT || process.cwd();
  load(taskRoot, process.env._HANDLER || '')
    .then((handler) => new Runtime(client, handler, describe(handler), fatal).start())
    .catch((error) => die('Uncaught Exception', error, 129));
}

main();
