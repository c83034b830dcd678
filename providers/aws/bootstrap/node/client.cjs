'use strict';
// The Runtime API over one kept connection, in as few writes and wake-ups as possible: an answer and the request for the
// next event leave together. The connection keeps the process alive only while an answer of the platform is awaited, so
// that an event loop with nothing left to run is noticed while a handler works.
//
// Source: AWS Lambda Runtime API 2018-06-01.

const { connect } = require('./socket.cjs');

const BASE = '/2018-06-01/runtime/';

class RuntimeApi {
  constructor(address) {
    const [host, port] = address.split(':');
    this.host = host;
    this.port = Number(port);
    this.common = `Host: ${address}\r\nUser-Agent: sonagi-node/${process.versions.node}\r\n`;
    this.nextRequest = `GET ${BASE}invocation/next HTTP/1.1\r\n${this.common}\r\n`;
    this.socket = null;
    // Who waits for an answer, in the order of the requests.
    this.waiting = [];
    this.reset();
  }

  reset() {
    this.head = null; // the head read so far, as bytes
    this.body = null; // the body being read
    this.filled = 0;
    this.status = 0;
    this.headers = null;
  }

  // Asks for an event; `take(headers, body)` gets it, the body as text.
  next(take) {
    this.send(this.nextRequest);
    this.expectEvent(take);
  }

  // Answers an event and asks for the next.
  answer(id, kind, body, more, take) {
    this.send(this.postRequest(`invocation/${id}/${kind}`, body, more) + this.nextRequest);
    this.expect(() => {});
    this.expectEvent(take, () => this.resume(id, take));
  }

  // Answers an event, and nothing more: the process is about to end.
  post(id, kind, body, more, done) {
    this.send(this.postRequest(`invocation/${id}/${kind}`, body, more));
    this.expect(done);
  }

  initError(kind, body, done) {
    const type = `Lambda-Runtime-Function-Error-Type: ${String(kind).replace(/[^\x20-\x7e]/g, '?')}\r\n`;
    this.send(this.postRequest('init/error', body, type));
    this.expect(done);
  }

  postRequest(path, body, more) {
    const length = Buffer.byteLength(body);
    return (
      `POST ${BASE}${path} HTTP/1.1\r\n${this.common}Content-Type: application/json\r\n` +
      `${more}Content-Length: ${length}\r\n\r\n${body}`
    );
  }

  // === for streams

  // Sends part of a request; `sent` is called when it has left this process.
  send(data, sent) {
    if (this.socket === null) this.connect();
    this.socket.write(data, sent);
  }

  // Calls back with the status of the next answer, or null if the connection ended before it. Until then the process
  // stays alive.
  expect(done) {
    this.expectLater(done);
    this.socket.ref();
  }

  // The same, without keeping the process alive: the request has not been sent to its end yet.
  expectLater(done) {
    this.waiting.push(done);
  }

  expectEvent(take, lost = () => process.exit(1)) {
    this.expect((status, headers, body) => {
      if (status === 200) {
        take(headers, body);
      } else if (status === null) {
        lost();
      } else {
        process.stderr.write(`the Runtime API answered next with status ${status}\n`);
        process.exit(1);
      }
    });
  }

  // The platform closes a connection whose answer it refused to read to the end (it was too large). Whether the answer
  // counted, it knows: an event that comes again was not answered, and cannot be by this process.
  resume(id, take) {
    this.next((headers, body) => {
      if (headers['lambda-runtime-aws-request-id'] === id) process.exit(1);
      take(headers, body);
    });
  }

  // === connection

  connect() {
    this.reset();
    const read = (buffer, count) => this.read(buffer, count);
    this.socket = connect(this.host, this.port, read, () => this.disconnected());
  }

  // Ends the connection; the next request opens another.
  disconnected() {
    this.socket?.destroy();
    this.socket = null;
    this.reset();
    const waiting = this.waiting;
    this.waiting = [];
    for (const done of waiting) done(null);
  }

  read(buffer, count) {
    let at = 0;
    while (at < count) {
      at = this.body === null ? this.readHead(buffer, at, count) : this.readBody(buffer, at, count);
    }
  }

  readHead(buffer, at, count) {
    let data = buffer.subarray(at, count);
    let used = 0;
    if (this.head !== null) {
      used = this.head.length;
      data = Buffer.concat([this.head, data]);
    }
    const end = data.indexOf('\r\n\r\n', Math.max(0, used - 3));
    if (end < 0) {
      this.head = used > 0 ? data : Buffer.from(data);
      return count;
    }
    this.head = null;
    this.parseHead(data.latin1Slice(0, end), data, end);
    const length = Number(this.headers['content-length'] ?? 0);
    const next = at + end + 4 - used;
    if (next + length <= count) {
      // The whole answer is in this buffer: its text is taken from it without another copy.
      this.deliver(buffer.utf8Slice(next, next + length));
      return next + length;
    }
    this.body = Buffer.allocUnsafe(length);
    this.filled = 0;
    return next;
  }

  parseHead(text, data, end) {
    this.status = Number(text.slice(9, 12));
    // Header values may be UTF-8 (a client context), which is decoded only if there is any.
    const lines = (/[\x80-\xff]/.test(text) ? data.utf8Slice(0, end) : text).split('\r\n');
    const headers = {};
    for (let i = 1; i < lines.length; i++) {
      const colon = lines[i].indexOf(':');
      headers[lines[i].slice(0, colon).toLowerCase()] = lines[i].slice(colon + 1).trim();
    }
    this.headers = headers;
  }

  readBody(buffer, at, count) {
    const end = Math.min(count, at + this.body.length - this.filled);
    buffer.copy(this.body, this.filled, at, end);
    this.filled += end - at;
    if (this.filled === this.body.length) {
      const body = this.body;
      this.body = null;
      this.deliver(body.utf8Slice(0, body.length));
    }
    return end;
  }

  deliver(body) {
    const done = this.waiting.shift();
    if (this.waiting.length === 0) this.socket?.unref();
    if (done !== undefined) done(this.status, this.headers, body);
  }
}

module.exports = { RuntimeApi, BASE };
