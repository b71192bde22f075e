'use strict';

const { setInvocation } = require('./console.js');

/**
 * One event to handle: its id, the headers that results must echo, and what
 * the handler's context shows of it.
 */
class Invocation {
  constructor({ headers, body }) {
    this.headers = headers;
    this.body = body;
    this.id = headers['lambda-runtime-aws-request-id'];
    // Names this attempt; the API refuses a result that echoes another's.
    const attempt = headers['lambda-runtime-invocation-id'];
    this.echo = attempt ? `Lambda-Runtime-Invocation-Id: ${attempt}\r\n` : '';
  }

  /** Makes this the invocation that log lines and tracing tools see. */
  enter() {
    setInvocation(this.id, this.headers['lambda-runtime-aws-tenant-id']);
    const trace = this.headers['lambda-runtime-trace-id'];
    if (trace) process.env._X_AMZN_TRACE_ID = trace;
    else delete process.env._X_AMZN_TRACE_ID;
  }

  event() {
    return JSON.parse(this.body.toString());
  }

  /** Completes base, which may already hold the callback methods, to the handler's context. */
  context(base) {
    const deadline = Number(this.headers['lambda-runtime-deadline-ms']);
    return Object.assign(base, {
      functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
      functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
      memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
      logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
      logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
      clientContext: parse(this.headers['lambda-runtime-client-context'], 'ClientContext'),
      identity: parse(this.headers['lambda-runtime-cognito-identity'], 'CognitoIdentity'),
      invokedFunctionArn: this.headers['lambda-runtime-invoked-function-arn'],
      awsRequestId: this.id,
      tenantId: this.headers['lambda-runtime-aws-tenant-id'],
      getRemainingTimeInMillis: () => deadline - Date.now(),
    });
  }
}

function parse(text, name) {
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`Cannot parse ${name} as json: ${error}`);
  }
}

module.exports = { Invocation };
