'use strict';
// Handlers made with `awslambda.streamifyResponse`: what they write goes to the platform in parts, as it is written.
//
// Source: AWS Lambda response streaming as aws-lambda-ric 4.0.2 does it (read for facts): metadata of an HTTP answer as
// JSON before the body, ended by eight NUL bytes.

const { Writable } = require('stream');
const errors = require('./errors.cjs');

const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const PRELUDE_TYPE = 'application/vnd.awslambda.http-integration-response';
const DELIMITER_BYTES = 8;

class ResponseStream extends Writable {
  constructor(channel, highWaterMark) {
    super({ highWaterMark, decodeStrings: true });
    this.channel = channel;
    this.contentType = 'application/octet-stream';
    this.begun = false;
    this.ended = false;
    // Set once the end has left this process.
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
    this.finish(null, callback);
  }

  // The content type, and the metadata if there is any.
  begin() {
    if (this.begun) return;
    this.begun = true;
    this.channel.begin(this.contentType);
    if (typeof this._onBeforeFirstWrite === 'function') {
      this._onBeforeFirstWrite((data) => this.chunk(Buffer.from(data)));
    }
  }

  chunk(data, sent) {
    if (data.length === 0) {
      sent?.();
      return;
    }
    this.channel.part(data, sent);
  }

  finish(error, sent) {
    this.ended = true;
    const done = () => {
      sent?.();
      this.settle();
    };
    if (error === null) {
      this.channel.end(done);
    } else {
      const document = errors.document(error);
      this.channel.endWithError(document.errorType, JSON.stringify(document), done);
    }
  }

  // Ends the stream with an error. What was written before stays written.
  fail(error) {
    if (this.writableEnded || this.destroyed) return;
    this._final = (callback) => {
      this.begin();
      this.finish(error, callback);
    };
    this.end();
  }

  // Destroyed by the function, or by a pipeline that failed: the platform hears why.
  _destroy(error, callback) {
    if (!this.ended) {
      this.begin();
      this.finish(error ?? new Error('The response stream was destroyed.'));
    }
    callback(error);
  }
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
  const stream = new ResponseStream(call.channel, call.handler[HIGH_WATER_MARK]);
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
