// Standard output and error share one pipe. Lines of standard error are marked with a control character in front, which
// the platform takes off, so that logs can tell the two apart. Written at once: a process may end at any moment.
// Where runs overlap, each line begins with the mark of the run in whose asynchronous context it was written.
'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const fs = require('node:fs');

const MARK = '\x1e';
// Longest part of a line that is kept until its end comes.
const LONGEST = 65536;

// The run under way, once runs overlap.
const running = new AsyncLocalStorage();

// What one run prints: whole lines under its mark, of each stream apart.
class Printed {
  constructor(id) {
    this.mark = `\x1d${id}\x1d`;
    this.rest = { stdout: '', stderr: '' };
    this.over = false;
  }

  print(stream, text) {
    const lines = (this.rest[stream] + text).split('\n');
    this.rest[stream] = lines.pop();
    if (this.rest[stream] !== '' && (this.over || this.rest[stream].length > LONGEST)) {
      lines.push(this.rest[stream]);
      this.rest[stream] = '';
    }
    const head = this.mark + (stream === 'stderr' ? MARK : '');
    if (lines.length > 0) writeAll(Buffer.from(lines.map((line) => `${head}${line}\n`).join('')));
  }

  // The run is over: what has no end yet is ended, and nothing is kept any more.
  end() {
    this.over = true;
    for (const stream of ['stdout', 'stderr']) this.print(stream, '');
  }
}

function writeAll(data) {
  let at = 0;
  while (at < data.length) {
    try {
      at += fs.writeSync(1, data, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') return;
    }
  }
}

// Marks each line that begins in this text.
function marker() {
  let atStart = true;
  return (text) => {
    let out = '';
    for (const line of text.split(/(?<=\n)/)) {
      out += (atStart ? MARK : '') + line;
      atStart = line.endsWith('\n');
    }
    return out;
  };
}

function replace(name, change) {
  const stream = process[name];
  stream.write = (chunk, encoding, callback) => {
    if (typeof encoding === 'function') [encoding, callback] = [undefined, encoding];
    const text = typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8');
    const printed = running.getStore();
    if (printed) printed.print(name, text);
    else writeAll(Buffer.from(change ? change(text) : text));
    if (callback) process.nextTick(callback);
    return true;
  };
}

module.exports = {
  install() {
    replace('stdout', null);
    replace('stderr', marker());
  },

  // Does something asynchronous whose lines are marked.
  async during(id, work) {
    const printed = new Printed(id);
    try {
      return await running.run(printed, work);
    } finally {
      printed.end();
    }
  },
};
