'use strict';
// A TCP connection to the Runtime API.
//
// Node's own `net` brings all of its streams along; loading them takes a third of the start of a small function, all the
// more as the heap options of functions void the code that Node has compiled ahead. Where Node is of a version for which
// this is tested, its TCP handle is used directly. Elsewhere, or if the handle is not as expected, `net` does the same.

const TESTED = [18, 20, 22, 24];
const READ_BYTES = 65536;

let wraps;

// The parts of Node's TCP handle, or null.
function findWraps() {
  if (!TESTED.includes(Number(process.versions.node.split('.')[0]))) return null;
  try {
    const { TCP, TCPConnectWrap, constants } = process.binding('tcp_wrap');
    const { WriteWrap, kReadBytesOrError, kLastWriteWasAsync, streamBaseState } = process.binding('stream_wrap');
    const complete =
      [TCP, TCPConnectWrap, WriteWrap, TCP.prototype.useUserBuffer].every((part) => typeof part === 'function') &&
      [constants.SOCKET, kReadBytesOrError, kLastWriteWasAsync].every((part) => typeof part === 'number') &&
      streamBaseState !== undefined;
    return complete ? { TCP, TCPConnectWrap, constants, WriteWrap, kReadBytesOrError, kLastWriteWasAsync, streamBaseState } : null;
  } catch {
    return null;
  }
}

// Connects. `read(buffer, count)` gets what arrives, in a buffer that is used again; `gone()` is called once, when the
// connection has ended by itself.
function connect(host, port, read, gone) {
  if (wraps === undefined) wraps = findWraps();
  const Kind = wraps !== null && /^[0-9.]+$/.test(host) ? HandleSocket : NetSocket;
  return new Kind(host, port, read, gone);
}

class HandleSocket {
  constructor(host, port, read, gone) {
    this.gone = gone;
    this.open = true;
    // What is written before the connection is made; null afterwards.
    this.early = [];
    // Writes that the kernel has not taken whole yet; holding them keeps their data.
    this.writing = new Set();
    const handle = new wraps.TCP(wraps.constants.SOCKET);
    this.handle = handle;
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    handle.useUserBuffer(buffer);
    handle.onread = () => {
      const count = wraps.streamBaseState[wraps.kReadBytesOrError];
      if (count > 0) read(buffer, count);
      else if (count < 0) this.end();
    };
    const request = new wraps.TCPConnectWrap();
    request.oncomplete = (status) => {
      if (!this.open) return;
      if (status < 0) this.end();
      else this.connected();
    };
    this.connecting = request;
    if (handle.connect(request, host, port) !== 0) process.nextTick(() => this.end());
  }

  connected() {
    this.connecting = null;
    this.handle.setNoDelay(true);
    this.handle.readStart();
    const early = this.early;
    this.early = null;
    for (const [data, sent] of early) this.write(data, sent);
  }

  write(data, sent) {
    if (!this.open) return;
    if (this.early !== null) {
      this.early.push([data, sent]);
      return;
    }
    const request = new wraps.WriteWrap();
    request.oncomplete = (status) => {
      this.writing.delete(request);
      if (status < 0) this.end();
      else sent?.();
    };
    request.data = data;
    const text = typeof data === 'string';
    const failed = text ? this.handle.writeUtf8String(request, data) : this.handle.writeBuffer(request, data);
    if (failed !== 0) process.nextTick(() => this.end());
    else if (wraps.streamBaseState[wraps.kLastWriteWasAsync]) this.writing.add(request);
    else sent?.();
  }

  ref() {
    if (this.open) this.handle.ref();
  }

  unref() {
    if (this.open) this.handle.unref();
  }

  destroy() {
    if (!this.open) return;
    this.open = false;
    this.handle.close();
  }

  end() {
    if (!this.open) return;
    this.destroy();
    this.gone();
  }
}

class NetSocket {
  constructor(host, port, read, gone) {
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    const callback = (count) => {
      read(buffer, count);
      return true;
    };
    this.socket = require('net').connect({ host, port, noDelay: true, onread: { buffer, callback } });
    this.open = true;
    const end = () => {
      if (!this.open) return;
      this.destroy();
      gone();
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

  destroy() {
    this.open = false;
    this.socket.destroy();
  }
}

module.exports = { connect };
