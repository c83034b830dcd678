'use strict';
// Handlers made with `awslambda.streamifyResponse`: what they write goes to the platform as chunks, as it is written.
//
// Source: AWS Lambda response streaming as aws-lambda-ric 4.0.2 does it (read for facts): chunked request body, an error
// at the end as two trailers; metadata of an HTTP answer as JSON before the body, ended by eight NUL bytes.

const { Writable } = require('stream');
const { BASE } = require('./client.cjs');
const errors = require('./errors.cjs');

const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const PRELUDE_TYPE = 'application/vnd.awslambda.http-integration-response';
const DELIMITER_BYTES = 8;

class ResponseStream extends Writable {
  constructor(api, id, highWaterMark) {
    super({ highWaterMark, decodeStrings: true });
    this.api = api;
    this.id = id;
    this.contentType = 'application/octet-stream';
    this.begun = false;
    this.ended = false;
    // Set once the platform has answered, or the connection is gone.
    this.settled = new Promise((resolve) => (this.settle = resolve));
    // HttpResponseStream puts a function here that writes the metadata.
    this._onBeforeFirstWrite = undefined;
  }

  setContentType(contentType) {
    if (this.begun) throw errors.make('InvalidStreamingOperation', 'Cannot set content-type, too late.');
    this.contentType = contentType;
  }

  write(chunk, encoding, callback) {
    const plain = typeof chunk === 'string' || chunk instanceof Uint8Array;
    return super.write(plain ? chunk : JSON.stringify(chunk), encoding, callback);
  }

  _write(chunk, _encoding, callback) {
    this.begin();
    this.chunk(chunk, callback);
  }

  _writev(chunks, callback) {
    this.begin();
    this.chunk(Buffer.concat(chunks.map((entry) => entry.chunk)), callback);
  }

  _final(callback) {
    this.begin();
    this.finish('', callback);
  }

  // The head of the request, and the metadata if there is any.
  begin() {
    if (this.begun) return;
    this.begun = true;
    this.api.send(
      `POST ${BASE}invocation/${this.id}/response HTTP/1.1\r\n${this.api.common}` +
        `Content-Type: ${String(this.contentType).replace(/[^\t\x20-\x7e]/g, '')}\r\n` +
        'Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n' +
        'Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n',
    );
    this.api.expectLater((status) => {
      if (status === null || !this.ended) {
        // An answer before the end is a refusal, and the rest of the request could not be told from another one.
        this.ended = true;
        this.api.disconnected();
        this.destroy(new Error('The platform closed the response stream.'));
      }
      this.settle();
    });
    if (typeof this._onBeforeFirstWrite === 'function') {
      this._onBeforeFirstWrite((data) => this.chunk(Buffer.from(data)));
    }
  }

  chunk(data, sent) {
    if (data.length === 0) {
      sent?.();
      return;
    }
    const head = Buffer.from(`${data.length.toString(16)}\r\n`);
    this.api.send(Buffer.concat([head, data, Buffer.from('\r\n')]), sent);
  }

  finish(trailers, sent) {
    this.ended = true;
    this.api.send(`0\r\n${trailers}\r\n`, sent);
    this.api.socket.ref();
  }

  // Ends the stream with an error. What was written before stays written.
  fail(error) {
    if (this.writableEnded || this.destroyed) return;
    this._final = (callback) => {
      this.begin();
      this.finish(trailersOf(error), callback);
    };
    this.end();
  }

  // Destroyed by the function, or by a pipeline that failed: the platform hears why.
  _destroy(error, callback) {
    if (!this.ended) {
      this.begin();
      this.finish(trailersOf(error ?? new Error('The response stream was destroyed.')));
    }
    callback(error);
  }
}

function trailersOf(error) {
  const document = errors.document(error);
  const kind = String(document.errorType).replace(/[^\x20-\x7e]/g, '?');
  const body = Buffer.from(JSON.stringify(document)).toString('base64');
  return `Lambda-Runtime-Function-Error-Type: ${kind}\r\nLambda-Runtime-Function-Error-Body: ${body}\r\n`;
}

class HttpResponseStream {
  // Metadata (`statusCode`, `headers`, `cookies`) to go before the first byte of the body.
  static from(stream, metadata) {
    stream.setContentType(PRELUDE_TYPE);
    const text = JSON.stringify(metadata);
    stream._onBeforeFirstWrite = (write) => {
      write(text);
      write(new Uint8Array(DELIMITER_BYTES));
    };
    return stream;
  }
}

let current = null;

// The process is about to end with an error: the stream, if one has begun, ends with it first.
function abort(error, leave) {
  if (current === null || !current.begun) return false;
  current.fail(error);
  current.settled.then(leave);
  return true;
}

// Runs one event to its end; see bootstrap.cjs for the parts of `call`.
async function run(call) {
  const stream = new ResponseStream(call.api, call.id, call.handler[HIGH_WATER_MARK]);
  // An error that nobody listens for must not end the process: the handler's promise tells of it.
  stream.on('error', () => {});
  current = stream;
  const idle = new Promise((resolve) => call.whenIdle(resolve));
  try {
    const result = call.handler(call.event(), stream, call.context());
    if (typeof result?.then !== 'function') throw new Error('Streaming does not support non-async handlers.');
    if ((await Promise.race([result, idle.then(unfinished)])) !== undefined) {
      console.warn('Streaming handlers ignore return values.');
    }
    if (!stream.writableEnded && !stream.destroyed) await Promise.race([stream.settled, idle.then(unfinished)]);
  } catch (error) {
    call.logError(error);
    stream.fail(error);
  }
  await stream.settled;
  current = null;
  call.goOn();
}

// Nothing is left to run and the stream was not ended: nobody ever will.
function unfinished() {
  throw new Error('Response stream is not finished.');
}

module.exports = { HttpResponseStream, run, abort };
