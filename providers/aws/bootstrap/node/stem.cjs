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

// `start` runs the function that the environment names; `forget` forgets it.
function boot(start, forget) {
  const stage = build(() => {
    stage.close();
    forget();
    become(start);
  });
  if (stage === null) {
    become(start);
    return;
  }
  Object.assign(process.env, {
    AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${stage.port}`,
    LAMBDA_TASK_ROOT: __dirname,
    _HANDLER: 'rehearsal.handler',
  });
  start();
}

// A Runtime API of one event; `done` is called when it has been answered. Null where Node's TCP handle is not as expected.
function build(done) {
  let server;
  const address = {};
  try {
    const { TCP, constants } = process.binding('tcp_wrap');
    server = new TCP(constants.SERVER);
    if (server.bind('127.0.0.1', 0) || server.listen(1) || server.getsockname(address)) return null;
  } catch {
    return null;
  }
  const { WriteWrap } = process.binding('stream_wrap');
  let peer = null;
  const say = (text) => {
    const request = new WriteWrap();
    request.oncomplete = () => {};
    peer.writeUtf8String(request, text);
  };
  let asked = 0;
  server.onconnection = (status, client) => {
    peer = client;
    client.onread = () => {
      asked += 1;
      if (asked === 1) say(`${HEAD}Content-Length: ${EVENT.length}\r\n\r\n${EVENT}`);
      // Its answer and the question for the next event have left together.
      else if (asked === 2) setImmediate(done);
    };
    client.readStart();
  };
  const close = () => {
    peer?.close();
    server.close();
  };
  return { port: address.port, close };
}

const HEAD =
  'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: 1\r\n' +
  'Lambda-Runtime-Deadline-Ms: 1\r\nLambda-Runtime-Trace-Id: Root=1\r\nLambda-Runtime-Invoked-Function-Arn: arn\r\n';

// Says that it is ready, waits, and takes over the folder and variables of the function.
function become(start) {
  fs.writeSync(CHANNEL, 'R');
  const strings = receive(receive(4).readUInt32LE()).toString().split('\0');
  fs.closeSync(CHANNEL);
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
