// Runs OpenWhisk actions written for Node.js. Speaks frames over descriptor 3: length (4 bytes, little endian, of what
// follows), type (1 byte), id (4 bytes), JSON. Waits for `I` (initialize) and `R` (run), answers `i` and `r` with a
// status of the proxy's /init and /run, and its body. Started with `stem`, it boots first, says `R`, and takes a launch.
// Source of what actions see: the action proxy of apache/openwhisk-runtime-nodejs (commit d7baea7).
'use strict';

const Module = require('node:module');
const net = require('node:net');
const output = require('./output.cjs');
const { load, Missing, Refusal } = require('./loader.cjs');

const HEADER = 9;
const STEM = process.argv[2] === 'stem';

let entry;
let stopped = false;
// Whether runs overlap: what each prints is then marked as its own.
let overlap = false;

function environment(values) {
  for (const [key, value] of Object.entries(values)) process.env[key] = value;
}

function shown(error) {
  return error instanceof Error && error.stack ? error.stack : String(error);
}

async function initialize(message) {
  environment(message.env);
  overlap = message.overlap === true;
  try {
    entry = await load(message);
    return [200, { OK: true }];
  } catch (error) {
    if (error instanceof Missing) return [403, { error: error.message }];
    const text = error instanceof Refusal ? error.message : shown(error);
    console.error(text);
    return [502, { error: `Initialization has failed due to: ${text}` }];
  }
}

function serializeRejection(reason) {
  if (reason === undefined || reason === null) return {};
  if (reason instanceof Error) {
    const plain = { name: reason.name, message: reason.message, stack: reason.stack };
    for (const key of Object.keys(reason)) plain[key] = reason[key];
    return plain;
  }
  return reason;
}

async function run(message) {
  // 503: another instance gets a run that came while the one that stopped this was under way.
  if (stopped) return [503, { error: 'System not ready, status is stopped.' }];
  const value = message.value === null || message.value === undefined ? {} : message.value;
  if (typeof value !== 'object') {
    const text = `Internal system error: the argument must be a dictionary but has type '${typeof value}'.`;
    return [403, { error: text }];
  }
  for (const [key, text] of Object.entries(message)) {
    if (key !== 'value' && typeof text === 'string') process.env[`__OW_${key.toUpperCase()}`] = text;
  }
  let result;
  try {
    result = entry(value);
  } catch (error) {
    stopped = true;
    console.error(shown(error));
    return [502, { error: `An error has occurred: ${String(error)}` }];
  }
  if (result !== null && typeof result === 'object' && typeof result.then === 'function') {
    try {
      result = await result;
    } catch (reason) {
      return [200, { error: serializeRejection(reason) }];
    }
  }
  if (result === undefined) result = {};
  if (typeof result !== 'object') return [502, { error: 'The action did not return a dictionary.' }];
  return [200, result];
}

function serve(socket) {
  let pending = Buffer.alloc(0);
  function answer(type, id, [status, body]) {
    // An answer that cannot be written ends the process, as it breaks the connection upstream.
    const text = Buffer.from(JSON.stringify(body));
    const head = Buffer.alloc(HEADER + 2);
    head.writeUInt32LE(5 + 2 + text.length, 0);
    head.write(type, 4, 'latin1');
    head.writeUInt32LE(id, 5);
    head.writeUInt16LE(status, HEADER);
    socket.write(text.length < 65536 ? Buffer.concat([head, text]) : head);
    if (text.length >= 65536) socket.write(text);
  }
  function take(type, id, body) {
    const message = JSON.parse(body);
    const work = type === 'I' ? initialize(message) : overlap ? output.during(message.activation_id, () => run(message)) : run(message);
    work.then((result) => answer(type.toLowerCase(), id, result)).catch((error) => {
      console.error(shown(error));
      process.exit(1);
    });
  }
  function ready() {
    const head = Buffer.alloc(HEADER);
    head.writeUInt32LE(5, 0);
    head.write('B', 4, 'latin1');
    socket.write(head);
  }
  // Whether the launch has come; before that, nothing is known of the action.
  let launched = !STEM;
  function launch() {
    if (pending.length < 4 || pending.length < 4 + pending.readUInt32LE(0)) return;
    const length = pending.readUInt32LE(0);
    const strings = pending.toString('utf8', 4, 4 + length).split('\0').slice(0, -1);
    pending = pending.subarray(4 + length);
    process.chdir(strings[0]);
    for (const name of Object.keys(process.env)) delete process.env[name];
    for (const variable of strings.slice(2 + Number(strings[1]))) {
      const at = variable.indexOf('=');
      process.env[variable.slice(0, at)] = variable.slice(at + 1);
    }
    Module._initPaths();
    launched = true;
    ready();
  }
  socket.on('data', (data) => {
    pending = pending.length === 0 ? data : Buffer.concat([pending, data]);
    if (!launched) launch();
    while (launched && pending.length >= HEADER) {
      const length = pending.readUInt32LE(0);
      if (pending.length < 4 + length) return;
      const type = pending.toString('latin1', 4, 5);
      const id = pending.readUInt32LE(5);
      const body = pending.toString('utf8', HEADER, 4 + length);
      pending = pending.subarray(4 + length);
      take(type, id, body);
    }
  });
  socket.on('end', () => process.exit(0));
  socket.on('error', () => process.exit(0));
  if (launched) ready();
  else socket.write('R');
}

output.install();
process.on('uncaughtException', (error) => {
  console.error(shown(error));
  process.exit(1);
});
serve(new net.Socket({ fd: 3, readable: true, writable: true }));
