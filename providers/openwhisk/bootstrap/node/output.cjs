// Standard output and error share one pipe. Lines of standard error are marked with a control character in front, which
// the platform takes off, so that logs can tell the two apart. Written at once: a process may end at any moment.
'use strict';

const fs = require('node:fs');

const MARK = '\x1e';

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

function replace(stream, change) {
  stream.write = (chunk, encoding, callback) => {
    if (typeof encoding === 'function') [encoding, callback] = [undefined, encoding];
    const text = typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8');
    writeAll(Buffer.from(change ? change(text) : text));
    if (callback) process.nextTick(callback);
    return true;
  };
}

module.exports = {
  install() {
    replace(process.stdout, null);
    replace(process.stderr, marker());
  },
};
