'use strict';

const { types } = require('util');

// An error of the runtime's own; its name is what clients see as errorType.
function define(name) {
  const cls = class extends Error {};
  Object.defineProperty(cls, 'name', { value: name });
  cls.prototype.name = `Runtime.${name}`;
  return cls;
}

const ImportModuleError = define('ImportModuleError');
const HandlerNotFound = define('HandlerNotFound');
const MalformedHandlerName = define('MalformedHandlerName');
const MalformedStreamingHandler = define('MalformedStreamingHandler');
const InvalidStreamingOperation = define('InvalidStreamingOperation');
const CallbackHandlerDeprecated = define('CallbackHandlerDeprecated');
const JSONStringifyError = define('JSONStringifyError');

class UserCodeSyntaxError extends Error {
  constructor(cause) {
    super(String(cause));
    // The stack of a SyntaxError shows the offending line; ours would not.
    this.stack = cause.stack;
  }
}
UserCodeSyntaxError.prototype.name = 'Runtime.UserCodeSyntaxError';

class UnhandledPromiseRejection extends Error {
  constructor(reason, promise) {
    super(describeReason(reason));
    this.reason = reason;
    this.promise = promise;
  }
}
UnhandledPromiseRejection.prototype.name = 'Runtime.UnhandledPromiseRejection';

class NodeJsExit extends Error {
  constructor() {
    super(
      'The Lambda runtime client detected an unexpected Node.js exit code. ' +
      'This is most commonly caused by a Promise that was never settled. ' +
      'For more information, see https://nodejs.org/docs/latest/api/process.html#exit-codes',
    );
  }
}
NodeJsExit.prototype.name = 'Runtime.NodeJsExit';

function describeReason(reason) {
  try {
    return String(reason);
  } catch {
    return 'a promise was rejected with a value that has no text';
  }
}

// Anything thrown that quacks like an Error, such as one of another realm.
function looksLikeError(value) {
  return Boolean(value) && typeof value.name === 'string' && value.name !== '' &&
    typeof value.message === 'string' && value.message !== '' &&
    typeof value.stack === 'string' && value.stack !== '';
}

/** The body of an error as the Runtime API takes it. It never throws. */
function toResponse(error) {
  try {
    if (types.isNativeError(error) || looksLikeError(error)) {
      return {
        errorType: String(error.name),
        errorMessage: String(error.message),
        trace: String(error.stack).split('\n'),
      };
    }
    return { errorType: typeof error, errorMessage: error.toString(), trace: [] };
  } catch {
    return {
      errorType: 'handled',
      errorMessage:
        'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack',
      trace: [],
    };
  }
}

// JSON.stringify replacer: an Error's own properties are not enumerable.
function visible(_key, value) {
  if (!(value instanceof Error)) return value;
  const shown = Object.assign(
    { errorType: value.name, errorMessage: value.message, code: value.code }, value);
  if (typeof value.stack === 'string') shown.stack = value.stack.split('\n');
  return shown;
}

/** One line for the log, after a tab. */
function toLogLine(error) {
  try {
    return '\t' + JSON.stringify(error, visible);
  } catch {
    return '\t' + JSON.stringify(toResponse(error));
  }
}

function intoError(value) {
  return value instanceof Error ? value : new Error(value);
}

module.exports = {
  ImportModuleError, HandlerNotFound, MalformedHandlerName, MalformedStreamingHandler,
  InvalidStreamingOperation, CallbackHandlerDeprecated, JSONStringifyError,
  UserCodeSyntaxError, UnhandledPromiseRejection, NodeJsExit,
  toResponse, toLogLine, intoError,
};
