'use strict';
// Errors of functions: the documents that go to the caller, to X-Ray and to the log. Loaded at the first error.
// Shapes are those of AWS's runtime interface clients for Node (aws-lambda-ric 3.2.1 and 4.0.2, read for facts).

const MAX_CAUSE_BYTES = 1024 * 1024;

// An error of the runtime's own.
function make(kind, message, cause) {
  const error = new Error(message);
  error.name = `Runtime.${kind}`;
  if (cause !== undefined) error.stack = cause.stack;
  return error;
}

function unhandledRejection(reason) {
  const error = make('UnhandledPromiseRejection', String(reason));
  error.reason = reason;
  error.promise = {};
  return error;
}

// DEL cannot be sent in a header, and Lambda replaces it in bodies too.
const clean = (text) => text?.replaceAll('\x7f', '%7F');

function looksLikeError(value) {
  if (value instanceof Error) return true;
  const text = (part) => typeof part === 'string' && part !== '';
  return Boolean(value) && text(value.name) && text(value.message) && text(value.stack);
}

// What the caller gets.
function document(error) {
  try {
    if (looksLikeError(error)) {
      const { name, message, stack } = error;
      return { errorType: clean(name), errorMessage: clean(message), trace: clean(stack)?.split('\n') ?? [] };
    }
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  } catch {
    const errorMessage =
      'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack';
    return { errorType: 'handled', errorMessage, trace: [] };
  }
}

// The cause for X-Ray as a header line; empty if there is none or it would not fit.
function causeHeader(error) {
  try {
    const stack = (clean(error.stack) ?? '').split('\n').slice(1).map(frame);
    const cause = JSON.stringify({
      working_directory: process.cwd(),
      exceptions: [{ type: clean(error.name), message: clean(error.message), stack }],
      paths: [...new Set(stack.map((entry) => entry.path))],
    }).replace(/[\x7f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
    return cause.length < MAX_CAUSE_BYTES ? `Lambda-Runtime-Function-Xray-Error-Cause: ${cause}\r\n` : '';
  } catch {
    return '';
  }
}

// "at label (path:line:column)" or "at path:line:column".
function frame(line) {
  const text = line.trim().replace(/[()]/g, '').replace(/^\S*\s/, '');
  const space = text.lastIndexOf(' ');
  const [path, number] = text.slice(space + 1).split(':');
  return { path, line: Number.parseInt(number, 10), label: space > 0 ? text.slice(0, space) : 'anonymous' };
}

// What the log gets: the error with its own properties, as one line of JSON.
function logText(error) {
  try {
    return JSON.stringify(error, (_key, value) => (value instanceof Error ? enumerable(value) : value));
  } catch {
    return JSON.stringify(document(error));
  }
}

function enumerable(error) {
  const fields = { errorType: error.name, errorMessage: error.message, code: error.code, ...error };
  if (typeof error.stack === 'string') fields.stack = error.stack.split('\n');
  return fields;
}

const intoError = (value) => (value instanceof Error ? value : new Error(value));

module.exports = { make, unhandledRejection, document, causeHeader, logText, intoError };
