'use strict';
// The runtime of Node functions: takes events from the platform, calls the handler, gives answers back.
//
// Written for a fast start and a short path per event: frames over a socket (channel.cjs), and what most functions never
// need (errors, streaming) is loaded when it is needed. What a function sees follows AWS's runtime
// interface clients for Node (aws-lambda-ric 3.2.1 for callbacks, 4.0.2 for everything else; read for facts).

const { Channel } = require('./channel.cjs');
const logging = require('./logging.cjs');

const MAJOR = Number(process.versions.node.split('.')[0]);

// Layers and agents look for the id here, as on Lambda.
const REQUEST_ID = Symbol.for('aws.lambda.runtime.requestId');

// What the context of every event says about the function.
let environment;
let channel;
const errors = () => require('./errors.cjs');

let handler;
let streaming = null;
// The event being worked on: its id while nothing has been answered, null otherwise.
let running = null;
// What to do when the event loop runs empty.
let whenIdle = null;
let trace;
let ending = false;

process.on('beforeExit', () => {
  const action = whenIdle;
  whenIdle = null;
  if (action !== null) action();
});

process.on('uncaughtException', (error) => end('Uncaught Exception', error, 129));
process.on('unhandledRejection', (reason) => end('Unhandled Promise Rejection', errors().unhandledRejection(reason), 128));

// The process cannot go on: what went wrong is told to whoever waits, and to the log.
function end(title, error, status) {
  if (ending) return;
  ending = true;
  logging.logError(title, error);
  const leave = () => process.exit(status);
  const document = errors().document(error);
  if (handler === undefined) {
    channel.initError(document.errorType, JSON.stringify(document), leave);
  } else if (streaming?.abort(error, leave)) {
    // It leaves when the stream has ended.
  } else if (running !== null) {
    channel.lastError(JSON.stringify(document), leave);
  } else {
    leave();
  }
}

function json(text, name) {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`Cannot parse ${name} as json: ${error}`);
  }
}

function describe(context, event) {
  const { deadline } = event;
  Object.assign(context, environment);
  context.clientContext = json(event.clientContext, 'ClientContext');
  context.identity = json(event.identity, 'CognitoIdentity');
  context.invokedFunctionArn = event.arn;
  context.awsRequestId = event.id;
  if (event.tenant !== undefined) context.tenantId = event.tenant;
  context.getRemainingTimeInMillis = () => deadline - Date.now();
  return context;
}

function begin(event) {
  running = event.id;
  globalThis[REQUEST_ID] = event.id;
  if (event.trace !== trace) {
    trace = event.trace;
    if (trace === undefined) delete process.env._X_AMZN_TRACE_ID;
    else process.env._X_AMZN_TRACE_ID = trace;
  }
  store.enter(event.id, trace, event.tenant);
}

function serialize(result) {
  try {
    const text = JSON.stringify(result);
    return text === undefined ? 'null' : text;
  } catch {
    throw errors().make('JSONStringifyError', 'Unable to stringify response body');
  }
}

function succeed(result) {
  let body;
  try {
    body = serialize(result);
  } catch (error) {
    fail(error);
    return;
  }
  finish();
  channel.answer(body, take);
}

function fail(error) {
  logging.logError('Invoke Error', error);
  const { document } = errors();
  finish();
  channel.fail(JSON.stringify(document(error)), take);
}

function finish() {
  running = null;
  whenIdle = null;
}

// One event, for a handler that answers as a whole.
function take(event) {
  begin(event);
  let done = false;
  let waits = true;
  const once = (action) => {
    if (done) return;
    done = true;
    action();
  };
  const settle = (error, result) => {
    if (error !== undefined && error !== null) fail(error);
    else succeed(result);
  };
  const context = {
    get callbackWaitsForEmptyEventLoop() {
      return waits;
    },
    set callbackWaitsForEmptyEventLoop(value) {
      waits = value;
    },
    done: (error, result) => once(() => settle(error, result)),
    succeed: (result) => once(() => settle(null, result)),
    fail: (error) => once(() => settle(error === undefined || error === null ? 'handled' : error)),
  };
  const callback = (error, result) =>
    once(() => {
      if ((error === undefined || error === null) && waits) whenIdle = () => succeed(result);
      else settle(error, result);
    });
  // A handler that neither calls back nor returns a promise is done when nothing is left to run.
  whenIdle = () => once(() => succeed(null));
  try {
    const result = handler(JSON.parse(event.body), describe(context, event), callback);
    if (result !== null && result !== undefined && typeof result.then === 'function') {
      // From Node 24 on, a promise that can never settle ends the process, as any script would.
      if (MAJOR >= 24) whenIdle = null;
      result.then(context.succeed, context.fail);
    }
  } catch (error) {
    callback(error);
  }
}

// One event, for a handler that streams.
function takeStream(event) {
  begin(event);
  let waits = true;
  const context = {
    get callbackWaitsForEmptyEventLoop() {
      return waits;
    },
    set callbackWaitsForEmptyEventLoop(value) {
      waits = value;
    },
  };
  const goOn = () => {
    finish();
    if (!waits) {
      channel.next(takeStream);
      return;
    }
    whenIdle = () => channel.next(takeStream);
    // This may be said because the loop is empty, and that it is empty is said again only after it had something to do.
    setImmediate(() => {});
  };
  streaming.run({
    channel,
    handler,
    goOn,
    event: () => JSON.parse(event.body),
    context: () => describe(context, event),
    logError: (error) => logging.logError('Invoke Error', error),
    whenIdle: (action) => (whenIdle = action),
  });
}

// The store that AWS's `@aws/lambda-invoke-store` finds, so that libraries see the ids of the event being worked on.
const KEYS = {
  REQUEST_ID: Symbol.for('_AWS_LAMBDA_REQUEST_ID'),
  X_RAY_TRACE_ID: Symbol.for('_AWS_LAMBDA_X_RAY_TRACE_ID'),
  TENANT_ID: Symbol.for('_AWS_LAMBDA_TENANT_ID'),
};

const store = {
  current: undefined,
  enter(id, traceId, tenantId) {
    this.current = { [KEYS.REQUEST_ID]: id, [KEYS.X_RAY_TRACE_ID]: traceId, [KEYS.TENANT_ID]: tenantId };
  },
  getContext() {
    return this.current;
  },
  hasContext() {
    return this.current !== undefined;
  },
  get(key) {
    return this.current?.[key];
  },
  set(key, value) {
    if (this.isProtectedKey(key)) throw new Error(`Cannot modify protected Lambda context field: ${String(key)}`);
    this.current ??= {};
    this.current[key] = value;
  },
  run(context, action) {
    this.current = context;
    return action();
  },
  isProtectedKey: (key) => Object.values(KEYS).includes(key),
  getRequestId() {
    return this.get(KEYS.REQUEST_ID) ?? '-';
  },
  getXRayTraceId() {
    return this.get(KEYS.X_RAY_TRACE_ID);
  },
  getTenantId() {
    return this.get(KEYS.TENANT_ID);
  },
};

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');

function globals() {
  const off = process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA;
  if (off === '1' || off === 'true') return;
  globalThis.awslambda = {
    ...globalThis.awslambda,
    streamifyResponse(target, options) {
      target[STREAMING] = 'response';
      if (typeof options?.highWaterMark === 'number') target[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
      return target;
    },
    get HttpResponseStream() {
      return require('./streaming.cjs').HttpResponseStream;
    },
    InvokeStore: store,
  };
}

function streams(target) {
  const mode = target[STREAMING];
  if (mode === undefined || mode === null || mode === false) return false;
  if (mode === 'response') return true;
  throw errors().make('MalformedStreamingHandler', 'Only response streaming is supported.');
}

function lookAround() {
  environment = {
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
  };
}

// Runs the function that the environment names, over descriptor 3 or a handle that is given.
async function main(handle) {
  lookAround();
  channel = new Channel(handle);
  logging.patchConsole(REQUEST_ID);
  globals();
  const loaded = await require('./loader.cjs').load(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER ?? '');
  if (streams(loaded)) {
    streaming = require('./streaming.cjs');
  } else if (MAJOR >= 24 && loaded.length >= 3) {
    const text = 'Handlers with a callback are not supported from Node.js 24 on: return a promise instead.';
    throw errors().make('CallbackHandlerDeprecated', text);
  }
  handler = loaded;
  channel.next(streaming === null ? take : takeStream);
}

function start(handle) {
  main(handle).catch((error) => end('Uncaught Exception', error, 129));
}

// Forgets a function: the one of the rehearsal of a runtime that was booted ahead of demand.
function forget() {
  channel = undefined;
  handler = undefined;
  finish();
  trace = undefined;
  store.current = undefined;
  delete globalThis[REQUEST_ID];
  delete globalThis.awslambda;
}

if (process.env._SONAGI_STEM) require('./stem.cjs').boot(start, forget);
else start();
