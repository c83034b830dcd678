'use strict';
// The runtime of Node functions, booted ahead of demand: before anybody knows whose function it will run.
//
// It goes through one event from the import of its module to its answer, so that nothing is compiled or loaded for the
// first time later, and then waits on the channel (descriptor 3) to be told what to run: a length, then that many bytes,
// strings with a NUL after each (working directory, number of arguments, arguments, variables). Nothing of a tenant is
// here until then. From then on everything is as if Node had been started for the function.

const fs = require('fs');

const CHANNEL = 3;
const EVENT = JSON.stringify({ headers: { a: 'b' }, body: '{}', n: [1, 2.5, null, true] });

// `start` runs the function that the environment names, over a handle or descriptor 3; `forget` forgets it.
function boot(start, forget) {
  let client;
  const stage = build(() => {
    client.close();
    stage.close();
    forget();
    become(start);
  });
  client = stage?.connect();
  if (!client) {
    become(start);
    return;
  }
  Object.assign(process.env, { LAMBDA_TASK_ROOT: __dirname, _HANDLER: 'rehearsal.handler' });
  client.ready = () => start(client.handle);
}

// The platform's side of a channel, for two events; `done` is called when they have been answered. Null where Node's
// handles are not as expected.
function build(done) {
  const address = {};
  let server;
  let wraps;
  try {
    wraps = { ...process.binding('tcp_wrap'), ...process.binding('stream_wrap') };
    server = new wraps.TCP(process.binding('tcp_wrap').constants.SERVER);
    if (server.bind('127.0.0.1', 0) || server.listen(1) || server.getsockname(address)) return null;
  } catch {
    return null;
  }
  let peer = null;
  let left = 3;
  server.onconnection = (status, accepted) => {
    peer = accepted;
    // First it asks for an event, then each answer asks for another.
    peer.onread = () => {
      left -= 1;
      if (left === 0) {
        setImmediate(done);
        return;
      }
      const request = new wraps.WriteWrap();
      request.oncomplete = () => {};
      peer.writeBuffer(request, event());
    };
    peer.readStart();
  };
  const connect = () => {
    const handle = new wraps.TCP(process.binding('tcp_wrap').constants.SOCKET);
    const client = { handle, ready: null, close: () => handle.close() };
    const request = new wraps.TCPConnectWrap();
    request.oncomplete = (status) => (status === 0 ? client.ready() : process.exit(1));
    return handle.connect(request, '127.0.0.1', address.port) === 0 ? client : null;
  };
  const close = () => {
    peer?.close();
    server.close();
  };
  return { connect, close };
}

function event() {
  const trace = 'Root=1';
  const arn = 'arn';
  const data = Buffer.alloc(63 + trace.length + arn.length + EVENT.length);
  data.writeUInt32LE(data.length - 4, 0);
  data.write(`E${'1'.repeat(36)}`, 4);
  data.writeUInt16LE(trace.length, 49);
  data.writeUInt16LE(arn.length, 51);
  data.write(trace + arn + EVENT, 63);
  return data;
}

// Says that it is ready, waits, and takes over the folder and variables of the function.
function become(start) {
  fs.writeSync(CHANNEL, 'R');
  const strings = receive(receive(4).readUInt32LE()).toString().split('\0');
  process.chdir(strings[0]);
  for (const name of Object.keys(process.env)) delete process.env[name];
  for (const variable of strings.slice(2 + Number(strings[1]), -1)) {
    const sign = variable.indexOf('=');
    process.env[variable.slice(0, sign)] = variable.slice(sign + 1);
  }
  start();
}

// So many bytes. Ends the process if there will be none.
function receive(count) {
  const data = Buffer.alloc(count);
  let have = 0;
  while (have < data.length) {
    const got = fs.readSync(CHANNEL, data, have, data.length - have, null);
    if (got === 0) process.exit(0);
    have += got;
  }
  return data;
}

module.exports = { boot };
