'use strict';

// The console as functions see it: every line carries time, request id and
// level, as text or, with AWS_LAMBDA_LOG_FORMAT=JSON, as one JSON object.

const util = require('util');
const { intoError, toLogLine } = require('./errors.js');

const LEVELS = { TRACE: 1, DEBUG: 2, INFO: 3, WARN: 4, ERROR: 5, FATAL: 6 };

// Tools read the current request id through this symbol.
const REQUEST_ID = Symbol.for('aws.lambda.runtime.requestId');
let tenantId;

const json = String(process.env.AWS_LAMBDA_LOG_FORMAT).toUpperCase() === 'JSON';

// A log event is one line of output: a line break inside it becomes a carriage
// return, as the platform expects of what arrives on standard output.
function emit(line) {
  process.stdout.write(line.replace(/\n/g, '\r') + '\n');
}

function writeText(level, params) {
  emit(`${new Date().toISOString()}\t${globalThis[REQUEST_ID]}\t${level}\t${util.format(...params)}`);
}

function showErrors(_key, value) {
  if (!(value instanceof Error)) return value;
  return Object.assign({
    errorType: value.constructor?.name ?? 'UnknownError',
    errorMessage: value.message,
    stackTrace: typeof value.stack === 'string' ? value.stack.split('\n') : value.stack,
  }, value);
}

function writeJSON(level, params) {
  const entry = {
    timestamp: new Date().toISOString(),
    level,
    requestId: globalThis[REQUEST_ID],
  };
  if (tenantId !== undefined && tenantId !== null) entry.tenantId = tenantId;
  if (params.length === 1) {
    entry.message = params[0];
    try {
      emit(JSON.stringify(entry, showErrors));
    } catch {
      entry.message = util.format(params[0]);
      emit(JSON.stringify(entry));
    }
    return;
  }
  entry.message = util.format(...params);
  const error = params.find((p) => p instanceof Error);
  if (error) {
    entry.errorType = error.constructor?.name ?? 'UnknownError';
    entry.errorMessage = error.message;
    entry.stackTrace = typeof error.stack === 'string' ? error.stack.split('\n') : [];
  }
  emit(JSON.stringify(entry));
}

/** Replaces the console's methods; those below AWS_LAMBDA_LOG_LEVEL do nothing. */
function patchConsole() {
  const write = json ? writeJSON : writeText;
  const least = LEVELS[process.env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase()] ?? LEVELS.TRACE;
  const method = (level) => {
    if (LEVELS[level] < least) return () => {};
    // As with AWS, a call without arguments logs "undefined".
    return (message, ...rest) => write(level, [message, ...rest]);
  };
  console.trace = method('TRACE');
  console.debug = method('DEBUG');
  console.info = method('INFO');
  console.log = console.info;
  console.warn = method('WARN');
  console.error = method('ERROR');
  console.fatal = method('FATAL');
}

/** Logs an error that ends an invocation or the process. */
function logError(message, error) {
  if (json) console.error(intoError(error));
  else console.error(message, toLogLine(intoError(error)));
}

function setInvocation(requestId, tenant) {
  globalThis[REQUEST_ID] = requestId;
  tenantId = tenant;
}

module.exports = { patchConsole, logError, setInvocation };
