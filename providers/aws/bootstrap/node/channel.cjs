'use strict';
// The channel to the platform, descriptor 3: frames, described in channel.rs of the platform. An event costs one read and
// one write: an answer asks for the next event as well. The channel keeps the process alive only while an event is
// awaited, so that an event loop with nothing left to run is noticed while a handler works.
//
// Node's own `net` brings all of its streams along, which takes a good part of the start of a small function. Where Node
// is of a version for which this is tested, its pipe handle is used directly. Elsewhere, or if the handle is not as
// expected, `net` does the same.

const TESTED = [18, 20, 22, 24];
const READ_BYTES = 65536;
const EVENT_HEAD = 63;
// What a part of a streamed answer holds at most.
const PART_BYTES = 262144;

// The parts of Node's handles, or null.
function findWraps() {
  if (!TESTED.includes(Number(process.versions.node.split('.')[0]))) return null;
  try {
    const { Pipe, constants } = process.binding('pipe_wrap');
    const { WriteWrap, kReadBytesOrError, kLastWriteWasAsync, streamBaseState } = process.binding('stream_wrap');
    const complete =
      [Pipe, WriteWrap, Pipe.prototype.useUserBuffer].every((part) => typeof part === 'function') &&
      [constants.SOCKET, kReadBytesOrError, kLastWriteWasAsync].every((part) => typeof part === 'number') &&
      streamBaseState !== undefined;
    return complete ? { Pipe, constants, WriteWrap, kReadBytesOrError, kLastWriteWasAsync, streamBaseState } : null;
  } catch {
    return null;
  }
}

const wraps = findWraps();

function openHandle(descriptor) {
  const handle = new wraps.Pipe(wraps.constants.SOCKET);
  const failed = handle.open(descriptor);
  if (failed !== 0) throw new Error(`the channel cannot be opened: ${failed}`);
  return handle;
}

// Reads and writes through a handle. `read(buffer, count)` gets what arrives, in a buffer that is used again; `gone()` is
// called once, when the other side has closed.
class HandleSocket {
  constructor(handle, read, gone) {
    this.handle = handle;
    this.gone = gone;
    this.open = true;
    // Writes that the kernel has not taken whole yet; holding them keeps their data.
    this.writing = new Set();
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    handle.useUserBuffer(buffer);
    handle.onread = () => {
      const count = wraps.streamBaseState[wraps.kReadBytesOrError];
      if (count > 0) read(buffer, count);
      else if (count < 0) this.end();
    };
    handle.readStart();
  }

  write(data, sent) {
    if (!this.open) return;
    const request = new wraps.WriteWrap();
    request.oncomplete = (status) => {
      this.writing.delete(request);
      if (status < 0) this.end();
      else sent?.();
    };
    request.data = data;
    if (this.handle.writeBuffer(request, data) !== 0) process.nextTick(() => this.end());
    else if (wraps.streamBaseState[wraps.kLastWriteWasAsync]) this.writing.add(request);
    else sent?.();
  }

  ref() {
    if (this.open) this.handle.ref();
  }

  unref() {
    if (this.open) this.handle.unref();
  }

  end() {
    if (!this.open) return;
    this.open = false;
    this.handle.close();
    this.gone();
  }
}

class NetSocket {
  constructor(descriptor, read, gone) {
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    const callback = (count) => {
      read(buffer, count);
      return true;
    };
    this.socket = new (require('net').Socket)({ fd: descriptor, onread: { buffer, callback } });
    let open = true;
    const end = () => {
      if (open) gone();
      open = false;
    };
    for (const event of ['error', 'end', 'close']) this.socket.on(event, end);
    // Nothing is ever read from it as a stream, but its end is announced only while it flows.
    this.socket.resume();
  }

  write(data, sent) {
    this.socket.write(data, sent);
  }

  ref() {
    this.socket.ref();
  }

  unref() {
    this.socket.unref();
  }
}

// A frame: its length, its kind, a text with its length before it (null: none at all), the rest.
function frame(kind, text, rest) {
  const beside = text === null ? 0 : 2 + Buffer.byteLength(text);
  const length = typeof rest === 'string' ? Buffer.byteLength(rest) : rest.length;
  const data = Buffer.allocUnsafe(5 + beside + length);
  data.writeUInt32LE(1 + beside + length, 0);
  data[4] = kind.charCodeAt(0);
  if (text !== null) {
    data.writeUInt16LE(beside - 2, 5);
    data.utf8Write(text, 7);
  }
  if (typeof rest === 'string') data.utf8Write(rest, 5 + beside);
  else data.set(rest, 5 + beside);
  return data;
}

const READY = frame('N', null, '');
const shorten = (text) => String(text).replace(/[^\x20-\x7e]/g, '?').slice(0, 1000);

class Channel {
  // Over a handle that is connected, or over descriptor 3.
  constructor(handle) {
    const read = (buffer, count) => this.read(buffer, count);
    const gone = () => process.exit(0);
    if (handle === undefined && wraps === null) this.socket = new NetSocket(3, read, gone);
    else this.socket = new HandleSocket(handle ?? openHandle(3), read, gone);
    this.socket.unref();
    this.arn = undefined;
    this.take = null;
    // A frame that came in pieces.
    this.frame = null;
    this.filled = 0;
  }

  // Asks for an event; `take(event)` gets it.
  next(take) {
    this.wait(take);
    this.socket.write(READY);
  }

  // Answers an event with JSON and asks for the next.
  answer(body, take) {
    this.wait(take);
    this.socket.write(frame('R', '', body));
  }

  fail(body, take) {
    this.wait(take);
    this.socket.write(frame('F', '', body));
  }

  // Tells of an error, and nothing more: the process is about to end.
  lastError(body, done) {
    this.finally(frame('f', '', body), done);
  }

  initError(kind, body, done) {
    this.finally(frame('I', shorten(kind), body), done);
  }

  // Keeps the process alive until the data has left it.
  finally(data, done) {
    this.socket.ref();
    this.socket.write(data, () => {
      this.socket.unref();
      done?.();
    });
  }

  // === a streamed answer: its beginning, its parts, its end

  begin(contentType) {
    this.socket.write(frame('S', shorten(contentType), ''));
  }

  part(data, sent) {
    let at = 0;
    for (; data.length - at > PART_BYTES; at += PART_BYTES) {
      this.socket.write(frame('D', null, data.subarray(at, at + PART_BYTES)));
    }
    this.socket.write(frame('D', null, data.subarray(at)), sent);
  }

  end(sent) {
    this.finally(frame('Z', null, ''), sent);
  }

  endWithError(kind, body, sent) {
    this.finally(frame('X', shorten(kind), body), sent);
  }

  // === reading

  wait(take) {
    this.take = take;
    this.socket.ref();
  }

  read(buffer, count) {
    if (this.frame === null) {
      if (count >= 4) {
        const length = buffer.readUInt32LE(0) + 4;
        if (length === count) {
          this.deliver(buffer, count);
          return;
        }
        this.frame = Buffer.allocUnsafe(length);
      } else {
        this.frame = Buffer.alloc(4);
      }
      this.filled = 0;
    }
    buffer.copy(this.frame, this.filled, 0, count);
    this.filled += count;
    if (this.filled >= 4 && this.frame.length === 4) {
      const whole = Buffer.allocUnsafe(this.frame.readUInt32LE(0) + 4);
      this.frame.copy(whole);
      // What is beyond the first four bytes of this piece.
      buffer.copy(whole, 4, count - (this.filled - 4), count);
      this.frame = whole;
    }
    if (this.filled === this.frame.length) {
      const whole = this.frame;
      this.frame = null;
      this.deliver(whole, whole.length);
    }
  }

  deliver(data, length) {
    let at = EVENT_HEAD;
    const text = (size) => {
      const from = at;
      at += size;
      return size === 0 ? undefined : data.utf8Slice(from, at);
    };
    const trace = text(data.readUInt16LE(49));
    this.arn = text(data.readUInt16LE(51)) ?? this.arn;
    const event = {
      id: data.latin1Slice(5, 41),
      deadline: data.readUInt32LE(41) + data.readInt32LE(45) * 4294967296,
      trace,
      arn: this.arn,
      tenant: text(data.readUInt16LE(53)),
      clientContext: text(data.readUInt32LE(55)),
      identity: text(data.readUInt32LE(59)),
      body: data.utf8Slice(at, length),
    };
    const take = this.take;
    this.take = null;
    this.socket.unref();
    take?.(event);
  }
}

module.exports = { Channel };
