'use strict';
// Errors of functions: the documents that go to the caller and to the log. Loaded at the first error.
// Shapes are those of AWS's runtime interface clients for Node (aws-lambda-ric 3.2.1 and 4.0.2, read for facts).

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

// Lambda replaces DEL.
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

module.exports = { make, unhandledRejection, document, logText, intoError };
