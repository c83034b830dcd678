'use strict';
// The console as Lambda sets it up: a record is one line with its time, the id of the event and its level; line breaks
// inside become carriage returns. With AWS_LAMBDA_LOG_FORMAT=JSON a record is a JSON document.
// Formats are those of AWS's runtime interface clients for Node (aws-lambda-ric 3.2.1 and 4.0.2, read for facts).

const fs = require('fs');
const util = require('util');

const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];

let inJson;
let requestIdKey;

function patchConsole(key) {
  requestIdKey = key;
  inJson = process.env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === 'JSON';
  const wanted = LEVELS.indexOf(process.env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase());
  const write = inJson ? writeJson : writeText;
  LEVELS.forEach((level, priority) => {
    console[level.toLowerCase()] = priority >= wanted ? (...parts) => write(level, parts) : () => {};
  });
  console.log = console.info;
}

function writeText(level, parts) {
  const text = util.format(...parts);
  put(`${new Date().toISOString()}\t${globalThis[requestIdKey]}\t${level}\t${text}`);
}

function writeJson(level, parts) {
  const record = { timestamp: new Date().toISOString(), level, requestId: globalThis[requestIdKey] };
  if (parts.length === 1) {
    record.message = parts[0];
    try {
      put(JSON.stringify(record, expandErrors));
    } catch {
      record.message = util.format(parts[0]);
      put(JSON.stringify(record));
    }
    return;
  }
  record.message = util.format(...parts);
  const error = parts.find((part) => part instanceof Error);
  if (error !== undefined) Object.assign(record, errorFields(error));
  put(JSON.stringify(record));
}

const expandErrors = (_key, value) => (value instanceof Error ? { ...errorFields(value), ...value } : value);

function errorFields(error) {
  return {
    errorType: error.constructor?.name ?? 'UnknownError',
    errorMessage: error.message,
    stackTrace: typeof error.stack === 'string' ? error.stack.split('\n') : [],
  };
}

// An error that ends an invocation or the process.
function logError(title, value) {
  const { intoError, logText } = require('./errors.cjs');
  const error = intoError(value);
  if (inJson) console.error(error);
  else console.error(title, `\t${logText(error)}`);
}

// Written before this returns: what a function logs is out before its answer is, even if the process ends.
function put(line) {
  const data = Buffer.from(`${line.replace(/\n/g, '\r')}\n`);
  let at = 0;
  while (at < data.length) {
    try {
      at += fs.writeSync(1, data, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') return;
      // The pipe is full, and non-blocking because `process.stdout` was used: wait for its reader.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

module.exports = { patchConsole, logError };
